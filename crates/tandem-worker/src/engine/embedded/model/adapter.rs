//! LoRA adapters (Hu et al. 2021) in the files of PEFT: low-rank additions to a decoder's products.
//!
//! Adapters stay beside the weights, so that one batch mixes requests of several, and of none. What
//! is added to a number depends on its own row only, as everything in `kernel` does.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::Xxh3;

use super::{Checkpoint, ModelConfig, ModelError, TensorSource, Values};
use crate::engine::embedded::kernel::{Compute, LANES, Matrix, Quantization};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// What PEFT puts before the names of the model's own parts.
const PREFIX: &str = "base_model.model.";

/// Something of each product of a layer, in the order of [`Projection`].
type OfLayer<T> = [T; 4];

/// A product of a layer. The weights of one are packed as one matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Projection {
    Qkv,
    Output,
    GateUp,
    Down,
}

/// An adapter that is loaded.
#[derive(Debug)]
pub(super) struct Adapter {
    layers: Vec<OfLayer<Vec<Addition>>>,
    digest: u128,
}

/// What an adapter adds to some outputs of a product: `up * (down * x)`.
#[derive(Debug)]
struct Addition {
    /// `[rank][inputs]`
    down: Matrix,
    /// `[outputs][rank]`, scaled
    up: Matrix,
    inputs: usize,
    rank: usize,
    /// Panel of the product at which the outputs begin.
    first_panel: usize,
}

/// A module that an adapter may change: its name in a layer, inputs, outputs of each of its parts
/// that starts a panel of its own, and where they begin in the product.
struct Module {
    name: &'static str,
    projection: Projection,
    inputs: usize,
    parts: Vec<usize>,
    first_panel: usize,
}

/// The members of `adapter_config.json` that say how to scale, and those that must not say anything.
#[derive(Deserialize)]
struct Config {
    peft_type: String,
    r: Value,
    lora_alpha: Value,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    rank_pattern: Map<String, Value>,
    #[serde(default)]
    alpha_pattern: Map<String, Value>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// Members that make an adapter more than low-rank additions, unless they say nothing.
const MORE_THAN_LOW_RANK: [&str; 11] = [
    "alora_invocation_tokens",
    "bias",
    "fan_in_fan_out",
    "layer_replication",
    "lora_bias",
    "modules_to_save",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
];

impl Config {
    fn read(directory: &Path) -> Result<Self, ModelError> {
        let path = directory.join(CONFIG);
        let text = std::fs::read(&path).map_err(ModelError::read(&path))?;
        let config: Self =
            serde_json::from_slice(&text).map_err(|error| ModelError::malformed(&path, &error))?;
        if config.peft_type != "LORA" {
            return Err(unsupported("adapter of type", config.peft_type));
        }
        for name in MORE_THAN_LOW_RANK {
            let value = config.others.get(name).unwrap_or(&Value::Null);
            let empty = match value {
                Value::Null | Value::Bool(false) => true,
                Value::String(text) => text == "none",
                Value::Array(values) => values.is_empty(),
                Value::Object(values) => values.is_empty(),
                Value::Bool(true) | Value::Number(_) => false,
            };
            if !empty {
                return Err(unsupported("adapter with", format!("{name}={value}")));
            }
        }
        Ok(config)
    }

    /// Rank and scale of the module `name`.
    fn of_module(&self, name: &str) -> Result<(usize, f32), ModelError> {
        let rank = pattern(&self.rank_pattern, name)?.unwrap_or(&self.r);
        let alpha = pattern(&self.alpha_pattern, name)?.unwrap_or(&self.lora_alpha);
        let number = rank.as_u64().and_then(|rank| usize::try_from(rank).ok());
        let number = number.filter(|&rank| rank > 0);
        let rank = number.ok_or_else(|| unsupported("adapter of rank", rank.to_string()))?;
        let alpha = alpha
            .as_f64()
            .ok_or_else(|| unsupported("adapter of alpha", alpha.to_string()))?;
        let divisor = if self.use_rslora {
            (rank as f64).sqrt()
        } else {
            rank as f64
        };
        #[allow(clippy::cast_possible_truncation, reason = "rounding is what is meant")]
        let scale = (alpha / divisor) as f32;
        Ok((rank, scale))
    }
}

/// The value of the first key that matches the end of `name`, as PEFT reads its patterns.
fn pattern<'a>(
    patterns: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a Value>, ModelError> {
    for (key, value) in patterns {
        let regex = Regex::new(&format!(r"^(?:.*\.)?(?:{key})$"))
            .map_err(|_| unsupported("adapter with the pattern", key.clone()))?;
        if regex.is_match(name) {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

fn unsupported(feature: &'static str, value: String) -> ModelError {
    ModelError::Unsupported {
        feature,
        value,
        supported: "LoRA as PEFT saves it, of attention and feed-forward projections alone",
    }
}

fn modules(config: &ModelConfig) -> Vec<Module> {
    let (hidden, wide) = (config.hidden, config.intermediate);
    let queries = config.heads * config.head_dim;
    let keys = config.kv_heads * config.head_dim;
    let module = |name, projection, inputs, (before, parts): (usize, &[usize])| Module {
        name,
        projection,
        inputs,
        parts: parts.to_vec(),
        first_panel: before.div_ceil(LANES),
    };
    use Projection::{Down, GateUp, Output, Qkv};
    vec![
        module("self_attn.q_proj", Qkv, hidden, (0, &[queries])),
        module("self_attn.k_proj", Qkv, hidden, (queries, &[keys])),
        module("self_attn.v_proj", Qkv, hidden, (queries + keys, &[keys])),
        module(
            "self_attn.qkv_proj",
            Qkv,
            hidden,
            (0, &[queries + 2 * keys]),
        ),
        module("self_attn.o_proj", Output, queries, (0, &[hidden])),
        module("mlp.gate_proj", GateUp, hidden, (0, &[wide])),
        module("mlp.up_proj", GateUp, hidden, (wide, &[wide])),
        module("mlp.gate_up_proj", GateUp, hidden, (0, &[wide, wide])),
        module("mlp.down_proj", Down, wide, (0, &[hidden])),
    ]
}

impl Adapter {
    /// Loads the adapter in `directory`.
    ///
    /// # Errors
    /// It is not a LoRA adapter of the model that `config` describes, or changes what this engine
    /// cannot change.
    pub(super) fn load(directory: &Path, config: &ModelConfig) -> Result<Self, ModelError> {
        let settings = Config::read(directory)?;
        let weights = Checkpoint::open_file(&directory.join(WEIGHTS))?;
        let mut unknown: BTreeSet<String> = weights.names().map(str::to_owned).collect();
        let mut hash = Xxh3::new();
        let modules = modules(config);
        let mut layers = Vec::new();
        for index in 0..config.layers {
            let mut layer: OfLayer<Vec<Addition>> = Default::default();
            for module in &modules {
                let name = format!("model.layers.{index}.{}", module.name);
                let tensors = ["A", "B"].map(|part| format!("{PREFIX}{name}.lora_{part}.weight"));
                if !tensors.iter().any(|tensor| weights.contains(tensor)) {
                    continue;
                }
                for tensor in &tensors {
                    unknown.remove(tensor);
                }
                let scaling = settings.of_module(&name)?;
                let addition = Addition::load(&weights, (module, tensors), scaling, &mut hash)?;
                layer[module.projection as usize].push(addition);
            }
            layers.push(layer);
        }
        if let Some(tensor) = unknown.pop_first() {
            return Err(unsupported("adapter with the tensor", tensor));
        }
        Ok(Self {
            layers,
            digest: hash.digest128(),
        })
    }

    /// Differs between adapters whose KV blocks are not interchangeable.
    pub(super) fn digest(&self) -> u128 {
        self.digest
    }
}

impl Addition {
    fn load(
        weights: &Checkpoint,
        (module, [down, up]): (&Module, [String; 2]),
        (rank, scale): (usize, f32),
        hash: &mut Xxh3,
    ) -> Result<Self, ModelError> {
        let inputs = module.inputs;
        let outputs: usize = module.parts.iter().sum();
        let a = weights.tensor(&down, &[rank, inputs])?.into_f32();
        let mut b = weights.tensor(&up, &[outputs, rank])?.into_f32();
        for weight in &mut b {
            *weight *= scale;
        }
        hash.update(up.as_bytes());
        for weight in a.iter().chain(&b) {
            hash.update(&weight.to_le_bytes());
        }
        let mut parts = Vec::new();
        let mut rest = Values::F32(b.into());
        for outputs in &module.parts {
            let [part, others] = rest.split(outputs * rank);
            parts.push(part);
            rest = others;
        }
        Ok(Self {
            down: Matrix::pack(&[Values::F32(a.into())], inputs, Quantization::None),
            up: Matrix::pack(&parts, rank, Quantization::None),
            inputs,
            rank,
            first_panel: module.first_panel,
        })
    }
}

/// The rows of a batch that use an adapter.
#[derive(Debug)]
pub(super) struct AdaptedRows<'a> {
    pub(super) adapter: &'a Adapter,
    pub(super) rows: Vec<usize>,
}

impl AdaptedRows<'_> {
    /// Adds to the rows' `product` (`[panel][row][LANES]`) of `x` (`[row][inputs]`).
    pub(super) fn add(
        &self,
        compute: &Compute,
        (layer, projection): (usize, Projection),
        x: &[f32],
        product: &mut [f32],
    ) {
        let additions = &self.adapter.layers[layer][projection as usize];
        let Some(inputs) = additions.first().map(|addition| addition.inputs) else {
            return;
        };
        let count = x.len() / inputs;
        let own: Vec<f32> = self
            .rows
            .iter()
            .flat_map(|row| &x[row * inputs..][..inputs])
            .copied()
            .collect();
        let rows = self.rows.len();
        let (mut narrow, mut wide) = (Vec::new(), Vec::new());
        for addition in additions {
            addition.down.apply(compute, &own, &mut narrow);
            let lanes = |row: usize| {
                (0..addition.rank)
                    .map(move |lane| (lane / LANES * rows + row) * LANES + lane % LANES)
            };
            let inner: Vec<f32> = (0..rows).flat_map(lanes).map(|at| narrow[at]).collect();
            addition.up.apply(compute, &inner, &mut wide);
            for (panel, sums) in wide.chunks_exact(rows * LANES).enumerate() {
                let panel = &mut product[(addition.first_panel + panel) * count * LANES..];
                for (&row, sums) in self.rows.iter().zip(sums.chunks_exact(LANES)) {
                    let out = &mut panel[row * LANES..][..LANES];
                    for (out, sum) in out.iter_mut().zip(sums) {
                        *out += sum;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_pattern_that_matches_counts() {
        let config = |patterns: Value| -> Config {
            let text = json!({
                "peft_type": "LORA", "r": 4, "lora_alpha": 8,
                "rank_pattern": {"down_proj": 2}, "alpha_pattern": patterns,
            });
            serde_json::from_value(text).unwrap()
        };
        let scale = |patterns, name| config(patterns).of_module(name).unwrap();
        let (q, own) = (
            "model.layers.1.self_attn.q_proj",
            "layers.1.self_attn.q_proj",
        );
        assert_eq!(scale(json!({}), q), (4, 2.0));
        assert_eq!(scale(json!({"q_proj": 4, own: 6}), q), (4, 1.0));
        assert_eq!(scale(json!({own: 6, "q_proj": 4}), q), (4, 1.5));
        assert_eq!(scale(json!({"self_attn.[kq]_proj": 12.0}), q), (4, 3.0));
        // Only whole parts of a name count.
        assert_eq!(scale(json!({"proj": 4}), q), (4, 2.0));
        assert_eq!(scale(json!({}), "model.layers.0.mlp.down_proj"), (2, 4.0));
        assert!(config(json!({"q_proj": "x"})).of_module(q).is_err());
        assert!(config(json!({"(": 1})).of_module(q).is_err());
    }
}
