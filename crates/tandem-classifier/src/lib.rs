//! Text to labels, spans and vectors.
//!
//! One [`Classifier`] answers every question that the router asks of a text: its domain, whether
//! it is a jailbreak, which personal data it holds, and its embedding. One call names all the
//! heads that are needed, so that one tokenization and one forward pass can serve them all.
//!
//! This crate must not know what a decision or a policy is.

mod composite;
mod encoder;
mod engine;
mod error;
pub mod eval;
mod model;
mod nano;
mod ngram;
pub mod pii;
mod progress;
mod queue;
mod service;
mod tokenize;
mod window;

pub use composite::Checkpoints;
pub use error::LoadError;
pub use service::{EncoderClassifier, Settings, Thresholds};

use std::sync::Arc;

use futures::future::BoxFuture;
use tandem_protocol::ErrorKind;

/// The questions to answer about a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Heads {
    /// Which of the 14 MMLU-Pro domains.
    pub domain: bool,
    /// Probability of a jailbreak or prompt injection.
    pub jailbreak: bool,
    /// Spans of personal data.
    pub pii: bool,
    /// Sentence embedding.
    pub embedding: bool,
}

impl Heads {
    /// Every head.
    pub const ALL: Self = Self {
        domain: true,
        jailbreak: true,
        pii: true,
        embedding: true,
    };

    /// Whether nothing is asked.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The questions of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            domain: self.domain || other.domain,
            jailbreak: self.jailbreak || other.jailbreak,
            pii: self.pii || other.pii,
            embedding: self.embedding || other.embedding,
        }
    }
}

impl Heads {
    /// The questions common to both.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self {
            domain: self.domain && other.domain,
            jailbreak: self.jailbreak && other.jailbreak,
            pii: self.pii && other.pii,
            embedding: self.embedding && other.embedding,
        }
    }
}

/// Answers about one text; `None` where the head was not asked for or the model has no such head.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Analysis {
    /// Domains with their probabilities, most likely first.
    pub domain: Option<Vec<LabelScore>>,
    /// Calibrated probability of a jailbreak or prompt injection.
    pub jailbreak: Option<f32>,
    /// Personal data, by start offset; spans do not overlap.
    pub pii: Option<Vec<PiiSpan>>,
    /// L2-normalised sentence embedding.
    pub embedding: Option<Arc<[f32]>>,
}

/// A label and its probability.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelScore {
    /// Name of the label.
    pub label: Arc<str>,
    /// 0 to 1.
    pub score: f32,
}

/// A piece of personal data.
#[derive(Debug, Clone, PartialEq)]
pub struct PiiSpan {
    /// Type without BIO prefix, such as `US_SSN`.
    pub kind: Arc<str>,
    /// First byte of the span in the UTF-8 text; always at a character boundary.
    pub start: usize,
    /// One past the last byte; always at a character boundary.
    pub end: usize,
    /// 0 to 1.
    pub score: f32,
    /// What found it.
    pub source: PiiSource,
}

/// What found a piece of personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PiiSource {
    /// The token classifier.
    Model,
    /// A deterministic recognizer: pattern, and checksum where the type has one.
    Recognizer,
    /// Both agree.
    Both,
}

/// Why there is no analysis. A caller treats every one as "signal unavailable".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClassifierError {
    /// The queue is full.
    #[error("classifier queue is full")]
    Overloaded,
    /// The deadline passed before the answer was there.
    #[error("classifier deadline passed")]
    Timeout,
    /// The model failed.
    #[error("classifier failed: {0}")]
    Failed(String),
}

impl ClassifierError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Overloaded => ErrorKind::Overloaded,
            Self::Timeout => ErrorKind::Timeout,
            Self::Failed(_) => ErrorKind::Internal,
        }
    }
}

/// Answers questions about texts. Implementations never block the calling thread: the work runs
/// on their own compute threads.
pub trait Classifier: Send + Sync {
    /// Answers `heads` for `text`. Empty text gives empty answers, not an error.
    fn analyze(
        &self,
        text: Arc<str>,
        heads: Heads,
    ) -> BoxFuture<'_, Result<Analysis, ClassifierError>>;

    /// Name for logs and `/health`.
    fn name(&self) -> &str;
}
