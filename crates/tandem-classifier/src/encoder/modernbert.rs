//! ModernBERT: pre-norm layers, rotary positions, local attention in most layers, gated MLP.

use super::attention::{Shape, attend};
use super::config::Layout;
use super::linear::Linear;
use super::rotary::Angles;
use super::{Activation, Batch, Config, Norm, Table, Weights, Workspace, kernel};
use crate::error::LoadError;

#[derive(Debug)]
pub(crate) struct ModernBert {
    hidden: usize,
    activation: Activation,
    tokens: Table,
    /// Letter case of each token, for models whose tokenizer lower-cases.
    cases: Option<Table>,
    embedding_norm: Norm,
    layers: Vec<Layer>,
    final_norm: Norm,
    global_angles: Angles,
    local_angles: Angles,
}

#[derive(Debug)]
struct Layer {
    shape: Shape,
    /// Absent in the first layer.
    attention_norm: Option<Norm>,
    qkv: Linear,
    attention_out: Linear,
    mlp_norm: Norm,
    /// Two times the intermediate size: values, then gates.
    mlp_in: Linear,
    mlp_out: Linear,
}

impl ModernBert {
    pub(crate) fn load(
        config: &Config,
        layout: &Layout,
        weights: &Weights,
        window: usize,
    ) -> Result<Self, LoadError> {
        let prefix = ["model.", ""]
            .into_iter()
            .find(|prefix| weights.has(&format!("{prefix}embeddings.tok_embeddings.weight")))
            .unwrap_or("model.");
        let hidden = config.hidden;
        let head_size = hidden / config.heads;
        let name = |part: &str| format!("{prefix}{part}");
        let cases = name("embeddings.case_embeddings.weight");
        let layers = layout.reach.iter().enumerate().map(|(index, reach)| {
            let name = |part: &str| format!("{prefix}layers.{index}.{part}");
            let attention_norm = name("attn_norm");
            let has_norm = weights.has(&format!("{attention_norm}.weight"));
            Ok(Layer {
                shape: Shape {
                    heads: config.heads,
                    head_size,
                    reach: *reach,
                },
                attention_norm: has_norm
                    .then(|| weights.norm(&attention_norm, hidden, config.eps))
                    .transpose()?,
                qkv: weights.linear(&name("attn.Wqkv"), 3 * hidden, hidden)?,
                attention_out: weights.linear(&name("attn.Wo"), hidden, hidden)?,
                mlp_norm: weights.norm(&name("mlp_norm"), hidden, config.eps)?,
                mlp_in: weights.linear(&name("mlp.Wi"), 2 * config.intermediate, hidden)?,
                mlp_out: weights.linear(&name("mlp.Wo"), hidden, config.intermediate)?,
            })
        });
        Ok(Self {
            hidden,
            activation: config.activation,
            tokens: weights.table(&name("embeddings.tok_embeddings.weight"), hidden)?,
            cases: weights
                .has(&cases)
                .then(|| weights.table(&cases, hidden))
                .transpose()?,
            embedding_norm: weights.norm(&name("embeddings.norm"), hidden, config.eps)?,
            layers: layers.collect::<Result<_, _>>()?,
            final_norm: weights.norm(&name("final_norm"), hidden, config.eps)?,
            global_angles: Angles::new(layout.global_theta, head_size, window),
            local_angles: Angles::new(layout.local_theta, head_size, window),
        })
    }

    pub(crate) fn forward(&self, batch: &Batch, workspace: &mut Workspace) {
        self.embed(batch, workspace);
        for layer in &self.layers {
            let angles = match layer.shape.reach {
                None => &self.global_angles,
                Some(_) => &self.local_angles,
            };
            layer.attend(batch, angles, workspace);
            layer.transform(self.activation, workspace);
        }
        self.final_norm
            .apply(&workspace.hidden, &mut workspace.normed);
        std::mem::swap(&mut workspace.hidden, &mut workspace.normed);
    }

    fn embed(&self, batch: &Batch, workspace: &mut Workspace) {
        let sums = &mut workspace.normed;
        sums.clear();
        sums.resize(batch.ids.len() * self.hidden, 0.0);
        for (index, row) in sums.chunks_exact_mut(self.hidden).enumerate() {
            self.tokens.add(batch.ids[index] as usize, row);
            if let Some(cases) = &self.cases {
                cases.add(usize::from(batch.cases[index]), row);
            }
        }
        self.embedding_norm.apply(sums, &mut workspace.hidden);
    }
}

impl Layer {
    /// Adds what attention says to the hidden states.
    fn attend(&self, batch: &Batch, angles: &Angles, workspace: &mut Workspace) {
        let Workspace {
            hidden,
            normed,
            wide,
            narrow,
            quantised,
            attention,
        } = workspace;
        let input = match &self.attention_norm {
            Some(norm) => {
                norm.apply(hidden, normed);
                &*normed
            }
            None => &*hidden,
        };
        self.qkv.set(input, wide, quantised);
        let width = self.attention_out.inputs();
        narrow.resize(batch.ids.len() * width, 0.0);
        for segment in &batch.segments {
            let qkv = &mut wide[segment.start * 3 * width..segment.end * 3 * width];
            angles.apply(self.shape, qkv);
            let output = &mut narrow[segment.start * width..segment.end * width];
            attend(self.shape, qkv, output, attention);
        }
        self.attention_out.add(narrow, hidden, quantised);
    }

    /// Adds what the MLP says to the hidden states.
    fn transform(&self, activation: Activation, workspace: &mut Workspace) {
        let Workspace {
            hidden,
            normed,
            wide,
            narrow,
            quantised,
            ..
        } = workspace;
        self.mlp_norm.apply(hidden, normed);
        self.mlp_in.set(normed, wide, quantised);
        let width = self.mlp_out.inputs();
        narrow.resize(wide.len() / 2, 0.0);
        kernel::gate(activation, width, wide, narrow);
        self.mlp_out.add(narrow, hidden, quantised);
    }
}
