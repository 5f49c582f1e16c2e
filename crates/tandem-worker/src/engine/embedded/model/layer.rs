//! The weights of one decoder layer, and its steps on rows of the batch.

use super::{Family, ModelConfig, ModelError, TensorSource, Values};
use crate::engine::embedded::kernel::{Compute, LANES, Matrix};

/// The weights of one layer. Products of the same input are packed as one matrix.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) attention_norm: Vec<f32>,
    pub(super) qkv: Matrix,
    pub(super) qkv_bias: Option<Vec<f32>>,
    /// Norms of queries and keys, per head.
    pub(super) head_norms: Option<(Vec<f32>, Vec<f32>)>,
    pub(super) output: Matrix,
    pub(super) output_bias: Option<Vec<f32>>,
    pub(super) mlp_norm: Vec<f32>,
    pub(super) gate_up: Matrix,
    pub(super) down: Matrix,
}

impl Layer {
    pub(super) fn load(
        source: &impl TensorSource,
        config: &ModelConfig,
        index: usize,
    ) -> Result<Self, ModelError> {
        let name = |part: &str| format!("model.layers.{index}.{part}.weight");
        let vector = |part: &str, length| -> Result<Vec<f32>, ModelError> {
            Ok(source.tensor(&name(part), &[length])?.into_f32())
        };
        let matrix = |part: &str, outputs, inputs| source.tensor(&name(part), &[outputs, inputs]);
        let (hidden, wide) = (config.hidden, config.intermediate);
        let queries = config.heads * config.head_dim;
        let keys = config.kv_heads * config.head_dim;
        let qkv = [
            matrix("self_attn.q_proj", queries, hidden)?,
            matrix("self_attn.k_proj", keys, hidden)?,
            matrix("self_attn.v_proj", keys, hidden)?,
        ];
        let gate_up = [
            matrix("mlp.gate_proj", wide, hidden)?,
            matrix("mlp.up_proj", wide, hidden)?,
        ];
        let head_norms = match config.family {
            Family::Qwen3 => Some((
                vector("self_attn.q_norm", config.head_dim)?,
                vector("self_attn.k_norm", config.head_dim)?,
            )),
            Family::Llama | Family::Qwen2 => None,
        };
        let pack = |values: Values, inputs| Matrix::pack(&[values], inputs);
        Ok(Self {
            attention_norm: vector("input_layernorm", hidden)?,
            qkv: Matrix::pack(&qkv, hidden),
            qkv_bias: biases(source, index, &[('q', queries), ('k', keys), ('v', keys)])?,
            head_norms,
            output: pack(matrix("self_attn.o_proj", hidden, queries)?, queries),
            output_bias: biases(source, index, &[('o', hidden)])?,
            mlp_norm: vector("post_attention_layernorm", hidden)?,
            gate_up: Matrix::pack(&gate_up, hidden),
            down: pack(matrix("mlp.down_proj", hidden, wide)?, wide),
        })
    }
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

/// Adds a product (`[panel][row][LANES]`) to the rows of `x`.
pub(super) fn add_rows(
    compute: &Compute,
    product: &[f32],
    bias: Option<&[f32]>,
    (x, width): (&mut [f32], usize),
) {
    let rows = x.len() / width;
    let operations = x.len() * 2;
    compute.for_each_piece(x, width, operations, |row, x| {
        for (panel, x) in x.chunks_mut(LANES).enumerate() {
            let sums = &product[(panel * rows + row) * LANES..];
            for (x, &sum) in x.iter_mut().zip(sums) {
                *x += sum;
            }
        }
        for (x, bias) in x.iter_mut().zip(bias.unwrap_or_default()) {
            *x += bias;
        }
    });
}

/// `silu(gate) * up` for each row of a product (`[panel][row][LANES]`) that holds both.
pub(super) fn gate_rows(compute: &Compute, product: &[f32], width: usize, out: &mut Vec<f32>) {
    let panels = width.div_ceil(LANES);
    let rows = product.len() / (2 * panels * LANES);
    out.resize(rows * width, 0.0);
    compute.for_each_piece(out, width, rows * width * 16, |row, out| {
        for (panel, out) in out.chunks_mut(LANES).enumerate() {
            let gate = &product[(panel * rows + row) * LANES..][..LANES];
            let up = &product[((panels + panel) * rows + row) * LANES..][..LANES];
            compute.kernel().swiglu(gate, up, out);
        }
    });
}
