//! The weights of one decoder layer, and its steps on rows of the batch.

use super::{Activation, ModelConfig, ModelError, TensorSource, Values};
use crate::engine::embedded::kernel::{Compute, LANES, Matrix, Quantization};

/// The weights of one layer. Products of the same input are packed as one matrix.
#[derive(Debug)]
pub(in super::super) struct Layer<M = Matrix, V = Vec<f32>> {
    pub(in super::super) attention_norm: V,
    pub(in super::super) qkv: M,
    pub(in super::super) qkv_bias: Option<V>,
    /// Norms of queries and keys, per head.
    pub(in super::super) head_norms: Option<(V, V)>,
    pub(in super::super) output: M,
    pub(in super::super) output_bias: Option<V>,
    /// Norm of what attention adds to the residual stream.
    pub(in super::super) attention_out_norm: Option<V>,
    pub(in super::super) mlp_norm: V,
    pub(in super::super) gate_up: M,
    pub(in super::super) down: M,
    /// Norm of what the feed-forward part adds to the residual stream.
    pub(in super::super) mlp_out_norm: Option<V>,
}

/// Where the weights of a layer go.
pub(in super::super) trait Place {
    /// Matrices, ready to multiply with.
    type Matrix;
    /// Norms and biases.
    type Vector;

    /// Packs matrices of `[outputs][inputs]` one after the other.
    fn matrix(&self, parts: &[Values], inputs: usize) -> Result<Self::Matrix, ModelError>;

    /// Keeps a norm or a bias.
    fn vector(&self, values: Vec<f32>) -> Result<Self::Vector, ModelError>;
}

/// Weights stay on the CPU, rounded in this way.
impl Place for Quantization {
    type Matrix = Matrix;
    type Vector = Vec<f32>;

    fn matrix(&self, parts: &[Values], inputs: usize) -> Result<Matrix, ModelError> {
        Ok(Matrix::pack(parts, inputs, *self))
    }

    fn vector(&self, values: Vec<f32>) -> Result<Vec<f32>, ModelError> {
        Ok(values)
    }
}

impl<M, V> Layer<M, V> {
    pub(in super::super) fn load(
        source: &impl TensorSource,
        config: &ModelConfig,
        (index, place): (usize, &impl Place<Matrix = M, Vector = V>),
    ) -> Result<Self, ModelError> {
        let name = |part: &str| format!("model.layers.{index}.{part}.weight");
        let norm = |part: &str, length| place.vector(norm(source, config, (&name(part), length))?);
        let biases = |projections: &[(char, usize)]| {
            let biases = biases(source, index, projections)?;
            biases.map(|biases| place.vector(biases)).transpose()
        };
        let matrix = |part: &str, outputs, inputs| source.tensor(&name(part), &[outputs, inputs]);
        let (hidden, wide) = (config.hidden, config.intermediate);
        let queries = config.heads * config.head_dim;
        let keys = config.kv_heads * config.head_dim;
        // Some checkpoints come with the products of one input as one matrix already.
        let qkv = if source.contains(&name("self_attn.qkv_proj")) {
            vec![matrix("self_attn.qkv_proj", queries + 2 * keys, hidden)?]
        } else {
            vec![
                matrix("self_attn.q_proj", queries, hidden)?,
                matrix("self_attn.k_proj", keys, hidden)?,
                matrix("self_attn.v_proj", keys, hidden)?,
            ]
        };
        let gate_up = if source.contains(&name("mlp.gate_up_proj")) {
            let both = matrix("mlp.gate_up_proj", 2 * wide, hidden)?;
            both.split(wide * hidden)
        } else {
            [
                matrix("mlp.gate_proj", wide, hidden)?,
                matrix("mlp.up_proj", wide, hidden)?,
            ]
        };
        let head_norms = if config.norms.heads {
            Some((
                norm("self_attn.q_norm", config.head_dim)?,
                norm("self_attn.k_norm", config.head_dim)?,
            ))
        } else {
            None
        };
        // Where both sides of a part are normalised, the old name means another place.
        let (attention_out, mlp, mlp_out) = if config.norms.after {
            (
                Some(norm("post_attention_layernorm", hidden)?),
                norm("pre_feedforward_layernorm", hidden)?,
                Some(norm("post_feedforward_layernorm", hidden)?),
            )
        } else {
            (None, norm("post_attention_layernorm", hidden)?, None)
        };
        let output = matrix("self_attn.o_proj", hidden, queries)?;
        let down = matrix("mlp.down_proj", hidden, wide)?;
        Ok(Self {
            attention_norm: norm("input_layernorm", hidden)?,
            qkv: place.matrix(&qkv, hidden)?,
            qkv_bias: biases(&[('q', queries), ('k', keys), ('v', keys)])?,
            head_norms,
            output: place.matrix(&[output], queries)?,
            output_bias: biases(&[('o', hidden)])?,
            attention_out_norm: attention_out,
            mlp_norm: mlp,
            gate_up: place.matrix(&gate_up, hidden)?,
            down: place.matrix(&[down], wide)?,
            mlp_out_norm: mlp_out,
        })
    }
}

/// The weights of a norm, ready to multiply with.
pub(in super::super) fn norm(
    source: &impl TensorSource,
    config: &ModelConfig,
    (name, length): (&str, usize),
) -> Result<Vec<f32>, ModelError> {
    let mut weights = source.tensor(name, &[length])?.into_f32();
    for weight in &mut weights {
        *weight += config.norms.offset;
    }
    Ok(weights)
}

/// The biases of some of a layer's attention projections, if it has them.
fn biases(
    source: &impl TensorSource,
    index: usize,
    projections: &[(char, usize)],
) -> Result<Option<Vec<f32>>, ModelError> {
    let mut all = Vec::new();
    for &(projection, length) in projections {
        let name = format!("model.layers.{index}.self_attn.{projection}_proj.bias");
        if !source.contains(&name) {
            return Ok(None);
        }
        all.extend(source.tensor(&name, &[length])?.into_f32());
    }
    Ok(Some(all))
}

/// Normalises each row of `x`.
pub(super) fn norm_rows(
    compute: &Compute,
    x: &[f32],
    (weight, eps): (&[f32], f32),
    out: &mut Vec<f32>,
) {
    let width = weight.len();
    out.resize(x.len(), 0.0);
    compute.for_each_piece(out, width, x.len() * 2, |row, out| {
        let x = &x[row * width..][..width];
        compute.kernel().rms_norm(x, weight, eps, out);
    });
}

/// What happens to a product before it joins the residual stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Branch<'a> {
    pub(super) bias: Option<&'a [f32]>,
    /// Weights of a norm, and what is added to its mean square.
    pub(super) norm: Option<(&'a [f32], f32)>,
}

/// Adds a product (`[panel][row][LANES]`) to the rows of `x`.
pub(super) fn add_rows(
    compute: &Compute,
    product: &[f32],
    branch: Branch<'_>,
    (x, width): (&mut [f32], usize),
) {
    let rows = x.len() / width;
    let operations = x.len() * 2;
    compute.for_each_piece(x, width, operations, |row, x| {
        if let Some((weight, eps)) = branch.norm {
            let mut sums = vec![0.0; width];
            add_row(product, (row, rows), branch.bias, &mut sums);
            let mut normed = vec![0.0; width];
            compute.kernel().rms_norm(&sums, weight, eps, &mut normed);
            for (x, normed) in x.iter_mut().zip(normed) {
                *x += normed;
            }
        } else {
            add_row(product, (row, rows), branch.bias, x);
        }
    });
}

fn add_row(product: &[f32], (row, rows): (usize, usize), bias: Option<&[f32]>, x: &mut [f32]) {
    for (panel, x) in x.chunks_mut(LANES).enumerate() {
        let sums = &product[(panel * rows + row) * LANES..];
        for (x, &sum) in x.iter_mut().zip(sums) {
            *x += sum;
        }
    }
    for (x, bias) in x.iter_mut().zip(bias.unwrap_or_default()) {
        *x += bias;
    }
}

/// `activation(gate) * up` for each row of a product (`[panel][row][LANES]`) that holds both.
pub(super) fn gate_rows(
    compute: &Compute,
    product: &[f32],
    (activation, width): (Activation, usize),
    out: &mut Vec<f32>,
) {
    let panels = width.div_ceil(LANES);
    let rows = product.len() / (2 * panels * LANES);
    out.resize(rows * width, 0.0);
    let kernel = compute.kernel();
    compute.for_each_piece(out, width, rows * width * 16, |row, out| {
        for (panel, out) in out.chunks_mut(LANES).enumerate() {
            let gate = &product[(panel * rows + row) * LANES..][..LANES];
            let up = &product[((panels + panel) * rows + row) * LANES..][..LANES];
            match activation {
                Activation::Silu => kernel.swiglu(gate, up, out),
                Activation::GeluTanh => kernel.geglu(gate, up, out),
            }
        }
    });
}
