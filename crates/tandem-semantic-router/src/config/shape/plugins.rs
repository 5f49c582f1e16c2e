//! Plugins of decisions.

use super::cache::CACHE_POLICY;
use super::parts::{NO_ANSWER_CHECKS, ON_ERROR};
use super::{Field, PluginKind, Shape, field};

pub(super) const ENVELOPE: &[Field] = &[
    field("type", Shape::Text, "kind of plugin").required(),
    field("configuration", Shape::Any, "its settings"),
];

pub(super) const JAILBREAK: &[Field] = &[
    field("enabled", Shape::Bool, "off means that nothing is checked"),
    field("threshold", Shape::FRACTION, "least probability"),
    field("on_error", ON_ERROR, "what a failed classifier means"),
];

pub(super) const PII: &[Field] = &[
    field("enabled", Shape::Bool, "off means that nothing is checked"),
    field("threshold", Shape::FRACTION, "least probability"),
    field(
        "pii_types_allowed",
        Shape::TEXTS,
        "every type but these is denied",
    ),
    field(
        "pii_types_denied",
        Shape::TEXTS,
        "only these types are denied",
    ),
    field(
        "action",
        Shape::Choice(&["block", "redact"]),
        "what happens to denied data",
    ),
    field("on_error", ON_ERROR, "what a failed classifier means"),
    field(
        "scan_response",
        Shape::Bool,
        "whether answers are looked at, too",
    ),
];

pub(super) const RESPONSE_JAILBREAK: &[Field] = &[
    field("enabled", Shape::Bool, "off means that nothing is checked"),
    field("threshold", Shape::FRACTION, "least probability"),
    field(
        "action",
        Shape::Choice(&["block", "header", "none"]),
        "what happens to an answer of that kind",
    ),
    field("on_error", ON_ERROR, "what a failed classifier means"),
];

const CACHE: &[Field] = &[
    field("enabled", Shape::Bool, "off means that a model is asked"),
    CACHE_POLICY[0],
    CACHE_POLICY[1],
    CACHE_POLICY[2],
    CACHE_POLICY[3],
    CACHE_POLICY[4],
    field("request_controls", Shape::Any, "").unused("clients may always ask for a fresh answer"),
    field("personalized", Shape::Any, "").unused("there is no memory of users"),
    field("revision", Shape::Any, "").unused("answers are found by everything that led to them"),
];

const HEADERS: Shape = Shape::List(&Shape::Object(&[
    field("name", Shape::Text, "name of the header").required(),
    field("value", Shape::Text, "its value"),
]));

const fn used(name: &'static str, fields: &'static [Field]) -> PluginKind {
    PluginKind {
        name,
        configuration: Shape::Object(fields),
        unused: None,
    }
}

const fn unused(name: &'static str, configuration: Shape, reason: &'static str) -> PluginKind {
    PluginKind {
        name,
        configuration,
        unused: Some(reason),
    }
}

/// Every plugin of both layouts.
pub(super) const KINDS: &[PluginKind] = &[
    used(
        "system_prompt",
        &[
            field("enabled", Shape::Bool, "off means that nothing is added"),
            field("system_prompt", Shape::Text, "text for the model"),
            field(
                "mode",
                Shape::Choice(&["replace", "insert"]),
                "what happens to the client's own",
            ),
        ],
    ),
    used(
        "header_mutation",
        &[
            field(
                "enabled",
                Shape::Bool,
                "off means that no header is changed",
            ),
            field("add", HEADERS, "headers to set"),
            field("update", HEADERS, "headers to set"),
            field("delete", Shape::TEXTS, "headers to take out"),
        ],
    ),
    used("pii", PII),
    used("jailbreak", JAILBREAK),
    used("response_jailbreak", RESPONSE_JAILBREAK),
    used(
        "fast_response",
        &[
            field("enabled", Shape::Bool, "off means that a model is asked"),
            field("message", Shape::Text, "the whole answer").required(),
        ],
    ),
    used(
        "request_params",
        &[
            field("enabled", Shape::Bool, "off means that nothing is changed"),
            field("blocked_params", Shape::TEXTS, "members to take out"),
            field(
                "max_tokens_limit",
                Shape::POSITIVE,
                "most tokens to generate",
            ),
            field("max_n", Shape::POSITIVE, "most choices"),
            field("strip_unknown", Shape::Bool, "")
                .unused("members that the router does not know are the model's business"),
        ],
    ),
    used(
        "tools",
        &[
            field("enabled", Shape::Bool, "off means that nothing is changed"),
            field(
                "mode",
                Shape::Choice(&["passthrough", "filtered", "none"]),
                "which of its tools the request keeps",
            ),
            field("allow_tools", Shape::TEXTS, "names that are kept"),
            field("block_tools", Shape::TEXTS, "names that are taken out"),
            field(
                "strip_tool_history",
                Shape::Bool,
                "take out earlier calls and results",
            ),
            field(
                "semantic_selection",
                Shape::Bool,
                "whether `global.integrations.tools` applies",
            ),
        ],
    ),
    used(
        "tool_selection",
        &[
            field("enabled", Shape::Bool, "off means that nothing is changed"),
            field(
                "mode",
                Shape::Choice(&["add", "filter"]),
                "whose tools are ranked",
            ),
            field("top_k", Shape::Whole(1, 1000), "most tools to offer (add)"),
            field(
                "similarity_threshold",
                Shape::FRACTION,
                "least cosine similarity (add)",
            ),
            field(
                "tools_db_path",
                Shape::Text,
                "JSON file with the tools (add)",
            ),
            field(
                "fallback_to_empty",
                Shape::Bool,
                "no fitting tool means no tools (add)",
            ),
            field(
                "relevance_threshold",
                Shape::FRACTION,
                "least cosine similarity (filter)",
            ),
            field(
                "preserve_count",
                Shape::COUNT,
                "how many are kept anyhow (filter)",
            ),
            field("strategy", Shape::Text, "").unused("tools are ranked by similarity alone"),
            field("advanced_filtering", Shape::Any, "")
                .unused("tools are ranked by similarity alone"),
        ],
    ),
    used("semantic-cache", CACHE),
    used("response_cache", CACHE),
    unused(
        "hallucination",
        Shape::Object(&[
            field("enabled", Shape::Bool, "whether answers are checked"),
            field("use_nli", Shape::Bool, "whether findings are explained"),
            field(
                "hallucination_action",
                ANSWER_ACTIONS,
                "what a finding leads to",
            ),
            field(
                "unverified_factual_action",
                ANSWER_ACTIONS,
                "what a missing source leads to",
            ),
            field(
                "include_hallucination_details",
                Shape::Bool,
                "whether findings are shown",
            ),
        ]),
        NO_ANSWER_CHECKS,
    ),
    unused("router_replay", Shape::Any, "requests are not recorded"),
    unused("memory", Shape::Any, "there is no memory of users"),
    unused("rag", Shape::Any, "no documents are retrieved"),
    unused("image_gen", Shape::Any, "images are not generated"),
    unused(
        "context_compression",
        Shape::Any,
        "prompts are not shortened",
    ),
    unused(
        "content_safety",
        Shape::Any,
        "the jailbreak check is the only content check",
    ),
    unused("modality", Shape::Any, "only text is routed"),
    unused("personalization", Shape::Any, "there is no memory of users"),
];

const ANSWER_ACTIONS: Shape = Shape::Choice(&["header", "body", "none"]);
