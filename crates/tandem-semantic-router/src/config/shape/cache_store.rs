//! Servers that keep answers.

use super::{Field, Shape, field};

const OWN_INDEX: &str = "answers are found by their words, not by an index of vectors";
const OWN_SCHEMA: &str = "the encoder of the router says what vectors are";
const AUTOMATIC: &str = "Milvus chooses the index";
const OWN_DEADLINE: &str = "`deadline_ms` limits what requests wait";
const ONE_CONNECTION: &str = "one connection carries all calls";
const OWN_LOGS: &str = "the router has one log";
const NEVER_DROPPED: &str = "answers are kept when a router starts, and dropped by its API";

const TLS: Shape = Shape::Object(&[
    field(
        "enabled",
        Shape::Bool,
        "whether the connection is encrypted",
    ),
    field(
        "ca_file",
        Shape::Text,
        "authorities in PEM that sign the server's certificate",
    ),
    field("cert_file", Shape::Text, "certificate of the router in PEM"),
    field("key_file", Shape::Text, "key of that certificate in PEM"),
]);

/// The settings of Redis.
pub(in crate::config) const REDIS: &[Field] = &[
    field(
        "connection",
        Shape::Object(&[
            field("host", Shape::Text, "name or address of the server"),
            field("port", Shape::PORT, "its port"),
            field("address", Shape::Text, "both, as `host:port`"),
            field("database", Shape::COUNT, "number of the database"),
            field("db", Shape::COUNT, "the same"),
            field("username", Shape::Text, "user of the server's access list"),
            field("password", Shape::Text, "password of the user"),
            field("tls", TLS, "encryption"),
            field("timeout", Shape::Any, "").unused(OWN_DEADLINE),
            field("dial_timeout_ms", Shape::Any, "").unused(OWN_DEADLINE),
            field("read_timeout_ms", Shape::Any, "").unused(OWN_DEADLINE),
            field("write_timeout_ms", Shape::Any, "").unused(OWN_DEADLINE),
            field("pool_size", Shape::Any, "").unused(ONE_CONNECTION),
            field("max_retries", Shape::Any, "").unused(OWN_DEADLINE),
        ]),
        "where the server is",
    ),
    field(
        "index",
        Shape::Object(&[
            field("prefix", Shape::Text, "what keys begin with"),
            field("name", Shape::Text, "").unused(OWN_INDEX),
            field("vector_field", Shape::Any, "").unused(OWN_INDEX),
            field("index_type", Shape::Text, "").unused(OWN_INDEX),
            field("params", Shape::Any, "").unused(OWN_INDEX),
        ]),
        "how answers are found",
    ),
    field("search", Shape::Any, "").unused(OWN_INDEX),
    field("development", Shape::Any, "").unused(NEVER_DROPPED),
    field("logging", Shape::Any, "").unused(OWN_LOGS),
];

/// The settings of Milvus.
pub(in crate::config) const MILVUS: &[Field] = &[
    field(
        "connection",
        Shape::Object(&[
            field("host", Shape::Text, "name or address of the server"),
            field("port", Shape::PORT, "its port"),
            field("address", Shape::Text, "both, as `host:port`"),
            field("database", Shape::Text, "name of the database"),
            field(
                "auth",
                Shape::Object(&[
                    field("enabled", Shape::Bool, "whether the router says who it is"),
                    field("username", Shape::Text, "user"),
                    field("password", Shape::Text, "password of the user"),
                ]),
                "who the router is",
            ),
            field("tls", TLS, "encryption"),
            field("timeout", Shape::Any, "").unused(OWN_DEADLINE),
        ]),
        "where the server is",
    ),
    field(
        "collection",
        Shape::Object(&[
            field("name", Shape::Text, "name of the collection"),
            field("description", Shape::Text, "").unused(OWN_SCHEMA),
            field("vector_field", Shape::Any, "").unused(OWN_SCHEMA),
            field("index", Shape::Any, "").unused(AUTOMATIC),
        ]),
        "where answers are",
    ),
    field(
        "search",
        Shape::Object(&[
            field(
                "topk",
                Shape::Whole(1, 256),
                "most questions that a search finds",
            ),
            field(
                "consistency_level",
                Shape::Choice(&["Strong", "Session", "Bounded", "Eventually"]),
                "what a search must have seen",
            ),
            field("params", Shape::Any, "").unused(AUTOMATIC),
        ]),
        "how answers are found",
    ),
    field("performance", Shape::Any, "").unused(ONE_CONNECTION),
    field("data_management", Shape::Any, "").unused("`ttl_seconds` says how long answers are kept"),
    field("development", Shape::Any, "").unused(NEVER_DROPPED),
    field("logging", Shape::Any, "").unused(OWN_LOGS),
];
