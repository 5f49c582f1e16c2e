//! The cache of answers.

use super::cache_store::{MILVUS, REDIS};
use super::parts::OWN_MODEL;
use super::{Field, Shape, field};

const OWN_INDEX: &str = "answers are found by an index of its own";

/// How requests use the cache.
pub(super) const CACHE_POLICY: [Field; 5] = [
    field(
        "mode",
        Shape::Choice(&["exact", "semantic", "exact_then_semantic"]),
        "whether similar questions share answers",
    ),
    field(
        "scope",
        Shape::Choice(&["client", "user", "team", "tenant", "global"]),
        "who shares answers",
    ),
    field(
        "similarity_threshold",
        Shape::FRACTION,
        "least cosine similarity of two questions",
    ),
    field(
        "semantic",
        Shape::Object(&[field(
            "similarity_threshold",
            Shape::FRACTION,
            "least cosine similarity of two questions",
        )]),
        "how similar questions are",
    ),
    field(
        "ttl_seconds",
        Shape::COUNT,
        "how long answers are given again; 0 is for ever",
    ),
];

pub(super) const CACHE: Shape = Shape::Object(&[
    field("enabled", Shape::Bool, "whether answers are cached"),
    CACHE_POLICY[0],
    CACHE_POLICY[1],
    CACHE_POLICY[2],
    CACHE_POLICY[3],
    CACHE_POLICY[4],
    field(
        "backend_type",
        Shape::Choice(&["memory", "milvus", "redis", "hybrid"]),
        "where answers are kept",
    ),
    field(
        "max_bytes",
        Shape::COUNT,
        "most bytes of answers in this process",
    ),
    field(
        "max_entries",
        Shape::COUNT,
        "most answers in this process; 0 is as many as there is room for",
    ),
    field(
        "eviction_policy",
        Shape::Choice(&["fifo", "lru", "lfu"]),
        "which answers make room for others",
    ),
    field(
        "deadline_ms",
        Shape::POSITIVE,
        "most time that a request waits for the store",
    ),
    field(
        "backend_config_path",
        Shape::Text,
        "file with the settings of the store",
    ),
    field("redis", Shape::Object(REDIS), "settings of the store"),
    field("milvus", Shape::Object(MILVUS), "settings of the store"),
    field("embedding_model", Shape::Text, "model of the questions").unused(OWN_MODEL),
    field("use_hnsw", Shape::Bool, "").unused(OWN_INDEX),
    field("hnsw_m", Shape::POSITIVE, "").unused(OWN_INDEX),
    field("hnsw_ef_construction", Shape::POSITIVE, "").unused(OWN_INDEX),
    field("hnsw_ef_search", Shape::POSITIVE, "").unused(OWN_INDEX),
    field("max_memory_entries", Shape::COUNT, "").unused(OWN_INDEX),
]);
