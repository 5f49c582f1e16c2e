//! Vectors of texts, and how close they are.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tandem_classifier::Heads;

use super::error::ApiError;
use super::question::{Question, Text, milliseconds};
use super::{Api, Shared};

/// Texts of one request that are embedded at the same time.
const AT_ONCE: usize = 16;

/// Which model should embed. `quality_priority` and `latency_priority` of the original choose
/// between models; there is one here, so they change nothing.
#[derive(Debug, Deserialize)]
struct Wish {
    model: Option<String>,
    dimension: Option<usize>,
}

#[derive(Debug, Deserialize)]
pub(super) struct EmbeddingsQuestion {
    texts: Vec<Text>,
    #[serde(flatten)]
    wish: Wish,
}

#[derive(Debug, Deserialize)]
pub(super) struct SimilarityQuestion {
    text1: Text,
    text2: Text,
    #[serde(flatten)]
    wish: Wish,
}

#[derive(Debug, Deserialize)]
pub(super) struct SimilaritiesQuestion {
    query: Text,
    candidates: Vec<Text>,
    top_k: Option<usize>,
    #[serde(flatten)]
    wish: Wish,
}

#[derive(Debug, Serialize)]
pub(super) struct Embeddings {
    embeddings: Vec<Embedding>,
    total_count: usize,
    total_processing_time_ms: f64,
    avg_processing_time_ms: f64,
}

#[derive(Debug, Serialize)]
struct Embedding {
    text: String,
    embedding: Vec<f32>,
    dimension: usize,
    model_used: String,
    processing_time_ms: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Similarity {
    model_used: String,
    similarity: f32,
    processing_time_ms: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Similarities {
    matches: Vec<Match>,
    total_candidates: usize,
    model_used: String,
    processing_time_ms: f64,
}

#[derive(Debug, Serialize)]
struct Match {
    index: usize,
    similarity: f32,
    text: String,
}

pub(super) async fn embeddings(
    State(api): Shared,
    Question(question): Question<EmbeddingsQuestion>,
) -> Result<Json<Embeddings>, ApiError> {
    let started = Instant::now();
    api.check_count("texts", question.texts.len())?;
    let vectors = api.vectors(&question.texts, &question.wish).await?;
    let count = question.texts.len();
    let total = milliseconds(started);
    #[allow(
        clippy::cast_precision_loss,
        reason = "there are at most some hundred texts"
    )]
    let average = total / count as f64;
    let embeddings = question.texts.iter().zip(vectors);
    let embeddings = embeddings.map(|(text, (embedding, took))| Embedding {
        text: text.as_str().to_owned(),
        dimension: embedding.len(),
        embedding: embedding.to_vec(),
        model_used: api.classifier.name().to_owned(),
        processing_time_ms: took,
    });
    Ok(Json(Embeddings {
        embeddings: embeddings.collect(),
        total_count: count,
        total_processing_time_ms: total,
        avg_processing_time_ms: average,
    }))
}

pub(super) async fn similarity(
    State(api): Shared,
    Question(question): Question<SimilarityQuestion>,
) -> Result<Json<Similarity>, ApiError> {
    let started = Instant::now();
    let texts = [question.text1, question.text2];
    let vectors = api.vectors(&texts, &question.wish).await?;
    Ok(Json(Similarity {
        model_used: api.classifier.name().to_owned(),
        similarity: cosine(&vectors[0].0, &vectors[1].0),
        processing_time_ms: milliseconds(started),
    }))
}

pub(super) async fn similarities(
    State(api): Shared,
    Question(question): Question<SimilaritiesQuestion>,
) -> Result<Json<Similarities>, ApiError> {
    let started = Instant::now();
    let total = question.candidates.len();
    api.check_count("candidates", total)?;
    let texts: Vec<Text> = std::iter::once(question.query)
        .chain(question.candidates)
        .collect();
    let vectors = api.vectors(&texts, &question.wish).await?;
    let (query, candidates) = vectors.split_first().expect("the query is the first text");
    let candidates = candidates.iter().zip(&texts[1..]).enumerate();
    let matches = candidates.map(|(index, ((vector, _), text))| Match {
        index,
        similarity: cosine(&query.0, vector),
        text: text.as_str().to_owned(),
    });
    let mut matches: Vec<Match> = matches.collect();
    matches.sort_by(|one, other| {
        let order = other.similarity.total_cmp(&one.similarity);
        order.then(one.index.cmp(&other.index))
    });
    // 0 stands for all, as in the original.
    if let Some(most) = question.top_k.filter(|most| *most > 0) {
        matches.truncate(most);
    }
    Ok(Json(Similarities {
        matches,
        total_candidates: total,
        model_used: api.classifier.name().to_owned(),
        processing_time_ms: milliseconds(started),
    }))
}

impl Api {
    /// The vector of each text, and how many milliseconds it took.
    async fn vectors(
        &self,
        texts: &[Text],
        wish: &Wish,
    ) -> Result<Vec<(Arc<[f32]>, f64)>, ApiError> {
        let name = self.classifier.name();
        if let Some(model) = wish.model.as_deref()
            && model != "auto"
            && model != name
        {
            return Err(ApiError::invalid(format!(
                "the model `{model}` is not loaded; use auto or {name}"
            )));
        }
        let vectors: Vec<_> = texts.iter().map(|text| self.vector(text)).collect();
        let vectors: Vec<(Arc<[f32]>, f64)> = stream::iter(vectors)
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let have = vectors.first().map_or(0, |(vector, _)| vector.len());
        match wish.dimension {
            Some(dimension) if dimension != have => Err(ApiError::invalid(format!(
                "{name} makes vectors of {have} dimensions, not {dimension}"
            ))),
            _ => Ok(vectors),
        }
    }

    async fn vector(&self, text: &Text) -> Result<(Arc<[f32]>, f64), ApiError> {
        let started = Instant::now();
        let heads = Heads {
            embedding: true,
            ..Heads::default()
        };
        let vector = self.analyze(text, heads).await?.embedding;
        let vector = vector.ok_or_else(|| ApiError::no_head("embeddings"))?;
        Ok((vector, milliseconds(started)))
    }
}

/// Of vectors of length one.
fn cosine(one: &[f32], other: &[f32]) -> f32 {
    let products = one.iter().zip(other).map(|(a, b)| a * b);
    products.sum::<f32>().clamp(-1.0, 1.0)
}
