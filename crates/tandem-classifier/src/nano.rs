//! Loads `tandem-nano-encoder`: one ModernBERT trunk with four heads and an n-gram table.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::encoder::{
    Activation, Config, Dense, EmbeddingHead, Pool, SequenceHead, TokenHead, Trunk, Weights,
};
use crate::error::{LoadError, read_json};
use crate::model::{DomainHead, JailbreakHead, Model, PiiHead, Reading};
use crate::ngram::{Ngram, NgramConfig};
use crate::pii::decode::Scheme;
use crate::service::Thresholds;
use crate::tokenize::TextTokenizer;
use crate::window::WindowRule;

#[derive(Deserialize)]
struct File {
    tandem: Tandem,
}

#[derive(Deserialize)]
struct Tandem {
    format: u32,
    window: WindowSize,
    embedding: Embedding,
    domain: Labels,
    jailbreak: Jailbreak,
    pii: Pii,
    ngram: NgramConfig,
}

#[derive(Deserialize)]
struct WindowSize {
    size: usize,
    stride: usize,
}

#[derive(Deserialize)]
struct Embedding {
    dim: usize,
    cache_threshold: f32,
}

#[derive(Deserialize)]
struct Labels {
    labels: Vec<String>,
}

#[derive(Deserialize)]
struct Jailbreak {
    threshold: f32,
}

#[derive(Deserialize)]
struct Pii {
    labels: Vec<String>,
    bias: f32,
    thresholds: serde_json::Map<String, Value>,
    trim: String,
}

/// Whether a directory holds a nano encoder rather than a checkpoint with one head.
pub(crate) fn is_nano(dir: &Path) -> Result<bool, LoadError> {
    let config: serde_json::Map<String, Value> = read_json(&dir.join("config.json"))?;
    Ok(config.contains_key("tandem"))
}

/// Loads the network and the operating points that its model card recommends.
pub(crate) fn load(dir: &Path) -> Result<(Model, Thresholds), LoadError> {
    let config = Config::read(dir)?;
    let File { tandem } = read_json(&config.path)?;
    if tandem.format != 1 {
        let reason = format_args!("tandem.format is {}, not 1", tandem.format);
        return Err(LoadError::unsupported(&config.path, reason));
    }
    let size = tandem.window.size.min(config.positions);
    let Some(window) = WindowRule::new(size, tandem.window.stride) else {
        return Err(LoadError::invalid(
            &config.path,
            "tandem.window is not a window",
        ));
    };
    let weights = Weights::open(dir)?;
    let hidden = config.hidden;
    let domain = sequence_head(&weights, "domain", hidden, tandem.domain.labels.len())?;
    let jailbreak = sequence_head(&weights, "jailbreak", hidden, 1)?;
    let scheme = scheme(&tandem.pii, &config.path)?;
    let embedding = weights.linear("heads.embedding", tandem.embedding.dim, hidden)?;
    let thresholds = Thresholds {
        jailbreak: tandem.jailbreak.threshold,
        cache: tandem.embedding.cache_threshold,
    };
    let model = Model {
        tokenizer: TextTokenizer::load(dir, config.special_ids)?,
        window,
        trunk: Trunk::load(&config, &weights, size)?,
        hidden,
        domain: Some(DomainHead {
            head: domain,
            labels: tandem
                .domain
                .labels
                .iter()
                .map(|label| label.as_str().into())
                .collect(),
        }),
        jailbreak: Some(JailbreakHead {
            head: jailbreak,
            reading: Reading::Sigmoid,
        }),
        pii: Some(PiiHead {
            head: TokenHead {
                dense: None,
                out: weights.linear("heads.pii", tandem.pii.labels.len(), hidden)?,
            },
            scheme,
        }),
        embedding: Some(EmbeddingHead {
            pool: Pool::Mean,
            projection: Some(embedding),
        }),
        ngram: Some(Ngram::load(tandem.ngram, &weights, &config.path)?),
    };
    Ok((model, thresholds))
}

fn sequence_head(
    weights: &Weights,
    name: &str,
    hidden: usize,
    labels: usize,
) -> Result<SequenceHead, LoadError> {
    let query = weights.vector(&format!("heads.{name}.query"), hidden)?;
    Ok(SequenceHead {
        pool: Pool::Query(query),
        dense: Some(Dense {
            linear: weights.linear(&format!("heads.{name}.dense"), hidden, hidden)?,
            activation: Activation::Gelu,
            norm: None,
        }),
        out: weights.linear(&format!("heads.{name}.out"), labels, hidden)?,
    })
}

fn scheme(pii: &Pii, path: &Path) -> Result<Scheme, LoadError> {
    let mut scheme = Scheme::from_labels(&pii.labels);
    scheme.bias = pii.bias;
    scheme.trim.clone_from(&pii.trim);
    for kind in &mut scheme.kinds {
        if let Some(threshold) = pii.thresholds.get(&*kind.label) {
            let Some(threshold) = threshold.as_f64() else {
                let reason = format_args!("threshold of {} is no number", kind.label);
                return Err(LoadError::invalid(path, reason));
            };
            #[expect(clippy::cast_possible_truncation, reason = "a probability in f32")]
            let threshold = threshold as f32;
            kind.threshold = threshold;
        }
    }
    Ok(scheme)
}

#[cfg(test)]
mod tests;
