//! BERT, RoBERTa and XLM-R: absolute positions, normalisation after each block.

use super::attention::{Shape, attend};
use super::linear::Linear;
use super::{Activation, Batch, Config, Norm, Table, Weights, Workspace, kernel};
use crate::error::LoadError;

#[derive(Debug)]
pub(crate) struct Bert {
    hidden: usize,
    activation: Activation,
    /// Position of the first token.
    position_offset: usize,
    tokens: Table,
    positions: Table,
    segments: Table,
    embedding_norm: Norm,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    shape: Shape,
    qkv: Linear,
    attention_out: Linear,
    attention_norm: Norm,
    mlp_in: Linear,
    mlp_out: Linear,
    mlp_norm: Norm,
}

impl Bert {
    pub(crate) fn load(
        config: &Config,
        position_offset: usize,
        weights: &Weights,
    ) -> Result<Self, LoadError> {
        let prefix = ["bert.", "roberta.", "model.", ""]
            .into_iter()
            .find(|prefix| weights.has(&format!("{prefix}embeddings.word_embeddings.weight")))
            .unwrap_or("bert.");
        let hidden = config.hidden;
        let embedding = |part: &str| format!("{prefix}embeddings.{part}");
        let layers = (0..config.layers).map(|index| {
            let name = |part: &str| format!("{prefix}encoder.layer.{index}.{part}");
            let qkv = ["query", "key", "value"].map(|part| name(&format!("attention.self.{part}")));
            Ok(Layer {
                shape: Shape {
                    heads: config.heads,
                    head_size: hidden / config.heads,
                    reach: None,
                },
                qkv: weights.stacked(&qkv, hidden, hidden)?,
                attention_out: weights.linear(&name("attention.output.dense"), hidden, hidden)?,
                attention_norm: weights.norm(
                    &name("attention.output.LayerNorm"),
                    hidden,
                    config.eps,
                )?,
                mlp_in: weights.linear(&name("intermediate.dense"), config.intermediate, hidden)?,
                mlp_out: weights.linear(&name("output.dense"), hidden, config.intermediate)?,
                mlp_norm: weights.norm(&name("output.LayerNorm"), hidden, config.eps)?,
            })
        });
        Ok(Self {
            hidden,
            activation: config.activation,
            position_offset,
            tokens: weights.table(&embedding("word_embeddings.weight"), hidden)?,
            positions: weights.table(&embedding("position_embeddings.weight"), hidden)?,
            segments: weights.table(&embedding("token_type_embeddings.weight"), hidden)?,
            embedding_norm: weights.norm(&embedding("LayerNorm"), hidden, config.eps)?,
            layers: layers.collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn forward(&self, batch: &Batch, workspace: &mut Workspace) {
        self.embed(batch, workspace);
        for layer in &self.layers {
            layer.attend(batch, workspace);
            layer.transform(self.activation, workspace);
        }
    }

    fn embed(&self, batch: &Batch, workspace: &mut Workspace) {
        let sums = &mut workspace.normed;
        sums.clear();
        sums.resize(batch.ids.len() * self.hidden, 0.0);
        for segment in &batch.segments {
            let rows = &mut sums[segment.start * self.hidden..segment.end * self.hidden];
            let ids = &batch.ids[segment.clone()];
            for (position, (row, id)) in rows.chunks_exact_mut(self.hidden).zip(ids).enumerate() {
                self.tokens.add(*id as usize, row);
                self.positions.add(position + self.position_offset, row);
                self.segments.add(0, row);
            }
        }
        self.embedding_norm.apply(sums, &mut workspace.hidden);
    }
}

impl Layer {
    fn attend(&self, batch: &Batch, workspace: &mut Workspace) {
        let Workspace {
            hidden,
            normed,
            wide,
            narrow,
            quantised,
            attention,
        } = workspace;
        self.qkv.set(hidden, wide, quantised);
        let width = self.attention_out.inputs();
        narrow.resize(batch.ids.len() * width, 0.0);
        for segment in &batch.segments {
            let qkv = &wide[segment.start * 3 * width..segment.end * 3 * width];
            let output = &mut narrow[segment.start * width..segment.end * width];
            attend(self.shape, qkv, output, attention);
        }
        self.attention_out.add(narrow, hidden, quantised);
        self.attention_norm.apply(hidden, normed);
        std::mem::swap(hidden, normed);
    }

    fn transform(&self, activation: Activation, workspace: &mut Workspace) {
        let Workspace {
            hidden,
            normed,
            wide,
            quantised,
            ..
        } = workspace;
        self.mlp_in.set(hidden, wide, quantised);
        kernel::activate(activation, wide);
        self.mlp_out.add(wide, hidden, quantised);
        self.mlp_norm.apply(hidden, normed);
        std::mem::swap(hidden, normed);
    }
}
