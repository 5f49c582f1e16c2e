//! `GET /v1/models`.

use serde::Serialize;

use crate::config::RouterConfig;

/// The answer of `GET /v1/models`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedModels {
    object: &'static str,
    /// The models, auto names first.
    pub data: Vec<ListedModel>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedModel {
    /// Name to put into requests.
    pub id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'static str>,
}

/// The names that `config` offers, as of `created` (Unix seconds).
pub(crate) fn list(config: &RouterConfig, created: u64) -> ListedModels {
    let auto = config.auto_models.iter().map(|name| ListedModel {
        id: name.clone(),
        object: "model",
        created,
        owned_by: "vllm-semantic-router",
        description: Some("Intelligent Router for Mixture-of-Models"),
    });
    let models = config.models.iter().filter(|_| config.list_models);
    let models = models.map(|model| ListedModel {
        id: model.name.clone(),
        object: "model",
        created,
        owned_by: "upstream-endpoint",
        description: None,
    });
    ListedModels {
        object: "list",
        data: auto.chain(models).collect(),
    }
}
