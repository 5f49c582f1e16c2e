//! Editing the request for the model that was chosen.

use bytes::Bytes;
use tandem_protocol::header;
use tandem_protocol::openai::body::JsonObject;

use crate::config::{Decision, HeaderMutation, ModelConfig, ModelRef};
use crate::explain::{FirstTokenPrediction, Reasoning};
use crate::plugin::tools::ToolEdit;
use crate::plugin::{reasoning, request_params, system_prompt, tools};
use crate::request::{Endpoint, RouteRequest};
use crate::routing::{Forward, HeaderEdits};

/// Which model serves a request, and why.
pub(crate) enum Choice<'a> {
    /// A decision chose it.
    Decided {
        decision: &'a Decision,
        chosen: &'a ModelRef,
        model: Option<&'a ModelConfig>,
        predictions: Vec<FirstTokenPrediction>,
    },
    /// No decision matched.
    Default {
        name: &'a str,
        model: Option<&'a ModelConfig>,
    },
    /// The client named it.
    Named {
        name: &'a str,
        model: Option<&'a ModelConfig>,
        /// The model itself, or the one that serves the adapter.
        credentials_of: Option<&'a ModelConfig>,
    },
}

/// What editing needs of the prompt.
pub(crate) struct Unrouted {
    pub(crate) body: JsonObject,
    pub(crate) stream: bool,
    /// Whether the body differs from the client's already.
    pub(crate) changed: bool,
    pub(crate) tools: ToolEdit,
}

/// The edited request, and what was done to it.
pub(crate) struct Applied {
    pub(crate) forward: Forward,
    pub(crate) reasoning: Option<Reasoning>,
    pub(crate) system_prompt: bool,
    /// Plugins that changed the request.
    pub(crate) plugins: Vec<&'static str>,
}

impl<'a> Choice<'a> {
    /// The name that headers and logs show.
    fn name(&self) -> &'a str {
        match self {
            Self::Decided { chosen, .. } => chosen.served_name(),
            Self::Default { name, .. } | Self::Named { name, .. } => name,
        }
    }

    /// The name that the upstream knows.
    fn upstream_name(&self) -> &'a str {
        let own = |model: &'a ModelConfig| model.upstream_name.as_deref();
        match self {
            Self::Decided { chosen, model, .. } if chosen.lora.is_none() => model.and_then(own),
            Self::Decided { .. } => None,
            Self::Default { model, .. } | Self::Named { model, .. } => model.and_then(own),
        }
        .unwrap_or_else(|| self.name())
    }

    fn settings(&self) -> Option<&'a ModelConfig> {
        match self {
            Self::Decided { model, .. } | Self::Default { model, .. } => *model,
            Self::Named { credentials_of, .. } => *credentials_of,
        }
    }

    /// Score of the model in its decision.
    pub(crate) fn score(&self) -> f32 {
        match self {
            Self::Decided { chosen, .. } => chosen.weight,
            Self::Default { .. } | Self::Named { .. } => 0.0,
        }
    }
}

/// Edits the request. A model that the client named is changed only in its name, if at all.
pub(crate) fn apply(prompt: Unrouted, request: RouteRequest<'_>, choice: &Choice<'_>) -> Applied {
    let Unrouted {
        mut body,
        stream,
        changed,
        tools: tool_edit,
    } = prompt;
    let mut plugins = Vec::new();
    let mut applied_reasoning = None;
    let mut injected = false;
    if let Choice::Decided {
        decision,
        chosen,
        model,
        ..
    } = choice
        && request.endpoint == Endpoint::Chat
    {
        let family = model.and_then(|model| model.reasoning.as_ref());
        applied_reasoning = Some(reasoning::apply(&mut body, family, chosen));
        let text = decision.plugins.system_prompt.as_ref();
        injected = text.is_some_and(|text| system_prompt::inject(&mut body, text));
    }
    if let ToolEdit::Replace(_) = tool_edit {
        plugins.push("tool_selection");
        tools::edit(&mut body, &tool_edit);
    }
    if let Choice::Decided { decision, .. } = choice {
        let own = &decision.plugins;
        if injected {
            plugins.push("system_prompt");
        }
        if let Some(filter) = &own.tools {
            plugins.push("tools");
            tools::filter(&mut body, filter);
        }
        if let Some(params) = &own.request_params {
            plugins.push("request_params");
            request_params::apply(&mut body, params);
        }
        if own.headers != HeaderMutation::default() {
            plugins.push("header_mutation");
        }
    }
    let name = choice.upstream_name();
    let keeps_body = matches!(choice, Choice::Named { .. }) && name == choice.name() && !changed;
    let body = if keeps_body {
        request.body.clone()
    } else {
        body.set("model", &name);
        Bytes::from(body.to_bytes())
    };
    let response_headers = response_headers(choice, applied_reasoning.as_ref(), injected);
    let settings = choice.settings();
    Applied {
        forward: Forward {
            body,
            body_changed: !keeps_body,
            credential: settings.and_then(|model| model.credential.clone()),
            request_headers: request_headers(choice),
            response_headers,
            model: choice.name().to_owned(),
            endpoint: settings.and_then(|model| model.endpoint.clone()),
            clear_route_cache: false,
            stream,
            scan: None,
            recording: None,
        },
        reasoning: applied_reasoning,
        system_prompt: injected,
        plugins,
    }
}

fn request_headers(choice: &Choice<'_>) -> HeaderEdits {
    let mut edits = HeaderEdits::default();
    let selected = header::SELECTED_MODEL_UPSTREAM.to_owned();
    edits.set.push((selected, choice.name().to_owned()));
    if let Choice::Decided { decision, .. } = choice {
        let mutation = &decision.plugins.headers;
        edits.remove.clone_from(&mutation.remove);
        edits.set.extend(mutation.set.iter().cloned());
    }
    edits
}

/// The headers of the v0.1.0 contract that the choice decides. Reasoning and the decision are named
/// only where the router was asked to choose.
fn response_headers(
    choice: &Choice<'_>,
    reasoning: Option<&Reasoning>,
    injected: bool,
) -> Vec<(&'static str, String)> {
    let mut headers = Vec::with_capacity(7);
    if let Choice::Decided { decision, .. } = choice {
        headers.push((header::SELECTED_DECISION, decision.name.clone()));
    }
    if !matches!(choice, Choice::Named { .. }) {
        let on = reasoning.is_some_and(|reasoning| reasoning.on);
        let value = if on { "on" } else { "off" };
        headers.push((header::SELECTED_REASONING, value.to_owned()));
    }
    headers.push((header::SELECTED_MODEL, choice.name().to_owned()));
    headers.push((header::INJECTED_SYSTEM_PROMPT, injected.to_string()));
    headers
}
