//! Milvus as a store of answers.
//!
//! A row is an entry, found by its key, or by its vector among those with the same surroundings.
//! Milvus drops no rows by themselves: those that have expired are not found, and are deleted from
//! time to time. Rows that say what was dropped are among them.
//!
//! The collection is made when the first answer is stored, because only that says how long vectors
//! are. One of another schema under its name, such as that of the original router, is left alone:
//! its rows do not say whose answers they are.

mod client;
mod columns;

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::backend::{Backend, BackendError, Candidate};
use super::entry::{Asked, Entry, Moment};
use super::invalidation::{Invalidation, Selector};
use super::key::Key;
use crate::config::{Consistency, StoreServer};
use client::{MilvusClient, Search};
use columns::{DROPPED, Row, whole};

/// What the name of a collection ends with if another schema has the name.
const SUFFIX: &str = "_v2";
/// How often rows are deleted that have expired.
const SWEEP: Duration = Duration::from_secs(60);

/// A server of Milvus.
#[derive(Debug)]
pub(super) struct MilvusBackend {
    server: StoreServer,
    settings: Settings,
    /// There once it was made ready.
    ready: Mutex<Option<Ready>>,
    swept: Mutex<Instant>,
}

/// What is asked of it.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) database: String,
    pub(super) collection: String,
    pub(super) topk: usize,
    pub(super) consistency: Consistency,
}

#[derive(Debug, Clone)]
struct Ready {
    client: MilvusClient,
    collection: String,
    /// Of its vectors; `None` if there is no collection yet.
    dimension: Option<usize>,
}

/// The collection that answers are in.
struct Collection {
    client: MilvusClient,
    name: String,
    dimension: usize,
}

impl MilvusBackend {
    pub(super) fn new(server: &StoreServer, settings: Settings) -> Self {
        Self {
            server: server.clone(),
            settings,
            ready: Mutex::default(),
            swept: Mutex::new(Instant::now()),
        }
    }

    async fn prepare(&self) -> Result<(), BackendError> {
        let Settings {
            database,
            consistency,
            ..
        } = &self.settings;
        let client = MilvusClient::new(&self.server, database, *consistency).await?;
        self.look(client).await
    }

    /// Finds out what there is, and has it loaded.
    async fn look(&self, client: MilvusClient) -> Result<(), BackendError> {
        let mut collection = self.settings.collection.clone();
        let mut found = client.describe(&collection).await?;
        if found
            .as_ref()
            .is_some_and(|schema| columns::dimension(schema).is_none())
        {
            collection.push_str(SUFFIX);
            found = client.describe(&collection).await?;
        }
        let dimension = match &found {
            None => None,
            Some(schema) => Some(columns::dimension(schema).ok_or_else(|| {
                BackendError::Refused(format!("collection {collection} has another schema"))
            })?),
        };
        if dimension.is_some() {
            load(&client, &collection).await?;
        }
        *self.ready.lock() = Some(Ready {
            client,
            collection,
            dimension,
        });
        Ok(())
    }

    fn ready(&self) -> Result<Ready, BackendError> {
        let ready = self.ready.lock().clone();
        ready.ok_or_else(|| BackendError::Unavailable("it has not been connected to".to_owned()))
    }

    fn collection(&self) -> Result<Option<Collection>, BackendError> {
        let ready = self.ready()?;
        Ok(ready.dimension.map(|dimension| Collection {
            client: ready.client,
            name: ready.collection,
            dimension,
        }))
    }

    /// The collection, which is made if there is none.
    async fn make(&self, dimension: usize) -> Result<Collection, BackendError> {
        if let Some(collection) = self.collection()? {
            return Ok(collection);
        }
        let Ready {
            client, collection, ..
        } = self.ready()?;
        let schema = columns::schema(&collection, dimension);
        let mut made = client.create(&schema).await;
        if made.is_ok() {
            made = index(&client, &collection).await;
        }
        // Another process may have been faster.
        self.look(client).await?;
        match (self.collection()?, made) {
            (Some(collection), _) => Ok(collection),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Err(BackendError::Unavailable("it is being made".to_owned())),
        }
    }

    async fn get(&self, key: Key) -> Result<Option<Entry>, BackendError> {
        let Some(collection) = self.collection()? else {
            return Ok(None);
        };
        let filter = format!("id in [{}]", quote(&key.to_string()));
        let found = collection
            .client
            .query(&collection.name, filter, &["entry"])
            .await?;
        Ok(columns::entry(&found))
    }

    async fn candidates(&self, asked: &Asked, now: Moment) -> Result<Vec<Candidate>, BackendError> {
        let collection = self.collection()?;
        let Some(collection) = collection.filter(|one| one.dimension == asked.embedding.len())
        else {
            return Ok(Vec::new());
        };
        let rest = quote(&asked.rest.to_string());
        let search = Search {
            filter: format!("rest == {rest} and expires_at > {}", whole(now)),
            vector: &asked.embedding,
            most: self.settings.topk,
            outputs: &["id", "query", "embedding"],
        };
        let found = collection.client.search(&collection.name, search).await?;
        Ok(columns::candidates(&found.fields_data, asked.rest))
    }

    async fn put(&self, entry: &Entry, now: Moment) -> Result<(), BackendError> {
        let question = entry.question.as_ref();
        let collection = match question {
            Some(asked) => Some(self.make(asked.embedding.len()).await?),
            None => self.collection()?,
        };
        // Without a question nobody knows how long vectors are.
        let Some(collection) = collection else {
            return Ok(());
        };
        let row = Row::of(entry, collection.dimension)?;
        collection
            .client
            .upsert(&collection.name, row.into_columns())
            .await?;
        self.sweep(&collection, now).await
    }

    /// Deletes what has expired, if that was long ago.
    async fn sweep(&self, collection: &Collection, now: Moment) -> Result<(), BackendError> {
        {
            let mut swept = self.swept.lock();
            if swept.elapsed() < SWEEP {
                return Ok(());
            }
            *swept = Instant::now();
        }
        let filter = format!("expires_at <= {}", whole(now));
        collection.client.delete(&collection.name, filter).await
    }

    async fn invalidate(&self, invalidation: &Invalidation) -> Result<(), BackendError> {
        let Some(collection) = self.collection()? else {
            return Ok(());
        };
        let until = whole(invalidation.until);
        let selected = match &invalidation.selector {
            Selector::Key(key) => format!("id == {}", quote(&key.to_string())),
            Selector::Model(model) => format!("model == {}", quote(model)),
            Selector::Decision(decision) => format!("decision == {}", quote(decision)),
            Selector::All => "id != \"\"".to_owned(),
        };
        let dropped = quote(DROPPED);
        let filter = format!("{selected} and stored_at <= {until} and rest != {dropped}");
        collection.client.delete(&collection.name, filter).await?;
        let row = Row::dropped(invalidation, collection.dimension);
        collection
            .client
            .upsert(&collection.name, row.into_columns())
            .await
    }

    async fn invalidations(&self, since: Moment) -> Result<Vec<Invalidation>, BackendError> {
        let ready = self.ready()?;
        if ready.dimension.is_none() {
            // Another process may have made it.
            self.look(ready.client).await?;
        }
        let Some(collection) = self.collection()? else {
            return Ok(Vec::new());
        };
        let (dropped, since) = (quote(DROPPED), whole(since));
        let filter = format!("rest == {dropped} and stored_at >= {since}");
        let found = collection
            .client
            .query(&collection.name, filter, &["query"])
            .await?;
        let texts = columns::texts(&found, "query").iter();
        Ok(texts.filter_map(|text| Invalidation::read(text)).collect())
    }
}

impl Backend for MilvusBackend {
    fn name(&self) -> &'static str {
        "milvus"
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        self.prepare().boxed()
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

/// Has a collection loaded, which needs indexes: who made it may have died before it made them.
async fn load(client: &MilvusClient, collection: &str) -> Result<(), BackendError> {
    match client.load(collection).await {
        Err(BackendError::Refused(_)) => {
            index(client, collection).await?;
            client.load(collection).await
        }
        loaded => loaded,
    }
}

async fn index(client: &MilvusClient, collection: &str) -> Result<(), BackendError> {
    let vectors = [("index_type", "AUTOINDEX"), ("metric_type", "COSINE")];
    client.index(collection, "embedding", &vectors).await?;
    let rest = [("index_type", "INVERTED")];
    client.index(collection, "rest", &rest).await
}

/// A text as a literal of a filter.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
