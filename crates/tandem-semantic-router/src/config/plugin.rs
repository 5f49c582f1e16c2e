//! What a decision does to a request.

use serde_json::value::RawValue;

use super::cache::CachePolicy;
use super::policy::{JailbreakPolicy, PiiPolicy, ResponseJailbreakPolicy};

/// What a decision does to a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plugins {
    /// Text for the model.
    pub system_prompt: Option<SystemPrompt>,
    /// Changes of the request's headers.
    pub headers: HeaderMutation,
    /// Jailbreak check instead of the global one.
    pub jailbreak: Override<JailbreakPolicy>,
    /// Personal data check instead of the global one.
    pub pii: Override<PiiPolicy>,
    /// Jailbreak check of answers instead of the global one.
    pub response_jailbreak: Override<ResponseJailbreakPolicy>,
    /// Answer without asking a model.
    pub fast_response: Option<String>,
    /// Limits on the request's parameters.
    pub request_params: Option<RequestParams>,
    /// Which of its own tools a request keeps.
    pub tools: Option<ToolFilter>,
    /// Tools chosen by what the request is about.
    pub tool_selection: Option<ToolSelection>,
    /// Caching instead of the global one.
    pub cache: Override<CachePolicy>,
}

/// A file's word on a policy that is inherited otherwise: a decision's from the global one, which in
/// turn is the built-in one.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Override<T> {
    /// The inherited policy applies.
    #[default]
    Inherit,
    /// Nothing applies.
    Off,
    /// This applies.
    On(T),
}

impl<T> Override<T> {
    /// The policy that applies.
    pub fn or<'a>(&'a self, inherited: Option<&'a T>) -> Option<&'a T> {
        match self {
            Self::Inherit => inherited,
            Self::Off => None,
            Self::On(policy) => Some(policy),
        }
    }

    /// The policy that applies where nothing is inherited.
    pub fn on(&self) -> Option<&T> {
        self.or(None)
    }

    /// Puts a policy where nothing is said.
    pub(super) fn or_insert(&mut self, policy: T) {
        if matches!(self, Self::Inherit) {
            *self = Self::On(policy);
        }
    }
}

/// Text for the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemPrompt {
    /// The text.
    pub text: String,
    /// What happens to the client's own.
    pub mode: PromptMode,
}

/// What happens to the client's own system prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptMode {
    /// It is replaced.
    Replace,
    /// Ours goes before it.
    Insert,
}

/// Changes of the request's headers on their way to the upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderMutation {
    /// Set to a value; names in lower case.
    pub set: Vec<(String, String)>,
    /// Taken out; names in lower case.
    pub remove: Vec<String>,
}

/// Limits on the request's parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestParams {
    /// Members that are taken out.
    pub blocked: Vec<String>,
    /// Most tokens that a client may ask for.
    pub max_tokens: Option<u64>,
    /// Most choices that a client may ask for.
    pub max_n: Option<u64>,
}

/// Which of its own tools a request keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolFilter {
    /// Whether it keeps any.
    pub mode: ToolMode,
    /// Whether earlier tool calls and results are taken out, too.
    pub strip_history: bool,
}

/// Whether a request keeps its tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolMode {
    /// All of them.
    All,
    /// None.
    None,
    /// Those that are allowed and not blocked.
    Filtered {
        /// Names that are kept; all if empty.
        allow: Vec<String>,
        /// Names that are taken out.
        block: Vec<String>,
    },
}

/// Tools chosen by what the request is about.
#[derive(Debug, Clone, PartialEq)]
pub enum ToolSelection {
    /// Tools of the database are offered to the model instead of the request's own.
    Add(ToolSearch),
    /// The request's own tools are kept if they are about the question.
    Filter {
        /// Least cosine similarity of question and tool.
        threshold: f32,
        /// How many are kept even if they are not: the best of them.
        keep: usize,
    },
}

/// How tools are looked up.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSearch {
    /// Most tools to offer.
    pub top_k: usize,
    /// Least cosine similarity of question and tool.
    pub threshold: f32,
    /// File with the tools.
    pub path: String,
    /// The tools; empty until they are read from the file.
    pub tools: Vec<ToolDefinition>,
    /// Whether a request without a fitting tool loses its own.
    pub fallback_to_empty: bool,
}

/// A tool of the database.
#[derive(Debug, Clone)]
pub struct ToolDefinition {
    /// What it is good for: this text is compared with the question.
    pub description: String,
    /// The tool in the form of the `OpenAI` API.
    pub tool: Box<RawValue>,
}

impl PartialEq for ToolDefinition {
    fn eq(&self, other: &Self) -> bool {
        self.description == other.description && self.tool.get() == other.tool.get()
    }
}
