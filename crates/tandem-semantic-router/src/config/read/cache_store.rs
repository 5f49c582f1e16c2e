//! Where answers are kept: a section of the file, or a file of its own.

use std::io;
use std::time::Duration;

use super::reader::{Cursor, Problem, Report, Section};
use super::tree::Node;
use crate::config::cache_store::StoreFileKind;
use crate::config::{
    CacheStore, Consistency, RouterConfig, Secret, StoreFile, StoreKind, StoreServer, StoreTls,
    shape,
};

const CONSISTENCIES: [(&str, Consistency); 4] = [
    ("strong", Consistency::Strong),
    ("session", Consistency::Session),
    ("bounded", Consistency::Bounded),
    ("eventually", Consistency::Eventually),
];

/// The store that the section of the cache names.
pub(super) fn read(section: &Section<'_>) -> CacheStore {
    let kinds = [
        ("memory", None),
        ("redis", Some(StoreFileKind::Redis)),
        ("milvus", Some(StoreFileKind::Milvus)),
        ("hybrid", Some(StoreFileKind::Milvus)),
    ];
    let Some(kind) = section.choice("backend_type", &kinds).flatten() else {
        return CacheStore::Memory;
    };
    let deadline = section
        .integer("deadline_ms")
        .and_then(|millis| u64::try_from(millis).ok())
        .map_or(CacheStore::DEFAULT_DEADLINE, Duration::from_millis);
    let own = section.section(match kind {
        StoreFileKind::Redis => "redis",
        StoreFileKind::Milvus => "milvus",
    });
    let path = section.text("backend_config_path");
    match path.filter(|path| own.is_none() && !path.is_empty()) {
        Some(path) => CacheStore::File(StoreFile {
            kind,
            path,
            deadline,
        }),
        None => CacheStore::Server(server(kind, own.as_ref(), deadline)),
    }
}

impl RouterConfig {
    /// Reads the settings of the cache's store where they are in a file of their own; `read` gives
    /// the content of a file, `lookup` the value of `${NAME}`. What is wrong with them is returned:
    /// answers stay in this process then, because requests can be served without a store.
    pub fn load_cache_store(
        &mut self,
        read: &dyn Fn(&str) -> io::Result<Vec<u8>>,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Vec<Problem> {
        let CacheStore::File(file) = &self.cache.store else {
            return Vec::new();
        };
        let (server, problems) = load(file, read, lookup);
        let path = file.path.clone();
        self.cache.store = server.map_or(CacheStore::Memory, CacheStore::Server);
        let told = problems.into_iter().map(|problem| Problem {
            path: "backend_config_path".to_owned(),
            line: None,
            message: format!("{path}: {problem}"),
        });
        told.collect()
    }
}

/// The server that a file names, if it can be understood, and what is to be said about it.
fn load(
    file: &StoreFile,
    read: &dyn Fn(&str) -> io::Result<Vec<u8>>,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> (Option<StoreServer>, Vec<Problem>) {
    let wrong = |message: String| Problem {
        path: String::new(),
        line: None,
        message: format!("{message}; answers are kept in this process only"),
    };
    let text = read(&file.path).and_then(|bytes| {
        String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    });
    let text = match text {
        Ok(text) => text,
        Err(error) => return (None, vec![wrong(error.to_string())]),
    };
    let root = match Node::parse(&text) {
        Ok(root) => root,
        Err(error) => return (None, vec![wrong(error.without_snippet().to_string())]),
    };
    let report = Report::new(lookup);
    let section = Cursor::root(&root, &report).section();
    let server = section.map(|section| {
        shape::check(
            &section,
            match file.kind {
                StoreFileKind::Redis => shape::REDIS,
                StoreFileKind::Milvus => shape::MILVUS,
            },
        );
        server(file.kind, Some(&section), file.deadline)
    });
    let (errors, mut problems) = report.finish();
    let server = server.filter(|_| errors.is_empty());
    problems.extend(errors.into_iter().map(|error| Problem {
        message: wrong(error.message.clone()).message,
        ..error
    }));
    (server, problems)
}

fn server(kind: StoreFileKind, section: Option<&Section<'_>>, deadline: Duration) -> StoreServer {
    let connection = section.and_then(|section| section.section("connection"));
    let connection = connection.as_ref();
    let auth = match kind {
        StoreFileKind::Redis => connection.cloned(),
        StoreFileKind::Milvus => connection
            .and_then(|connection| connection.section("auth"))
            .filter(|auth| auth.boolean("enabled") != Some(false)),
    };
    let filled = |section: Option<&Section<'_>>, key| {
        let text = section.and_then(|section| section.text(key));
        text.filter(|text| !text.is_empty())
    };
    let standard = match kind {
        StoreFileKind::Redis => 6379,
        StoreFileKind::Milvus => 19530,
    };
    let (host, port) = address(connection, standard);
    StoreServer {
        host,
        port,
        username: filled(auth.as_ref(), "username"),
        password: filled(auth.as_ref(), "password").map(Secret::new),
        tls: tls(connection),
        deadline,
        kind: match kind {
            StoreFileKind::Redis => redis(section, connection),
            StoreFileKind::Milvus => milvus(section, connection),
        },
    }
}

/// `address` is `host:port`; else there are both.
fn address(connection: Option<&Section<'_>>, standard: u16) -> (String, u16) {
    let port = connection.and_then(|connection| connection.integer("port"));
    let port = port.and_then(|port| u16::try_from(port).ok());
    let host = connection.and_then(|connection| connection.text("host"));
    let host = host.filter(|host| !host.is_empty());
    let address = connection.and_then(|connection| connection.text("address"));
    match address.filter(|address| !address.is_empty()) {
        Some(address) => match address.rsplit_once(':') {
            Some((host, own)) if own.parse::<u16>().is_ok() => {
                (host.to_owned(), own.parse().unwrap_or(standard))
            }
            _ => (address, port.unwrap_or(standard)),
        },
        None => (
            host.unwrap_or_else(|| "localhost".to_owned()),
            port.unwrap_or(standard),
        ),
    }
}

fn tls(connection: Option<&Section<'_>>) -> Option<StoreTls> {
    let section = connection?.section("tls")?;
    let file = |key| section.text(key).filter(|path| !path.is_empty());
    (section.boolean("enabled") == Some(true)).then(|| StoreTls {
        authorities: file("ca_file"),
        certificate: file("cert_file"),
        key: file("key_file"),
    })
}

fn redis(section: Option<&Section<'_>>, connection: Option<&Section<'_>>) -> StoreKind {
    let number = |key| connection.and_then(|connection| connection.integer(key));
    let index = section.and_then(|section| section.section("index"));
    let prefix = index.and_then(|index| index.text("prefix"));
    StoreKind::Redis {
        database: number("database").or(number("db")).unwrap_or(0),
        prefix: prefix.unwrap_or_else(|| "tandem:cache:".to_owned()),
    }
}

fn milvus(section: Option<&Section<'_>>, connection: Option<&Section<'_>>) -> StoreKind {
    let database = connection.and_then(|connection| connection.text("database"));
    let collection = section.and_then(|section| section.section("collection"));
    let name = collection.and_then(|collection| collection.text("name"));
    let search = section.and_then(|section| section.section("search"));
    let search = search.as_ref();
    let topk = search.and_then(|search| search.integer("topk"));
    let topk = topk.and_then(|topk| usize::try_from(topk).ok());
    let level = search.and_then(|search| search.choice("consistency_level", &CONSISTENCIES));
    StoreKind::Milvus {
        database: database.unwrap_or_default(),
        collection: name
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "semantic_cache".to_owned()),
        topk: topk.unwrap_or(16),
        consistency: level.unwrap_or(Consistency::Bounded),
    }
}
