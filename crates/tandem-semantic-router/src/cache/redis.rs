//! Redis as a store of answers, or whatever speaks its protocol; no module of it is needed.
//!
//! Below the prefix there are:
//!
//! - `entry:KEY`, an entry, and `question:KEY`, its question without the answer; both expire.
//! - `term:REST:TERM`, a sorted set: the keys of entries whose questions have a word, by when they
//!   expire. Similar questions are found as they are in memory: by the rarest words.
//! - `dropped`, a sorted set: what was dropped, by when.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::RwLock;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ErrorKind, FromRedisValue, IntoConnectionInfo,
    Pipeline, RedisConnectionInfo, RedisError, ServerErrorKind, TlsCertificates, cmd, pipe,
};

use super::backend::{Backend, BackendError, Candidate};
use super::codec::{decode, decode_question, encode, encode_question};
use super::entry::{Asked, Entry, Moment};
use super::invalidation::{Invalidation, Selector};
use super::key::Key;
use super::memory::{MOST_CANDIDATES, MOST_POSTINGS, RAREST, most_shared};
use super::remote::REMEMBERED;
use crate::config::{StoreServer, StoreTls};

/// Most time for a connection to be made.
const CONNECT: Duration = Duration::from_secs(2);
/// Entries that are looked at in one step when answers are dropped.
const BATCH: usize = 64;
/// Shortest life of a set of keys: it serves entries that live longer than its last one.
const SHORTEST_TERM: Duration = Duration::from_secs(24 * 3600);
/// When entries expire that never do, as far as sets of keys are concerned.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A server of Redis.
#[derive(Debug)]
pub(super) struct RedisBackend {
    server: StoreServer,
    database: i64,
    prefix: String,
    /// There once it was made ready; connects again by itself.
    connection: RwLock<Option<Connection>>,
}

#[derive(Clone)]
struct Connection(ConnectionManager);

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Connection")
    }
}

impl RedisBackend {
    pub(super) fn new(server: &StoreServer, database: i64, prefix: &str) -> Self {
        Self {
            server: server.clone(),
            database,
            prefix: prefix.to_owned(),
            connection: RwLock::default(),
        }
    }

    async fn connect(&self) -> Result<Connection, BackendError> {
        let (host, port) = (self.server.host.clone(), self.server.port);
        let address = match self.server.tls {
            None => ConnectionAddr::Tcp(host, port),
            Some(_) => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            },
        };
        let mut login = RedisConnectionInfo::default().set_db(self.database);
        if let Some(username) = &self.server.username {
            login = login.set_username(username);
        }
        if let Some(password) = &self.server.password {
            login = login.set_password(password.expose());
        }
        let info = address.into_connection_info().map_err(error)?;
        let info = info.set_redis_settings(login);
        let client = match &self.server.tls {
            None => Client::open(info),
            Some(tls) => Client::build_with_tls(info, certificates(tls).await?),
        };
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None)
            .set_number_of_retries(1);
        let manager = ConnectionManager::new_lazy_with_config(client.map_err(error)?, config);
        Ok(Connection(manager.map_err(error)?))
    }

    fn connection(&self) -> Result<ConnectionManager, BackendError> {
        let connection = self.connection.read().clone();
        let connection = connection
            .ok_or_else(|| BackendError::Unavailable("it has not been connected to".to_owned()))?;
        Ok(connection.0)
    }

    async fn run<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, BackendError> {
        let mut connection = self.connection()?;
        commands.query_async(&mut connection).await.map_err(error)
    }

    fn entry(&self, key: Key) -> String {
        format!("{}entry:{key}", self.prefix)
    }

    fn question(&self, key: Key) -> String {
        format!("{}question:{key}", self.prefix)
    }

    fn term(&self, rest: Key, term: u64) -> String {
        format!("{}term:{rest}:{term:016x}", self.prefix)
    }

    fn dropped(&self) -> String {
        format!("{}dropped", self.prefix)
    }

    async fn get(&self, key: Key) -> Result<Option<Entry>, BackendError> {
        let mut connection = self.connection()?;
        let mut command = cmd("GET");
        command.arg(self.entry(key));
        let bytes: Option<Vec<u8>> = command.query_async(&mut connection).await.map_err(error)?;
        Ok(bytes.and_then(|bytes| decode(&bytes)))
    }

    async fn candidates(&self, asked: &Asked, now: Moment) -> Result<Vec<Candidate>, BackendError> {
        let sets: Vec<String> = asked
            .terms
            .iter()
            .map(|term| self.term(asked.rest, *term))
            .collect();
        let mut sizes = pipe();
        for set in &sets {
            sizes.cmd("ZCARD").arg(set);
        }
        let sizes: Vec<usize> = self.run(&sizes).await?;
        let mut rarest: Vec<(usize, String)> = sizes.into_iter().zip(sets).collect();
        rarest.retain(|(size, _)| *size > 0);
        rarest.sort_unstable();
        rarest.truncate(RAREST);
        if rarest.is_empty() {
            return Ok(Vec::new());
        }
        let mut members = pipe();
        for (_, set) in &rarest {
            members.cmd("ZREVRANGEBYSCORE").arg(set).arg("+inf");
            members.arg(format!("({}", now.0)).arg("WITHSCORES");
            members.arg("LIMIT").arg(0).arg(MOST_POSTINGS);
        }
        let members: Vec<Vec<(String, f64)>> = self.run(&members).await?;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "scores are times of ours, whole and positive, and only order candidates"
        )]
        let lists = members.into_iter().map(|list| {
            let keys = list.into_iter();
            keys.filter_map(|(key, expires)| Some((Key::parse(&key)?, expires as u64)))
        });
        let mut keys = most_shared(lists);
        keys.truncate(MOST_CANDIDATES);
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let sets = rarest.into_iter().map(|(_, set)| set).collect();
        self.questions(&keys, sets).await
    }

    /// The questions of some entries. Keys of entries that are not there any more are taken out of
    /// the sets that they were found in.
    async fn questions(
        &self,
        keys: &[Key],
        sets: Vec<String>,
    ) -> Result<Vec<Candidate>, BackendError> {
        let names: Vec<String> = keys.iter().map(|key| self.question(*key)).collect();
        let mut questions = pipe();
        questions.cmd("MGET").arg(&names);
        let (questions,): (Vec<Option<Vec<u8>>>,) = self.run(&questions).await?;
        let pairs = || keys.iter().zip(&questions);
        let gone: Vec<String> = pairs()
            .filter(|(_, question)| question.is_none())
            .map(|(key, _)| key.to_string())
            .collect();
        if !gone.is_empty() {
            let mut removal = pipe();
            for set in &sets {
                removal.cmd("ZREM").arg(set).arg(&gone).ignore();
            }
            self.run::<()>(&removal).await?;
        }
        let found = pairs().filter_map(|(key, question)| {
            let asked = decode_question(question.as_ref()?)?;
            Some(Candidate { key: *key, asked })
        });
        Ok(found.collect())
    }

    async fn put(&self, entry: &Entry, now: Moment) -> Result<(), BackendError> {
        let life = entry.expires.map(|expires| expires.0.saturating_sub(now.0));
        if life == Some(0) {
            return Ok(());
        }
        let mut commands = pipe();
        commands
            .cmd("SET")
            .arg(self.entry(entry.key))
            .arg(encode(entry));
        expire(&mut commands, life);
        if let Some(asked) = &entry.question {
            commands.cmd("SET").arg(self.question(entry.key));
            commands.arg(encode_question(asked));
            expire(&mut commands, life);
            let expires = entry.expires.unwrap_or_else(|| entry.stored.after(NEVER));
            let shortest = millis(SHORTEST_TERM);
            let most = -1 - i64::try_from(MOST_POSTINGS).unwrap_or(i64::MAX);
            for term in &asked.terms {
                let set = self.term(asked.rest, *term);
                commands
                    .cmd("ZADD")
                    .arg(&set)
                    .arg(expires.0)
                    .arg(entry.key.to_string())
                    .ignore();
                commands
                    .cmd("ZREMRANGEBYSCORE")
                    .arg(&set)
                    .arg("-inf")
                    .arg(now.0)
                    .ignore();
                commands
                    .cmd("ZREMRANGEBYRANK")
                    .arg(&set)
                    .arg(0)
                    .arg(most)
                    .ignore();
                match life {
                    Some(life) => commands.cmd("PEXPIRE").arg(&set).arg(life.max(shortest)),
                    None => commands.cmd("PERSIST").arg(&set),
                };
                commands.ignore();
            }
        }
        self.run(&commands).await
    }

    async fn invalidate(&self, invalidation: &Invalidation) -> Result<(), BackendError> {
        match &invalidation.selector {
            Selector::Key(key) => self.unlink(&[*key]).await?,
            Selector::Model(_) | Selector::Decision(_) => self.unlink_entries(invalidation).await?,
            Selector::All => {
                self.unlink_entries(invalidation).await?;
                self.unlink_terms().await?;
            }
        }
        let mut announcement = pipe();
        let (dropped, until) = (self.dropped(), invalidation.until);
        announcement.cmd("ZADD").arg(&dropped);
        announcement.arg(until.0).arg(invalidation.write()).ignore();
        announcement.cmd("ZREMRANGEBYSCORE").arg(&dropped);
        announcement
            .arg("-inf")
            .arg(until.before(REMEMBERED).0)
            .ignore();
        announcement.cmd("PEXPIRE").arg(&dropped);
        announcement.arg(millis(REMEMBERED)).ignore();
        self.run(&announcement).await
    }

    async fn unlink(&self, keys: &[Key]) -> Result<(), BackendError> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut removal = pipe();
        removal.cmd("UNLINK");
        for key in keys {
            removal.arg(self.entry(*key)).arg(self.question(*key));
        }
        removal.ignore();
        self.run(&removal).await
    }

    /// Looks at every entry.
    async fn unlink_entries(&self, invalidation: &Invalidation) -> Result<(), BackendError> {
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            let (next, names) = self.scan("entry:*", at).await?;
            for names in names.chunks(BATCH) {
                let mut values = pipe();
                values.cmd("MGET").arg(names);
                let (values,): (Vec<Option<Vec<u8>>>,) = self.run(&values).await?;
                let entries = values.iter().flatten().filter_map(|value| decode(value));
                let dropped = entries.filter(|entry| invalidation.drops(entry));
                let keys: Vec<Key> = dropped.map(|entry| entry.key).collect();
                self.unlink(&keys).await?;
            }
            cursor = next;
        }
        Ok(())
    }

    async fn unlink_terms(&self) -> Result<(), BackendError> {
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            let (next, sets) = self.scan("term:*", at).await?;
            if !sets.is_empty() {
                let mut removal = pipe();
                removal.cmd("UNLINK").arg(&sets).ignore();
                self.run::<()>(&removal).await?;
            }
            cursor = next;
        }
        Ok(())
    }

    /// Some names below the prefix that match a pattern, and where to go on if there may be more.
    async fn scan(
        &self,
        pattern: &str,
        cursor: u64,
    ) -> Result<(Option<u64>, Vec<String>), BackendError> {
        let pattern = format!("{}{pattern}", escape(&self.prefix));
        let mut step = pipe();
        step.cmd("SCAN").arg(cursor).arg("MATCH").arg(pattern);
        step.arg("COUNT").arg(1000);
        let ((next, names),): ((u64, Vec<String>),) = self.run(&step).await?;
        Ok(((next != 0).then_some(next), names))
    }

    async fn invalidations(&self, since: Moment) -> Result<Vec<Invalidation>, BackendError> {
        let mut question = pipe();
        question
            .cmd("ZRANGEBYSCORE")
            .arg(self.dropped())
            .arg(since.0)
            .arg("+inf");
        let (texts,): (Vec<String>,) = self.run(&question).await?;
        Ok(texts
            .iter()
            .filter_map(|text| Invalidation::read(text))
            .collect())
    }
}

impl Backend for RedisBackend {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        async {
            let connection = self.connect().await?;
            *self.connection.write() = Some(connection);
            let mut ping = pipe();
            ping.cmd("PING").ignore();
            self.run(&ping).await
        }
        .boxed()
    }

    fn get(&self, key: Key) -> BoxFuture<'_, Result<Option<Entry>, BackendError>> {
        self.get(key).boxed()
    }

    fn candidates<'a>(
        &'a self,
        asked: &'a Asked,
        now: Moment,
    ) -> BoxFuture<'a, Result<Vec<Candidate>, BackendError>> {
        self.candidates(asked, now).boxed()
    }

    fn put<'a>(&'a self, entry: &'a Entry, now: Moment) -> BoxFuture<'a, Result<(), BackendError>> {
        self.put(entry, now).boxed()
    }

    fn invalidate<'a>(
        &'a self,
        invalidation: &'a Invalidation,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        self.invalidate(invalidation).boxed()
    }

    fn invalidations(
        &self,
        since: Moment,
    ) -> BoxFuture<'_, Result<Vec<Invalidation>, BackendError>> {
        self.invalidations(since).boxed()
    }
}

async fn certificates(tls: &StoreTls) -> Result<TlsCertificates, BackendError> {
    let read = async |path: &String| {
        let bytes = tokio::fs::read(path).await;
        bytes.map_err(|error| BackendError::Refused(format!("failed to read {path}: {error}")))
    };
    let root_cert = match &tls.authorities {
        Some(path) => Some(read(path).await?),
        None => None,
    };
    let client_tls = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => Some(ClientTlsConfig {
            client_cert: read(certificate).await?,
            client_key: read(key).await?,
        }),
        _ => None,
    };
    Ok(TlsCertificates {
        client_tls,
        root_cert,
    })
}

fn expire(commands: &mut Pipeline, life: Option<u64>) {
    if let Some(life) = life {
        commands.arg("PX").arg(life);
    }
    commands.ignore();
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A text as a pattern that only it matches.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` passes")]
fn error(error: RedisError) -> BackendError {
    let text = error.to_string();
    let answers = error.clone().into_server_errors();
    let full = answers.is_some_and(|answers| answers.iter().any(|one| one.1.code() == "OOM"));
    match error.kind() {
        _ if full => BackendError::Full(text),
        ErrorKind::Server(ServerErrorKind::BusyLoading | ServerErrorKind::TryAgain) => {
            BackendError::Unavailable(text)
        }
        ErrorKind::Server(_) | ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig => {
            BackendError::Refused(text)
        }
        _ => BackendError::Unavailable(text),
    }
}

#[cfg(test)]
mod tests;
