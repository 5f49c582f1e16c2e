//! Plugins of decisions, and the policies that they share with the global sections.

use super::cache;
use super::decision::Context;
use super::reader::{Cursor, Section};
use crate::config::{
    HeaderMutation, JailbreakPolicy, OnError, Override, PiiAction, PiiPolicy, PiiTypes, Plugins,
    PromptMode, RequestParams, ResponseAction, ResponseJailbreakPolicy, SystemPrompt, ToolFilter,
    ToolMode, ToolSearch, ToolSelection,
};

/// Names of what `on_error` may say.
pub(super) const ON_ERROR: [(&str, OnError); 2] =
    [("allow", OnError::Allow), ("block", OnError::Block)];

/// Headers that belong to the transport.
const RESERVED_HEADERS: [&str; 5] = [
    "content-length",
    "host",
    "connection",
    "transfer-encoding",
    "x-selected-model",
];

/// Tools to offer when no number is configured.
const TOP_K: usize = 3;
/// Least similarity of a tool when none is configured.
const TOOL_THRESHOLD: f32 = 0.2;

pub(super) fn plugins(section: &Section<'_>, context: &Context<'_, '_>) -> Plugins {
    let defaults = context.defaults;
    let mut plugins = Plugins::default();
    for cursor in section.list("plugins") {
        let Some(plugin) = cursor.section() else {
            continue;
        };
        let kind = plugin.text("type");
        let configuration = plugin.section("configuration");
        let (Some(kind), Some(section)) = (kind, configuration) else {
            continue;
        };
        let enabled = section.boolean("enabled").unwrap_or(true);
        match kind.as_str() {
            "system_prompt" => plugins.system_prompt = system_prompt(&section).filter(|_| enabled),
            "header_mutation" if enabled => plugins.headers = header_mutation(&section),
            "pii" => {
                let default = defaults.pii.on().cloned().unwrap_or_default();
                plugins.pii = or_off(enabled, pii_plugin(&section, &default));
            }
            "jailbreak" => {
                let default = defaults.jailbreak.on().cloned().unwrap_or_default();
                plugins.jailbreak = or_off(enabled, jailbreak_policy(&section, &default));
            }
            "response_jailbreak" => {
                let default = defaults
                    .response_jailbreak
                    .on()
                    .cloned()
                    .unwrap_or_default();
                let policy = response_jailbreak_policy(&section, &default);
                plugins.response_jailbreak = or_off(enabled, policy);
            }
            "fast_response" => {
                plugins.fast_response = section.required("message").filter(|_| enabled);
            }
            "request_params" if enabled => plugins.request_params = Some(request_params(&section)),
            "tools" if enabled => plugins.tools = Some(tool_filter(&section)),
            "tool_selection" if enabled => {
                plugins.tool_selection = tool_selection(&section, context.tools);
            }
            "semantic-cache" | "response_cache" => {
                plugins.cache = cache::plugin(&section, context.cache);
            }
            // The others are known, have been warned of, and do nothing.
            _ => {}
        }
    }
    plugins
}

pub(super) fn or_off<T>(enabled: bool, policy: T) -> Override<T> {
    if enabled {
        Override::On(policy)
    } else {
        Override::Off
    }
}

/// `threshold` and `on_error` of a section.
pub(super) fn jailbreak_policy(
    section: &Section<'_>,
    default: &JailbreakPolicy,
) -> JailbreakPolicy {
    JailbreakPolicy {
        threshold: section.fraction("threshold").unwrap_or(default.threshold),
        on_error: section
            .choice("on_error", &ON_ERROR)
            .unwrap_or(default.on_error),
    }
}

/// `threshold`, `action` and `on_error` of a section.
pub(super) fn response_jailbreak_policy(
    section: &Section<'_>,
    default: &ResponseJailbreakPolicy,
) -> ResponseJailbreakPolicy {
    let actions = [
        ("block", ResponseAction::Block),
        ("header", ResponseAction::Header),
        ("none", ResponseAction::Log),
    ];
    ResponseJailbreakPolicy {
        check: jailbreak_policy(section, &default.check),
        action: section.choice("action", &actions).unwrap_or(default.action),
    }
}

/// A plugin without a list denies every type, as in the original router.
fn pii_plugin(section: &Section<'_>, default: &PiiPolicy) -> PiiPolicy {
    let default = PiiPolicy {
        types: PiiTypes::AllBut(Vec::new()),
        ..default.clone()
    };
    pii_policy(section, &default)
}

/// `threshold`, `action`, `on_error`, `scan_response` and the types of a section.
pub(super) fn pii_policy(section: &Section<'_>, default: &PiiPolicy) -> PiiPolicy {
    let allowed = section.get("pii_types_allowed");
    let denied = section.get("pii_types_denied");
    let types = |cursor: Cursor<'_>| {
        let items = cursor.list();
        let names = items.iter().filter_map(Cursor::text);
        names.map(|name| base_type(&name).to_owned()).collect()
    };
    let types = match (allowed, denied) {
        (Some(allowed), None) => PiiTypes::AllBut(types(allowed)),
        (None, Some(denied)) => PiiTypes::Only(types(denied)),
        (None, None) => default.types.clone(),
        (Some(_), Some(denied)) => {
            denied.error("give either `pii_types_allowed` or `pii_types_denied`");
            default.types.clone()
        }
    };
    let actions = [("block", PiiAction::Block), ("redact", PiiAction::Redact)];
    PiiPolicy {
        types,
        threshold: section.fraction("threshold").unwrap_or(default.threshold),
        action: section.choice("action", &actions).unwrap_or(default.action),
        on_error: section
            .choice("on_error", &ON_ERROR)
            .unwrap_or(default.on_error),
        scan_response: section
            .boolean("scan_response")
            .unwrap_or(default.scan_response),
    }
}

/// `B-US_SSN` means `US_SSN`.
fn base_type(name: &str) -> &str {
    match name.split_once('-') {
        Some((prefix, rest)) if prefix.len() == 1 => rest,
        _ => name,
    }
}

fn system_prompt(section: &Section<'_>) -> Option<SystemPrompt> {
    let modes = [
        ("replace", PromptMode::Replace),
        ("insert", PromptMode::Insert),
    ];
    let mode = section.choice("mode", &modes);
    let text = section.text("system_prompt")?;
    (!text.is_empty()).then(|| SystemPrompt {
        text,
        mode: mode.unwrap_or(PromptMode::Replace),
    })
}

fn header_mutation(section: &Section<'_>) -> HeaderMutation {
    let mut headers = HeaderMutation::default();
    for key in ["add", "update"] {
        for cursor in section.list(key) {
            let Some(pair) = cursor.section() else {
                continue;
            };
            let value = pair.text("value").unwrap_or_default();
            if value.chars().any(char::is_control) {
                pair.at.error("the value must not hold control characters");
            }
            let name = pair.required("name");
            let name = name.and_then(|name| header_name(&pair.at, &name));
            headers.set.extend(name.map(|name| (name, value)));
        }
    }
    for cursor in section.list("delete") {
        let name = cursor.text();
        let name = name.and_then(|name| header_name(&cursor, &name));
        headers.remove.extend(name);
    }
    headers
}

fn header_name(at: &Cursor<'_>, name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let valid = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    if !valid || name.is_empty() {
        at.error(format!("`{name}` is not a header name"));
        return None;
    }
    if RESERVED_HEADERS.contains(&name.as_str()) {
        at.error(format!("header `{name}` belongs to the transport"));
        return None;
    }
    Some(name)
}

fn request_params(section: &Section<'_>) -> RequestParams {
    let limit = |key| {
        section
            .integer(key)
            .and_then(|limit| u64::try_from(limit).ok())
    };
    let blocked = section.texts("blocked_params");
    if let Some(own) = blocked
        .iter()
        .find(|name| ["model", "messages", "prompt"].contains(&name.as_str()))
    {
        let message = format!("a request without `{own}` cannot be answered");
        section.at.error(message);
    }
    RequestParams {
        blocked,
        max_tokens: limit("max_tokens_limit"),
        max_n: limit("max_n"),
    }
}

fn tool_filter(section: &Section<'_>) -> ToolFilter {
    #[derive(Clone, Copy)]
    enum Mode {
        All,
        Filtered,
        None,
    }
    let allow = section.texts("allow_tools");
    let block = section.texts("block_tools");
    let modes = [
        ("passthrough", Mode::All),
        ("filtered", Mode::Filtered),
        ("none", Mode::None),
    ];
    let mode = section.choice("mode", &modes);
    if section.boolean("semantic_selection") == Some(true)
        && let Some(cursor) = section.get("semantic_selection")
    {
        cursor.warn("accepted, and has no effect because `tool_selection` ranks tools");
    }
    ToolFilter {
        mode: match mode.unwrap_or(Mode::All) {
            Mode::All => ToolMode::All,
            Mode::None => ToolMode::None,
            Mode::Filtered => ToolMode::Filtered { allow, block },
        },
        strip_history: section.boolean("strip_tool_history") == Some(true),
    }
}

fn tool_selection(section: &Section<'_>, global: Option<&ToolSearch>) -> Option<ToolSelection> {
    let add = section.choice("mode", &[("add", true), ("filter", false)]);
    if add == Some(false) {
        let keep = section.integer("preserve_count");
        return Some(ToolSelection::Filter {
            threshold: section
                .fraction("relevance_threshold")
                .unwrap_or(TOOL_THRESHOLD),
            keep: keep
                .and_then(|keep| usize::try_from(keep).ok())
                .unwrap_or(0),
        });
    }
    let search = tool_search(section, global, None);
    if search.is_none() {
        section
            .at
            .error("`tools_db_path` is missing, and there is no global tool database");
    }
    search.map(ToolSelection::Add)
}

/// The global tool database, if it is switched on. `threshold` is that of files that name none.
pub(super) fn global_tools(section: &Section<'_>, threshold: Option<f32>) -> Option<ToolSearch> {
    if section.boolean("enabled") != Some(true) {
        return None;
    }
    let search = tool_search(section, None, threshold);
    if search.is_none() {
        section
            .at
            .warn("has no effect because `tools_db_path` names no file with tools");
    }
    search
}

fn tool_search(
    section: &Section<'_>,
    default: Option<&ToolSearch>,
    threshold: Option<f32>,
) -> Option<ToolSearch> {
    let path = section
        .text("tools_db_path")
        .filter(|path| !path.is_empty());
    let path = path.or_else(|| default.map(|search| search.path.clone()))?;
    let top_k = section.integer("top_k");
    let top_k = top_k.and_then(|top_k| usize::try_from(top_k).ok());
    let inherited = default.map(|search| search.threshold).or(threshold);
    Some(ToolSearch {
        path,
        top_k: top_k
            .or(default.map(|search| search.top_k))
            .unwrap_or(TOP_K),
        threshold: section
            .fraction("similarity_threshold")
            .or(inherited)
            .unwrap_or(TOOL_THRESHOLD),
        tools: Vec::new(),
        fallback_to_empty: section
            .boolean("fallback_to_empty")
            .unwrap_or_else(|| default.is_some_and(|search| search.fallback_to_empty)),
    })
}
