//! A classifier for the tests of everything that routes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use tandem_classifier::{
    Analysis, Classifier, ClassifierError, Heads, LabelScore, PiiSource, PiiSpan,
};

/// Gives fixed answers: the first rule whose words are in the text decides the domain, and every
/// rule may add findings.
#[derive(Debug, Default)]
pub struct FixedClassifier {
    domains: Vec<(&'static str, &'static str, f32)>,
    jailbreaks: Vec<(&'static str, f32)>,
    pii: Vec<(&'static str, &'static str, f32)>,
    embeddings: Vec<(&'static str, [f32; 2])>,
    broken: bool,
    silent: bool,
    calls: AtomicUsize,
}

impl FixedClassifier {
    /// A text with `words` is about `label`; a text without any rule is about `other`.
    #[must_use]
    pub fn domain(mut self, words: &'static str, label: &'static str, score: f32) -> Self {
        self.domains.push((words, label, score));
        self
    }

    /// A text with `words` is a jailbreak with this probability.
    #[must_use]
    pub fn jailbreak(mut self, words: &'static str, score: f32) -> Self {
        self.jailbreaks.push((words, score));
        self
    }

    /// `words` are personal data of type `kind`.
    #[must_use]
    pub fn pii(mut self, words: &'static str, kind: &'static str, score: f32) -> Self {
        self.pii.push((words, kind, score));
        self
    }

    /// A text with `words` has this embedding, and other texts one that is similar to none.
    /// Without any such rule the classifier has no embeddings.
    #[must_use]
    pub fn embedding(mut self, words: &'static str, vector: [f32; 2]) -> Self {
        self.embeddings.push((words, vector));
        self
    }

    /// Every call fails.
    #[must_use]
    pub fn broken(mut self) -> Self {
        self.broken = true;
        self
    }

    /// No call ever ends.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// How many texts were asked about.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    fn answer(&self, text: &str, heads: Heads) -> Analysis {
        let domain = || {
            let rule = self.domains.iter().find(|(words, ..)| text.contains(words));
            let (label, score) = rule.map_or(("other", 0.9), |(_, label, score)| (*label, *score));
            vec![LabelScore {
                label: Arc::from(label),
                score,
            }]
        };
        let jailbreak = || {
            let rules = self.jailbreaks.iter();
            let found = rules.filter(|(words, _)| text.contains(words));
            found.map(|(_, score)| *score).fold(0.01, f32::max)
        };
        let pii = || {
            let spans = self.pii.iter().filter_map(|(words, kind, score)| {
                let start = text.find(words)?;
                Some(PiiSpan {
                    kind: Arc::from(*kind),
                    start,
                    end: start + words.len(),
                    score: *score,
                    source: PiiSource::Model,
                })
            });
            spans.collect()
        };
        let embedding = || {
            let mut rules = self.embeddings.iter();
            let rule = rules.find(|(words, _)| text.contains(words));
            Arc::from(rule.map_or([0.0, 0.0], |(_, vector)| *vector).as_slice())
        };
        Analysis {
            domain: heads.domain.then(domain),
            jailbreak: heads.jailbreak.then(jailbreak),
            pii: heads.pii.then(pii),
            embedding: (heads.embedding && !self.embeddings.is_empty()).then(embedding),
        }
    }
}

impl Classifier for FixedClassifier {
    fn analyze(
        &self,
        text: Arc<str>,
        heads: Heads,
    ) -> BoxFuture<'_, Result<Analysis, ClassifierError>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.silent {
            return Box::pin(std::future::pending());
        }
        let answer = if self.broken {
            Err(ClassifierError::Failed("told to fail".to_owned()))
        } else {
            Ok(self.answer(&text, heads))
        };
        Box::pin(std::future::ready(answer))
    }

    fn name(&self) -> &'static str {
        "fixed"
    }
}
