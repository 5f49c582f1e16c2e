//! One network with its tokenizer and heads, and what it says about the windows of texts.

use std::sync::Arc;

use crate::Heads;
use crate::encoder::{Batch, EmbeddingHead, SequenceHead, TokenHead, Trunk, Workspace, softmax};
use crate::ngram::Ngram;
use crate::pii::decode::{Scheme, TokenTag};
use crate::tokenize::{TextTokenizer, Token};
use crate::window::WindowRule;

/// A network. A head that it lacks is `None`.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) tokenizer: TextTokenizer,
    pub(crate) window: WindowRule,
    pub(crate) trunk: Trunk,
    pub(crate) hidden: usize,
    pub(crate) domain: Option<DomainHead>,
    pub(crate) jailbreak: Option<JailbreakHead>,
    pub(crate) pii: Option<PiiHead>,
    pub(crate) embedding: Option<EmbeddingHead>,
    /// Its logits are added to those of the domain and jailbreak heads.
    pub(crate) ngram: Option<Ngram>,
}

#[derive(Debug)]
pub(crate) struct DomainHead {
    pub(crate) head: SequenceHead,
    pub(crate) labels: Vec<Arc<str>>,
}

#[derive(Debug)]
pub(crate) struct JailbreakHead {
    pub(crate) head: SequenceHead,
    pub(crate) reading: Reading,
}

/// How the logits of a jailbreak head become a probability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    /// One logit, through the logistic function.
    Sigmoid,
    /// Softmax; the probability of everything that is not benign.
    Softmax {
        /// Per label, whether it is benign.
        benign: Vec<bool>,
    },
}

#[derive(Debug)]
pub(crate) struct PiiHead {
    pub(crate) head: TokenHead,
    pub(crate) scheme: Scheme,
}

/// A window to look at.
#[derive(Debug)]
pub(crate) struct Window<'a> {
    pub(crate) heads: Heads,
    pub(crate) tokens: &'a [Token],
    /// The text of the window.
    pub(crate) text: &'a str,
    /// The same, normalised, if that is at hand.
    pub(crate) normalised: Option<&'a str>,
}

/// What the network says about a window.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) domain_logits: Option<Vec<f32>>,
    pub(crate) jailbreak: Option<f32>,
    pub(crate) tags: Option<Vec<TokenTag>>,
    pub(crate) embedding: Option<Vec<f32>>,
}

impl Model {
    /// The heads that it has.
    pub(crate) fn heads(&self) -> Heads {
        Heads {
            domain: self.domain.is_some(),
            jailbreak: self.jailbreak.is_some(),
            pii: self.pii.is_some(),
            embedding: self.embedding.is_some(),
        }
    }

    /// Looks at several windows in one pass.
    pub(crate) fn answer(
        &self,
        windows: &[Window<'_>],
        workspace: &mut Workspace,
    ) -> Vec<Result<Answer, tokenizers::Error>> {
        let batch = self.batch(windows);
        self.trunk.forward(&batch, workspace);
        windows
            .iter()
            .zip(&batch.segments)
            .map(|(window, segment)| {
                let range = segment.start * self.hidden..segment.end * self.hidden;
                self.read(window, range, workspace)
            })
            .collect()
    }

    pub(crate) fn batch(&self, windows: &[Window<'_>]) -> Batch {
        let mut batch = Batch::default();
        let (open, close) = self.tokenizer.special;
        for window in windows {
            let start = batch.ids.len();
            batch.ids.push(open);
            batch.ids.extend(window.tokens.iter().map(|token| token.id));
            batch.ids.push(close);
            batch.cases.push(0);
            batch
                .cases
                .extend(window.tokens.iter().map(|token| token.case));
            batch.cases.push(0);
            batch.segments.push(start..batch.ids.len());
        }
        batch
    }

    /// Applies the heads to the hidden states of one window.
    fn read(
        &self,
        window: &Window<'_>,
        states: std::ops::Range<usize>,
        workspace: &mut Workspace,
    ) -> Result<Answer, tokenizers::Error> {
        let Workspace {
            hidden, quantised, ..
        } = workspace;
        let hidden = &hidden[states];
        let mut answer = Answer::default();
        let ngram = match &self.ngram {
            Some(ngram) if window.heads.domain || window.heads.jailbreak => {
                Some(self.ngram_logits(ngram, window)?)
            }
            _ => None,
        };
        if let Some(head) = self.domain.as_ref().filter(|_| window.heads.domain) {
            let mut logits = head.head.logits(hidden, quantised);
            for (logit, more) in logits.iter_mut().zip(ngram.iter().flatten()) {
                *logit += more;
            }
            answer.domain_logits = Some(logits);
        }
        if let Some(head) = self.jailbreak.as_ref().filter(|_| window.heads.jailbreak) {
            let mut logits = head.head.logits(hidden, quantised);
            let more = ngram.as_ref().zip(self.domain.as_ref());
            if let Some((ngram, domain)) = more {
                logits[0] += ngram.get(domain.labels.len()).copied().unwrap_or(0.0);
            }
            answer.jailbreak = Some(head.reading.probability(&mut logits));
        }
        if let Some(head) = self.pii.as_ref().filter(|_| window.heads.pii) {
            let inner = &hidden[self.hidden..hidden.len() - self.hidden];
            answer.tags = Some(head.tags(window.tokens, inner, quantised));
        }
        if let Some(head) = self.embedding.as_ref().filter(|_| window.heads.embedding) {
            answer.embedding = Some(head.embed(hidden, self.hidden, quantised));
        }
        Ok(answer)
    }

    fn ngram_logits(
        &self,
        ngram: &Ngram,
        window: &Window<'_>,
    ) -> Result<Vec<f32>, tokenizers::Error> {
        match window.normalised {
            Some(normalised) => Ok(ngram.logits(normalised)),
            None => Ok(ngram.logits(&self.tokenizer.normalise(window.text)?)),
        }
    }
}

impl Reading {
    fn probability(&self, logits: &mut [f32]) -> f32 {
        match self {
            Self::Sigmoid => 1.0 / (1.0 + (-logits[0]).exp()),
            Self::Softmax { benign } => {
                softmax(logits);
                let harmful = logits.iter().zip(benign).filter(|(_, benign)| !**benign);
                harmful.map(|(probability, _)| probability).sum()
            }
        }
    }
}

impl PiiHead {
    fn tags(
        &self,
        tokens: &[Token],
        hidden: &[f32],
        scratch: &mut crate::encoder::Quantised,
    ) -> Vec<TokenTag> {
        if tokens.is_empty() {
            return Vec::new();
        }
        let rows = self.head.probabilities(hidden, scratch);
        tokens
            .iter()
            .zip(rows.chunks_exact(self.head.labels()))
            .map(|(token, row)| {
                self.scheme
                    .tag(row, token.start as usize, token.end as usize)
            })
            .collect()
    }
}
