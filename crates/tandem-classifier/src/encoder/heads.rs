//! What is read off the hidden states: a decision about the text, one per token, or a vector.

use super::linear::Linear;
use super::product::Quantised;
use super::{Activation, Norm, kernel, normalise, softmax};

/// How the hidden states of a text become one vector.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Pool {
    /// The state of the first token.
    First,
    /// The mean over all tokens.
    Mean,
    /// The mean weighted by the softmax of each state's product with a learned query.
    Query(Vec<f32>),
}

/// A dense layer before the last one.
#[derive(Debug)]
pub(crate) struct Dense {
    pub(crate) linear: Linear,
    pub(crate) activation: Activation,
    pub(crate) norm: Option<Norm>,
}

/// One row of logits per text.
#[derive(Debug)]
pub(crate) struct SequenceHead {
    pub(crate) pool: Pool,
    pub(crate) dense: Option<Dense>,
    pub(crate) out: Linear,
}

/// One row of probabilities per token.
#[derive(Debug)]
pub(crate) struct TokenHead {
    pub(crate) dense: Option<Dense>,
    pub(crate) out: Linear,
}

/// One vector per text.
#[derive(Debug)]
pub(crate) struct EmbeddingHead {
    pub(crate) pool: Pool,
    pub(crate) projection: Option<Linear>,
}

impl Pool {
    fn apply(&self, hidden: &[f32], width: usize) -> Vec<f32> {
        let rows = hidden.chunks_exact(width);
        match self {
            Self::First => hidden[..width].to_vec(),
            Self::Mean => {
                #[expect(clippy::cast_precision_loss, reason = "a window is short")]
                let share = 1.0 / rows.len() as f32;
                weighted_sum(rows.map(|row| (share, row)), width)
            }
            Self::Query(query) => {
                let mut weights: Vec<f32> = rows.clone().map(|row| dot(row, query)).collect();
                softmax(&mut weights);
                weighted_sum(weights.into_iter().zip(rows), width)
            }
        }
    }
}

fn weighted_sum<'a>(rows: impl Iterator<Item = (f32, &'a [f32])>, width: usize) -> Vec<f32> {
    let mut sum = vec![0.0; width];
    for (weight, row) in rows {
        for (sum, value) in sum.iter_mut().zip(row) {
            *sum += weight * value;
        }
    }
    sum
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Dense {
    fn apply(&self, input: &[f32], scratch: &mut Quantised) -> Vec<f32> {
        let mut output = Vec::new();
        self.linear.set(input, &mut output, scratch);
        kernel::activate(self.activation, &mut output);
        let Some(norm) = &self.norm else {
            return output;
        };
        let mut normed = Vec::new();
        norm.apply(&output, &mut normed);
        normed
    }
}

impl SequenceHead {
    /// Logits of a text; `hidden` holds the states of its tokens.
    pub(crate) fn logits(&self, hidden: &[f32], scratch: &mut Quantised) -> Vec<f32> {
        let width = match &self.dense {
            Some(dense) => dense.linear.inputs(),
            None => self.out.inputs(),
        };
        let pooled = self.pool.apply(hidden, width);
        let pooled = match &self.dense {
            Some(dense) => dense.apply(&pooled, scratch),
            None => pooled,
        };
        let mut logits = Vec::new();
        self.out.set(&pooled, &mut logits, scratch);
        logits
    }
}

impl TokenHead {
    /// Number of labels.
    pub(crate) fn labels(&self) -> usize {
        self.out.outputs()
    }

    /// Probabilities of the labels for each token, row by row.
    pub(crate) fn probabilities(&self, hidden: &[f32], scratch: &mut Quantised) -> Vec<f32> {
        let dense = self.dense.as_ref();
        let dense = dense.map(|dense| dense.apply(hidden, scratch));
        let mut rows = Vec::new();
        let input = dense.as_deref().unwrap_or(hidden);
        self.out.set(input, &mut rows, scratch);
        for row in rows.chunks_exact_mut(self.out.outputs()) {
            softmax(row);
        }
        rows
    }
}

impl EmbeddingHead {
    /// Vector of a text, of length 1.
    pub(crate) fn embed(&self, hidden: &[f32], width: usize, scratch: &mut Quantised) -> Vec<f32> {
        let pooled = self.pool.apply(hidden, width);
        let mut vector = match &self.projection {
            None => pooled,
            Some(projection) => {
                let mut vector = Vec::new();
                projection.set(&pooled, &mut vector, scratch);
                vector
            }
        };
        normalise(&mut vector);
        vector
    }
}
