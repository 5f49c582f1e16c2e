//! Example texts and their embeddings, each computed once.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream;
use tandem_classifier::{Classifier, Heads};
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tracing::warn;

use super::CALLS_AT_ONCE;

/// Example texts of all rules, each once.
#[derive(Debug, Default)]
pub(super) struct Anchors {
    anchors: Vec<Anchor>,
    places: HashMap<Arc<str>, usize>,
}

#[derive(Debug)]
struct Anchor {
    text: Arc<str>,
    vector: OnceCell<Arc<[f32]>>,
}

/// Places of some texts among the anchors.
pub(super) type Places = Vec<usize>;

impl Anchors {
    /// Notes texts that a rule compares with.
    pub(super) fn add<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) -> Places {
        let places = texts.into_iter().map(|text| {
            let text: Arc<str> = text.into();
            *self.places.entry(Arc::clone(&text)).or_insert_with(|| {
                self.anchors.push(Anchor {
                    text,
                    vector: OnceCell::new(),
                });
                self.anchors.len() - 1
            })
        });
        places.collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// Embeds what has not been embedded yet, until `deadline`. What was embedded stays, so that
    /// the next request waits for less.
    pub(super) async fn embed(&self, classifier: &dyn Classifier, deadline: Instant) {
        let mut calls: Vec<BoxFuture<'_, Result<(), String>>> = Vec::new();
        for anchor in &self.anchors {
            if !anchor.vector.initialized() {
                calls.push(Box::pin(anchor.embed(classifier)));
            }
        }
        let mut calls = stream::iter(calls).buffer_unordered(CALLS_AT_ONCE);
        let all = async {
            while let Some(result) = calls.next().await {
                result?;
            }
            Ok::<(), String>(())
        };
        let failure = match tokio::time::timeout_at(deadline, all).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(_) => "deadline passed".to_owned(),
        };
        warn!(error = %failure, "failed to embed the examples of signals");
    }

    /// Cosine similarities of `vector` to texts that were added; `None` if one is not there.
    pub(super) fn similarities_to<'a>(
        &self,
        texts: impl Iterator<Item = &'a str>,
        vector: &[f32],
    ) -> Option<Vec<f32>> {
        let places: Option<Places> = texts.map(|text| self.places.get(text).copied()).collect();
        self.similarities(&places?, vector)
    }

    /// Cosine similarities of `vector` to some anchors; `None` if one of them is not there.
    pub(super) fn similarities(&self, places: &[usize], vector: &[f32]) -> Option<Vec<f32>> {
        let similarities = places.iter().map(|at| {
            let anchor = self.anchors[*at].vector.get()?;
            Some(cosine(anchor, vector))
        });
        similarities.collect()
    }
}

impl Anchor {
    async fn embed(&self, classifier: &dyn Classifier) -> Result<(), String> {
        let embed = || async {
            let heads = Heads {
                embedding: true,
                ..Heads::default()
            };
            let analysis = classifier.analyze(Arc::clone(&self.text), heads).await;
            let analysis = analysis.map_err(|error| error.to_string())?;
            let vector = analysis.embedding;
            vector.ok_or_else(|| "the classifier has no embedding head".to_owned())
        };
        self.vector.get_or_try_init(embed).await.map(|_| ())
    }
}

/// Cosine similarity of two normalised vectors.
pub(crate) fn cosine(left: &[f32], right: &[f32]) -> f32 {
    left.iter()
        .zip(right)
        .map(|(left, right)| left * right)
        .sum()
}
