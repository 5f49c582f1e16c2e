//! `config.json` of a checkpoint.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Activation, Pool};
use crate::error::{LoadError, read_json};

/// What the layers need to know.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Where it was read from.
    pub(crate) path: PathBuf,
    pub(crate) architecture: Architecture,
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) intermediate: usize,
    pub(crate) activation: Activation,
    pub(crate) eps: f32,
    /// Longest input, special tokens included.
    pub(crate) positions: usize,
    /// Labels of the head, by id.
    pub(crate) labels: Vec<String>,
    pub(crate) classifier_pool: Pool,
    pub(crate) classifier_activation: Activation,
    /// Ids that open and close a text, where the file names them.
    pub(crate) special_ids: Option<(u32, u32)>,
}

/// The families that this crate runs.
#[derive(Debug, Clone)]
pub(crate) enum Architecture {
    /// BERT, RoBERTa, XLM-R.
    Bert {
        /// Position of the first token: RoBERTa counts from its padding id + 1.
        position_offset: usize,
    },
    /// ModernBERT, mmBERT.
    ModernBert(Layout),
}

/// How ModernBERT layers attend.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// Per layer, how far to each side it sees; all if `None`.
    pub(crate) reach: Vec<Option<usize>>,
    pub(crate) global_theta: f64,
    pub(crate) local_theta: f64,
}

#[derive(Deserialize)]
struct Raw {
    model_type: String,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    hidden_act: Option<String>,
    hidden_activation: Option<String>,
    layer_norm_eps: Option<f32>,
    norm_eps: Option<f32>,
    pad_token_id: Option<usize>,
    cls_token_id: Option<u32>,
    sep_token_id: Option<u32>,
    position_embedding_type: Option<String>,
    #[serde(default)]
    id2label: BTreeMap<String, String>,
    classifier_pooling: Option<String>,
    classifier_activation: Option<String>,
    global_attn_every_n_layers: Option<usize>,
    local_attention: Option<usize>,
    global_rope_theta: Option<f64>,
    local_rope_theta: Option<f64>,
    layer_types: Option<Vec<String>>,
    rope_parameters: Option<RopeParameters>,
}

#[derive(Deserialize)]
struct RopeParameters {
    full_attention: Option<Rope>,
    sliding_attention: Option<Rope>,
}

#[derive(Deserialize)]
struct Rope {
    rope_theta: Option<f64>,
}

impl Config {
    /// Reads the configuration of a checkpoint directory.
    pub(crate) fn read(dir: &Path) -> Result<Self, LoadError> {
        let path = dir.join("config.json");
        let raw: Raw = read_json(&path)?;
        if raw.num_attention_heads == 0 || !raw.hidden_size.is_multiple_of(raw.num_attention_heads)
        {
            return Err(LoadError::invalid(
                &path,
                "the heads do not divide the hidden size",
            ));
        }
        let (architecture, positions) = architecture(&raw, &path)?;
        let is_modern = matches!(architecture, Architecture::ModernBert(_));
        let activation = if is_modern {
            raw.hidden_activation
        } else {
            raw.hidden_act
        };
        let eps = if is_modern {
            raw.norm_eps.or(raw.layer_norm_eps)
        } else {
            raw.layer_norm_eps
        };
        let classifier_activation = match raw.classifier_activation.as_deref() {
            Some(name) => Activation::from_name(name, &path)?,
            None if is_modern => Activation::Gelu,
            None => Activation::Tanh,
        };
        Ok(Self {
            activation: Activation::from_name(activation.as_deref().unwrap_or("gelu"), &path)?,
            eps: eps.unwrap_or(if is_modern { 1e-5 } else { 1e-12 }),
            architecture,
            hidden: raw.hidden_size,
            layers: raw.num_hidden_layers,
            heads: raw.num_attention_heads,
            intermediate: raw.intermediate_size,
            positions,
            labels: labels_by_id(&raw.id2label).unwrap_or_default(),
            classifier_pool: match raw.classifier_pooling.as_deref() {
                Some("mean") => Pool::Mean,
                _ => Pool::First,
            },
            classifier_activation,
            special_ids: raw.cls_token_id.zip(raw.sep_token_id),
            path,
        })
    }
}

/// The family, and the longest input.
fn architecture(raw: &Raw, path: &Path) -> Result<(Architecture, usize), LoadError> {
    let positions = raw.max_position_embeddings;
    match raw.model_type.as_str() {
        "bert" | "roberta" | "xlm-roberta" | "camembert" => {
            if !matches!(
                raw.position_embedding_type.as_deref(),
                None | Some("absolute")
            ) {
                return Err(LoadError::unsupported(path, "relative position embeddings"));
            }
            let position_offset = match raw.model_type.as_str() {
                "bert" => 0,
                _ => raw.pad_token_id.unwrap_or(1) + 1,
            };
            let positions = positions.saturating_sub(position_offset);
            Ok((Architecture::Bert { position_offset }, positions))
        }
        "modernbert" => Ok((Architecture::ModernBert(layout(raw)), positions)),
        other => Err(LoadError::unsupported(
            path,
            format_args!("model type {other}"),
        )),
    }
}

fn layout(raw: &Raw) -> Layout {
    let every = raw.global_attn_every_n_layers.unwrap_or(3).max(1);
    let reach = raw.local_attention.unwrap_or(128) / 2;
    let is_local = |layer: usize| match &raw.layer_types {
        Some(types) => types
            .get(layer)
            .is_some_and(|kind| kind == "sliding_attention"),
        None => !layer.is_multiple_of(every),
    };
    let theta = |rope: Option<&Rope>, old: Option<f64>, default: f64| {
        rope.and_then(|rope| rope.rope_theta)
            .or(old)
            .unwrap_or(default)
    };
    let ropes = raw.rope_parameters.as_ref();
    Layout {
        reach: (0..raw.num_hidden_layers)
            .map(|layer| is_local(layer).then_some(reach))
            .collect(),
        global_theta: theta(
            ropes.and_then(|ropes| ropes.full_attention.as_ref()),
            raw.global_rope_theta,
            160_000.0,
        ),
        local_theta: theta(
            ropes.and_then(|ropes| ropes.sliding_attention.as_ref()),
            raw.local_rope_theta,
            10_000.0,
        ),
    }
}

/// Labels in the order of their ids; `None` if an id is missing.
pub(crate) fn labels_by_id(labels: &BTreeMap<String, String>) -> Option<Vec<String>> {
    (0..labels.len())
        .map(|id| labels.get(&id.to_string()).cloned())
        .collect()
}
