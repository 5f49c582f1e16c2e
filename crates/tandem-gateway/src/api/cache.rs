//! The cache of answers: what it does, and dropping what it holds.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tandem_semantic_router::{CacheKey, Selector};

use super::error::ApiError;
use super::question::Question;
use super::{Api, Shared};

/// What to drop: one of the members.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Invalidation {
    key: Option<String>,
    model: Option<String>,
    decision: Option<String>,
}

/// How many answers this process dropped.
#[derive(Debug, Serialize)]
pub(super) struct Dropped {
    dropped: usize,
}

pub(super) async fn stats(State(api): Shared) -> Json<Value> {
    let router = api.router.load();
    let cache = router.cache();
    let now = cache.statistics();
    let hits = now.exact_hits + now.semantic_hits;
    let config = cache.config();
    let remote = cache.remote_statistics();
    Json(json!({
        "enabled": config.enabled,
        "backend": config.store.name(),
        "backend_available": remote.map(|remote| remote.available),
        "entries": now.entries,
        "bytes": now.bytes,
        "max_bytes": config.limits.max_bytes,
        "hits": hits,
        "exact_hits": now.exact_hits,
        "semantic_hits": now.semantic_hits,
        "misses": now.misses,
        "stored": now.stored,
        "skipped": now.skipped,
        "followed": now.followed,
        "evicted": now.evicted,
        "expired": now.expired,
    }))
}

pub(super) async fn invalidate(
    State(api): Shared,
    Question(wanted): Question<Invalidation>,
) -> Result<Json<Dropped>, ApiError> {
    let selector = selector(wanted)?;
    drop_selected(&api, &selector).await
}

pub(super) async fn flush(State(api): Shared) -> Result<Json<Dropped>, ApiError> {
    drop_selected(&api, &Selector::All).await
}

async fn drop_selected(api: &Api, selector: &Selector) -> Result<Json<Dropped>, ApiError> {
    let cache = Arc::clone(api.router.load().cache());
    let dropped = cache.invalidate(selector).await;
    let dropped = dropped.map_err(|error| ApiError::store(&error))?;
    Ok(Json(Dropped { dropped }))
}

fn selector(wanted: Invalidation) -> Result<Selector, ApiError> {
    let Invalidation {
        key,
        model,
        decision,
    } = wanted;
    match (key, model, decision) {
        (Some(key), None, None) => {
            let parsed = CacheKey::parse(&key).map(Selector::Key);
            parsed.ok_or_else(|| ApiError::invalid("`key` is not that of an answer"))
        }
        (None, Some(model), None) => Ok(Selector::Model(model)),
        (None, None, Some(decision)) => Ok(Selector::Decision(decision)),
        _ => {
            let message = "name exactly one of `key`, `model` and `decision`";
            Err(ApiError::invalid(message))
        }
    }
}
