//! Loads checkpoints that have one head each, as the hub has them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::encoder::{
    Config, Dense, EmbeddingHead, Pool, SequenceHead, TokenHead, Trunk, Weights, labels_by_id,
};
use crate::error::{LoadError, read_json};
use crate::model::{DomainHead, JailbreakHead, Model, PiiHead, Reading};
use crate::pii::decode::Scheme;
use crate::tokenize::TextTokenizer;
use crate::window::WindowRule;

/// Directories of checkpoints, one per question; what is `None` is not answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoints {
    /// Sequence classification over domains.
    pub domain: Option<PathBuf>,
    /// Sequence classification of jailbreaks.
    pub jailbreak: Option<PathBuf>,
    /// Token classification of personal data.
    pub pii: Option<PathBuf>,
    /// Sentence embedding.
    pub embedding: Option<PathBuf>,
}

/// Tokens that a window takes at most, whatever the network could: the time of attention grows
/// with their square.
const WINDOW: usize = 512;

/// Loads every checkpoint that is named.
pub(crate) fn load(checkpoints: &Checkpoints) -> Result<Vec<Model>, LoadError> {
    let mut models = Vec::new();
    if let Some(dir) = &checkpoints.domain {
        let mut model = Parts::open(dir)?;
        let labels = model.labels("category_mapping.json")?;
        let head = model.sequence_head(labels.len())?;
        models.push(model.finish(|model| {
            let labels = labels
                .iter()
                .map(|label| Arc::from(label.as_str()))
                .collect();
            model.domain = Some(DomainHead { head, labels });
        })?);
    }
    if let Some(dir) = &checkpoints.jailbreak {
        let mut model = Parts::open(dir)?;
        let labels = model.labels("jailbreak_type_mapping.json")?;
        let head = model.sequence_head(labels.len())?;
        let reading = reading(&labels);
        models.push(model.finish(|model| {
            model.jailbreak = Some(JailbreakHead { head, reading });
        })?);
    }
    if let Some(dir) = &checkpoints.pii {
        let mut model = Parts::open(dir)?;
        let labels = model.labels("pii_type_mapping.json")?;
        let head = model.token_head(labels.len())?;
        let scheme = Scheme::from_labels(&labels);
        models.push(model.finish(|model| model.pii = Some(PiiHead { head, scheme }))?);
    }
    if let Some(dir) = &checkpoints.embedding {
        let pool = pooling(dir)?;
        let head = EmbeddingHead {
            pool,
            projection: None,
        };
        models.push(Parts::open(dir)?.finish(|model| model.embedding = Some(head))?);
    }
    Ok(models)
}

/// A checkpoint that is being loaded.
struct Parts<'a> {
    dir: &'a Path,
    config: Config,
    weights: Weights,
}

impl<'a> Parts<'a> {
    fn open(dir: &'a Path) -> Result<Self, LoadError> {
        Ok(Self {
            dir,
            config: Config::read(dir)?,
            weights: Weights::open(dir)?,
        })
    }

    /// Labels by id: from the upstream mapping file if there is one, else from `config.json`.
    fn labels(&mut self, mapping: &str) -> Result<Vec<String>, LoadError> {
        let path = self.dir.join(mapping);
        let labels = if path.exists() {
            let mapping: Mapping = read_json(&path)?;
            let Some(labels) = mapping.by_id().and_then(labels_by_id) else {
                return Err(LoadError::invalid(&path, "the ids are not 0, 1, 2, ..."));
            };
            labels
        } else {
            std::mem::take(&mut self.config.labels)
        };
        if labels.is_empty() {
            return Err(LoadError::invalid(&self.config.path, "no id2label"));
        }
        Ok(labels)
    }

    fn sequence_head(&self, labels: usize) -> Result<SequenceHead, LoadError> {
        let Config { hidden, .. } = self.config;
        let weights = &self.weights;
        if weights.has("classifier.out_proj.weight") {
            return Ok(SequenceHead {
                pool: Pool::First,
                dense: Some(self.dense("classifier.dense")?),
                out: weights.linear("classifier.out_proj", labels, hidden)?,
            });
        }
        let poolers = ["bert.pooler.dense", "roberta.pooler.dense", "pooler.dense"];
        let pooler = poolers
            .into_iter()
            .find(|name| weights.has(&format!("{name}.weight")));
        let (pool, dense) = if weights.has("head.dense.weight") {
            let dense = self.prediction_head()?;
            (self.config.classifier_pool.clone(), Some(dense))
        } else {
            (
                Pool::First,
                pooler.map(|name| self.dense(name)).transpose()?,
            )
        };
        Ok(SequenceHead {
            pool,
            dense,
            out: weights.linear("classifier", labels, hidden)?,
        })
    }

    fn token_head(&self, labels: usize) -> Result<TokenHead, LoadError> {
        let has_head = self.weights.has("head.dense.weight");
        Ok(TokenHead {
            dense: has_head.then(|| self.prediction_head()).transpose()?,
            out: self
                .weights
                .linear("classifier", labels, self.config.hidden)?,
        })
    }

    /// The dense layer of ModernBERT heads.
    fn prediction_head(&self) -> Result<Dense, LoadError> {
        let Config { hidden, eps, .. } = self.config;
        let mut dense = self.dense("head.dense")?;
        dense.norm = Some(self.weights.norm("head.norm", hidden, eps)?);
        Ok(dense)
    }

    fn dense(&self, name: &str) -> Result<Dense, LoadError> {
        let Config { hidden, .. } = self.config;
        Ok(Dense {
            linear: self.weights.linear(name, hidden, hidden)?,
            activation: self.config.classifier_activation,
            norm: None,
        })
    }

    /// Loads the rest and lets the caller put its head in.
    fn finish(self, put: impl FnOnce(&mut Model)) -> Result<Model, LoadError> {
        let size = self.config.positions.min(WINDOW);
        let Some(window) = WindowRule::new(size, (size * 3 / 4).saturating_sub(2)) else {
            let reason = "max_position_embeddings is too small";
            return Err(LoadError::invalid(&self.config.path, reason));
        };
        let mut model = Model {
            tokenizer: TextTokenizer::load(self.dir, None)?,
            window,
            trunk: Trunk::load(&self.config, &self.weights, size)?,
            hidden: self.config.hidden,
            domain: None,
            jailbreak: None,
            pii: None,
            embedding: None,
            ngram: None,
        };
        put(&mut model);
        Ok(model)
    }
}

/// The mapping files of the semantic router. Ids are decimal strings.
#[derive(Deserialize)]
struct Mapping {
    idx_to_category: Option<BTreeMap<String, String>>,
    idx_to_label: Option<BTreeMap<String, String>>,
    id2label: Option<BTreeMap<String, String>>,
}

impl Mapping {
    fn by_id(&self) -> Option<&BTreeMap<String, String>> {
        let labels = self.idx_to_category.as_ref().or(self.idx_to_label.as_ref());
        labels.or(self.id2label.as_ref())
    }
}

fn reading(labels: &[String]) -> Reading {
    if labels.len() == 1 {
        return Reading::Sigmoid;
    }
    let named = |label: &String| {
        let label = label.to_ascii_lowercase();
        matches!(
            label.as_str(),
            "benign" | "safe" | "legit" | "normal" | "label_0" | "0"
        )
    };
    let mut benign: Vec<bool> = labels.iter().map(named).collect();
    if !benign.contains(&true) {
        benign[0] = true;
    }
    Reading::Softmax { benign }
}

/// Pooling as sentence-transformers note it beside the checkpoint; the mean if they do not.
fn pooling(dir: &Path) -> Result<Pool, LoadError> {
    #[derive(Deserialize)]
    struct Pooling {
        #[serde(default)]
        pooling_mode_cls_token: bool,
    }
    let path = dir.join("1_Pooling/config.json");
    if path.exists() && read_json::<Pooling>(&path)?.pooling_mode_cls_token {
        return Ok(Pool::First);
    }
    Ok(Pool::Mean)
}

#[cfg(test)]
mod tests;
