//! What the router is told to do. Both file layouts (the flat one of v0.1.0 and `version: v0.3`)
//! become this one model; everything in it has been checked.

mod backend;
mod cache;
mod cache_store;
mod clients;
mod decision;
mod load;
mod migrate;
mod model;
mod plugin;
mod policy;
mod read;
mod shape;
mod signal;
mod tracing;
mod yaml;

use std::time::Duration;

pub use backend::{Address, Backend, Balance, Ejection, HealthCheck, Reliability, RetryOn};
pub use cache::{CacheConfig, CacheLimits, CacheMode, CachePolicy, CacheScope, Eviction};
pub use cache_store::{CacheStore, Consistency, StoreFile, StoreKind, StoreServer, StoreTls};
pub use clients::{Access, ApiClient, Secret, UsageLimits};
pub use decision::{
    Decision, FactorWeights, Fallback, LatencyAware, Limits, LoadAware, ModelRef, MultiFactor,
    Rule, Selection, SignalRef,
};
pub use load::{ConfigError, Loaded};
pub use migrate::{Migrated, migrate};
pub use model::{
    Credential, ExternalModel, ModelConfig, Pricing, ReasoningFamily, ReasoningSwitch,
};
pub use plugin::{
    HeaderMutation, Override, Plugins, PromptMode, RequestParams, SystemPrompt, ToolDefinition,
    ToolFilter, ToolMode, ToolSearch, ToolSelection,
};
pub use policy::{
    JailbreakPolicy, OnError, PiiAction, PiiPolicy, PiiTypes, ResponseAction,
    ResponseJailbreakPolicy, SECRET_PII, SecurityPolicy,
};
pub use read::Problem;
pub use shape::json_schema;
pub(crate) use signal::normalise_label;
pub use signal::{
    Aggregation, AuthzTest, ComplexityTest, ContextTest, ConversationTest, DOMAINS, Difficulty,
    EmbeddingTest, FactCheckTest, Family, Feature, Feedback, FeedbackTest, KeywordMethod,
    KeywordOperator, KeywordTest, LanguageTest, Measure, PreferenceTest, Range, ReaskTest,
    SignalRule, SignalTest, StructureTest, Subject, SubjectKind, TurnKind,
};
pub use tracing::{TraceExporter, Tracing};

/// A checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct RouterConfig {
    /// Model names that ask the router to choose; `auto` is always one.
    pub auto_models: Vec<String>,
    /// Model when no decision matches.
    pub default_model: Option<String>,
    /// Models, in file order.
    pub models: Vec<ModelConfig>,
    /// Whether `/v1/models` names the models beside the auto names.
    pub list_models: bool,
    /// What happens to a request for a model that is not configured.
    pub unknown_models: UnknownModels,
    /// Whether Envoy must choose its route again after the change.
    pub clear_route_cache: bool,
    /// How the winning decision is found.
    pub strategy: Strategy,
    /// Signal rules, in file order within a family.
    pub signals: Vec<SignalRule>,
    /// Decisions, in file order.
    pub decisions: Vec<Decision>,
    /// Policies for every request.
    pub security: SecurityPolicy,
    /// Longest wait for all signals of a request.
    pub deadline: Duration,
    /// Language models that signals ask.
    pub external_models: Vec<ExternalModel>,
    /// Headers that say who the client is.
    pub identity: Identity,
    /// Choosing tools for requests that leave it to the router.
    pub tools: Option<ToolSearch>,
    /// Who may use a gateway.
    pub access: Access,
    /// How failing servers are treated that belong to no model of their own.
    pub reliability: Reliability,
    /// Giving answers again.
    pub cache: CacheConfig,
    /// Where the spans of requests go; nowhere if there is none. Read once, when a process starts.
    pub tracing: Option<Tracing>,
}

/// Headers that say who the client is. A proxy that authenticates must set them and take out what
/// clients send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Lower-case name of the header with the user's id.
    pub user_header: String,
    /// Lower-case name of the header with the user's groups, separated by commas.
    pub groups_header: String,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            user_header: "x-authz-user-id".to_owned(),
            groups_header: "x-authz-user-groups".to_owned(),
        }
    }
}

/// What happens to a request for a model that is not configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownModels {
    /// 404 that names the models.
    Reject,
    /// The upstream decides.
    Forward,
}

/// How the winning decision is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Highest priority, then confidence, then name.
    Priority,
    /// Highest confidence, then priority, then name.
    Confidence,
}

impl RouterConfig {
    /// Adds the built-in security policies where the file says nothing: jailbreaks, and personal
    /// data that is a secret.
    #[must_use]
    pub fn with_default_security(mut self) -> Self {
        self.security.complete();
        self
    }

    /// A model by name.
    pub fn model(&self, name: &str) -> Option<&ModelConfig> {
        self.models.iter().find(|model| model.name == name)
    }

    /// The models that a choice by load is made of: their servers have to be asked.
    pub fn load_aware_models(&self) -> impl Iterator<Item = &ModelConfig> {
        let decisions = self.decisions.iter();
        let names: Vec<&str> = decisions
            .filter(|decision| decision.load_aware.is_some())
            .flat_map(|decision| decision.models.iter().map(|model| model.model.as_str()))
            .collect();
        let models = self.models.iter();
        models.filter(move |model| names.contains(&model.name.as_str()))
    }

    /// Whether `name` asks the router to choose.
    pub fn is_auto(&self, name: &str) -> bool {
        name == "auto" || self.auto_models.iter().any(|auto| auto == name)
    }
}

#[cfg(test)]
mod tests;
