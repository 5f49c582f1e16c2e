//! Parts that both layouts share.

use super::{Field, Shape, field, plugins};

pub(super) const NO_RESPONSES: &str = "the Responses API is not served";
pub(super) const NO_ANSWER_CHECKS: &str = "answers are not checked for hallucinations";
pub(super) const OWN_MODEL: &str = "the encoder inside the router answers this";
pub(super) const ON_CPU: &str = "the encoder runs on the CPU";
pub(super) const COMMAND_LINE: &str = "it is set on the command line";
pub(super) const NO_KUBERNETES: &str = "the configuration is read from a file";
pub(super) const UNREAD: &str = "the original router does not read it either";

pub(super) const EFFORTS: Shape = Shape::Choice(&["minimal", "low", "medium", "high"]);
pub(super) const STRATEGIES: Shape = Shape::Choice(&["priority", "confidence"]);
pub(super) const ON_ERROR: Shape = Shape::Choice(&["allow", "block"]);

/// A note for people needs no warning: that it does nothing is what one expects.
pub(super) const fn note(key: &'static str) -> Field {
    field(key, Shape::Text, "note for people")
}

pub(super) const FAMILIES: Shape = Shape::Map(&Shape::Object(&[
    field(
        "type",
        Shape::Choice(&[
            "chat_template_kwargs",
            "reasoning_effort",
            "top_level_reasoning_effort",
        ]),
        "which member of the request switches reasoning",
    )
    .required(),
    field("parameter", Shape::Text, "name of the switch"),
]));

pub(super) const LORAS: Shape = Shape::List(&Shape::Object(&[
    field("name", Shape::Text, "name of the adapter").required(),
    note("description"),
]));

pub(super) const PRICING: Shape = Shape::Object(&[
    field("currency", Shape::Text, "currency code, USD by default"),
    field(
        "prompt_per_1m",
        Shape::AMOUNT,
        "price of a million prompt tokens",
    ),
    field(
        "completion_per_1m",
        Shape::AMOUNT,
        "price of a million generated tokens",
    ),
    field(
        "cached_input_per_1m",
        Shape::AMOUNT,
        "price of cached prompt tokens",
    )
    .unused("cached tokens are not priced apart"),
    field(
        "cache_write_per_1m",
        Shape::AMOUNT,
        "price of writing to a cache",
    )
    .unused("cached tokens are not priced apart"),
]);

pub(super) const SUBJECTS: Shape = Shape::List(&Shape::Object(&[
    field("kind", Shape::Choice(&["User", "Group"]), "user or group").required(),
    field("name", Shape::Text, "name in the identity headers").required(),
]));

pub(super) const PREDICATE: Shape = Shape::Object(&[
    field("gt", Shape::Number(f64::MIN, f64::MAX), "greater than"),
    field("gte", Shape::Number(f64::MIN, f64::MAX), "greater or equal"),
    field("lt", Shape::Number(f64::MIN, f64::MAX), "less than"),
    field("lte", Shape::Number(f64::MIN, f64::MAX), "less or equal"),
]);

/// A condition, or conditions under an operator.
pub(super) static RULE: Shape = Shape::Object(&[
    field(
        "operator",
        Shape::Choice(&["AND", "OR", "NOT"]),
        "how the conditions combine",
    ),
    field(
        "conditions",
        Shape::List(&RULE_REFERENCE),
        "conditions, or rules of their own",
    ),
    field("type", Shape::Text, "family of the signal"),
    field("name", Shape::Text, "name of the signal rule"),
    field(
        "rule_name",
        Shape::Text,
        "wrong key of old files; never had an effect",
    ),
    field("label", Shape::Text, "label of a classifier")
        .unused("generic classifiers are not supported"),
    field("predicate", PREDICATE, "bounds of a classifier's score")
        .unused("generic classifiers are not supported"),
    field(
        "on_error",
        Shape::Choice(&["allow", "block", "no_match", "match"]),
        "what it means that the signal cannot be had",
    ),
]);
pub(super) static RULE_REFERENCE: Shape = Shape::Named("rule", &RULE);

const MODEL_REF: Shape = Shape::Object(&[
    field("model", Shape::Text, "name of a model").required(),
    field("lora_name", Shape::Text, "adapter to use"),
    field("weight", Shape::AMOUNT, "score or share"),
    field(
        "use_reasoning",
        Shape::Bool,
        "whether the model should reason",
    ),
    note("reasoning_description"),
    field("reasoning_effort", EFFORTS, "how hard it should reason"),
]);

const LOOPERS: &str = "one model is asked per request";
const NO_ROUTER_LEARNING: &str = "the router does not learn while it runs";

const ALGORITHM: Shape = Shape::Object(&[
    field("type", Shape::Text, "how one model is chosen"),
    field(
        "latency_aware",
        Shape::Object(&[
            field(
                "ttft_percentile",
                Shape::Whole(1, 100),
                "percentile of the first-token time",
            ),
            field(
                "tpot_percentile",
                Shape::Whole(1, 100),
                "percentile of the time per token",
            ),
            note("description"),
        ]),
        "settings of latency_aware",
    ),
    field(
        "multi_factor",
        Shape::Object(&[
            field(
                "weights",
                Shape::Object(&[
                    field("quality", Shape::AMOUNT, "share of the quality score"),
                    field("latency", Shape::AMOUNT, "share of the latency"),
                    field("cost", Shape::AMOUNT, "share of the price"),
                    field("load", Shape::AMOUNT, "share of the requests in flight"),
                ]),
                "share of each factor",
            ),
            field(
                "slo",
                Shape::Object(&[
                    field("max_tpot_ms", Shape::AMOUNT, "most milliseconds per token"),
                    field(
                        "max_ttft_ms",
                        Shape::AMOUNT,
                        "most milliseconds to the first token",
                    ),
                    field(
                        "max_cost_per_1m",
                        Shape::AMOUNT,
                        "most expensive mean price",
                    ),
                    field("max_inflight", Shape::COUNT, "most requests in flight"),
                ]),
                "what a candidate must keep to",
            ),
            field(
                "latency_percentile",
                Shape::Whole(1, 100),
                "percentile of the latencies",
            ),
            field(
                "on_no_candidates",
                Shape::Choice(&["cheapest", "fastest", "best", "first"]),
                "who is chosen when no candidate keeps to the limits",
            ),
        ]),
        "settings of multi_factor",
    ),
    field(
        "load_aware",
        Shape::Bool,
        "whether models whose score is close compete by predicted time to the first token",
    ),
    field(
        "load_tolerance",
        Shape::FRACTION,
        "share of the best score by which a close one may be less",
    ),
    field("on_error", Shape::Text, "what a failed selection means")
        .unused("choosing a model cannot fail"),
    field("confidence", Shape::Any, "").unused(LOOPERS),
    field("ratings", Shape::Any, "").unused(LOOPERS),
    field("remom", Shape::Any, "").unused(LOOPERS),
    field("fusion", Shape::Any, "").unused(LOOPERS),
    field("workflows", Shape::Any, "").unused(LOOPERS),
    field("prompt", Shape::Any, "").unused("no model is asked which model to use"),
    field("router_dc", Shape::Any, "").unused("this algorithm is not supported"),
    field("automix", Shape::Any, "").unused(LOOPERS),
    field("hybrid", Shape::Any, "").unused("this algorithm is not supported"),
]);

pub(super) const DECISIONS: Shape = Shape::List(&Shape::Object(&[
    field("name", Shape::Text, "name in headers, logs and metrics").required(),
    note("description"),
    field("priority", Shape::Whole(i64::MIN, i64::MAX), "higher wins"),
    field(
        "tier",
        Shape::Whole(i64::MIN, i64::MAX),
        "lower wins before everything else",
    ),
    field("rules", RULE_FIELD, "when the decision matches"),
    field("modelRefs", Shape::List(&MODEL_REF), "candidate models"),
    field("algorithm", ALGORITHM, "how one candidate is chosen"),
    field(
        "plugins",
        Shape::List(&Shape::Plugin),
        "what is done to the request",
    ),
    field("output_contract", Shape::Text, "").unused(LOOPERS),
    field("output_contract_spec", Shape::Any, "").unused(LOOPERS),
    field("candidateIterations", Shape::Any, "").unused(LOOPERS),
    field("adaptations", Shape::Any, "").unused(NO_ROUTER_LEARNING),
    field("emits", Shape::Any, "").unused("the plugin says what is cached"),
    field("annotations", Shape::Any, "notes for people"),
]));
const RULE_FIELD: Shape = Shape::Named("rule", &RULE);

pub(super) const EMBEDDINGS: Shape = Shape::List(&Shape::Object(&[
    field("name", Shape::Text, "name in conditions and headers").required(),
    field("threshold", Shape::FRACTION, "least cosine similarity"),
    field("candidates", Shape::TEXTS, "examples").required(),
    field(
        "aggregation_method",
        Shape::Choice(&["mean", "max", "any"]),
        "how the similarities become one",
    ),
    field(
        "query_modality",
        Shape::Choice(&["text", "image", "audio"]),
        "what is compared; only text can be",
    ),
    field("on_error", ON_ERROR, "what a failed classifier means"),
    note("description"),
]));

pub(super) const KEYWORDS: Shape = Shape::List(&Shape::Object(&[
    field("name", Shape::Text, "name in conditions and headers").required(),
    field(
        "operator",
        Shape::Choice(&["OR", "AND", "NOR"]),
        "how the words combine",
    ),
    field("keywords", Shape::TEXTS, "the words").required(),
    field("case_sensitive", Shape::Bool, "whether case counts"),
    field(
        "method",
        Shape::Choice(&["regex", "exact", "bm25", "ngram", "fuzzy"]),
        "when a word counts as found",
    ),
    field("bm25_threshold", Shape::AMOUNT, "least BM25 score"),
    field(
        "ngram_threshold",
        Shape::FRACTION,
        "least share of common n-grams",
    ),
    field(
        "ngram_arity",
        Shape::Whole(1, 16),
        "characters in an n-gram",
    ),
    field("fuzzy_match", Shape::Bool, "the same as `method: fuzzy`"),
    field(
        "fuzzy_threshold",
        Shape::Number(0.0, 100.0),
        "least similarity in percent",
    ),
    note("description"),
]));

pub(super) const DOMAINS: Shape = Shape::List(&Shape::Object(&[
    field("name", Shape::Text, "name in conditions and headers").required(),
    note("description"),
    field("mmlu_categories", Shape::TEXTS, "labels of the classifier"),
    field("model_scores", Shape::Any, "scores of models").unused(UNREAD),
    field("system_prompt", Shape::Text, "").unused("decisions hold the system prompts"),
    field("use_reasoning", Shape::Bool, "").unused("decisions switch reasoning"),
]));

/// Rules whose names are fixed.
pub(super) const NAMED_RULES: Shape = Shape::List(&Shape::Object(&[
    field("name", Shape::Text, "name in conditions and headers").required(),
    note("description"),
    field("threshold", Shape::FRACTION, "least probability"),
    field("on_error", ON_ERROR, "what a failed classifier means"),
]));

pub(super) const PREFERENCES: Shape = Shape::List(&Shape::Object(&[
    field("name", Shape::Text, "name in conditions and headers").required(),
    field(
        "description",
        Shape::Text,
        "what the language model is told about it",
    ),
    field(
        "examples",
        Shape::TEXTS,
        "examples; with them, no language model is asked",
    ),
    field(
        "threshold",
        Shape::FRACTION,
        "least cosine similarity to an example",
    ),
    field("on_error", ON_ERROR, "what a failed model means"),
]));

const NO_GUARD: &str = "no model but the router's own encoder looks for jailbreaks";

pub(super) const EXTERNAL_MODELS: Shape = Shape::List(&Shape::Object(&[
    note("name"),
    field("llm_provider", Shape::Text, "kind of server")
        .unused("every server is spoken to by the OpenAI API"),
    field(
        "model_role",
        Shape::Choice(&["guardrail", "classification", "scoring", "preference"]),
        "what it is asked; only `preference` is",
    )
    .required(),
    field(
        "llm_endpoint",
        Shape::Object(&[
            field("address", Shape::Text, "host").required(),
            field("port", Shape::PORT, "port").required(),
            note("name"),
            field(
                "protocol",
                Shape::Choice(&["http", "https"]),
                "protocol; only `http` is spoken",
            ),
            field("use_chat_template", Shape::Bool, "").unused("the chat API is used"),
            field("prompt_template", Shape::Text, "").unused("the chat API is used"),
        ]),
        "where it is",
    )
    .required(),
    field("llm_model_name", Shape::Text, "name in the request").required(),
    field(
        "llm_timeout_seconds",
        Shape::POSITIVE,
        "longest wait for its answer",
    ),
    field(
        "parser_type",
        Shape::Choice(&["qwen3guard", "json", "simple", "auto"]),
        "",
    )
    .unused(NO_GUARD),
    field("threshold", Shape::FRACTION, "").unused(NO_GUARD),
    field("access_key", Shape::Text, "bearer token for it"),
    field("max_tokens", Shape::POSITIVE, "").unused("the answer is one short JSON object"),
    field("temperature", Shape::AMOUNT, "").unused("temperature 0 is used"),
]));

pub(super) const TOOLS: Shape = Shape::Object(&[
    field(
        "enabled",
        Shape::Bool,
        "whether `tool_choice: auto` lets the router choose",
    ),
    field("top_k", Shape::Whole(1, 1000), "most tools to offer"),
    field(
        "similarity_threshold",
        Shape::FRACTION,
        "least cosine similarity",
    ),
    field("tools_db_path", Shape::Text, "JSON file with the tools"),
    field(
        "fallback_to_empty",
        Shape::Bool,
        "whether a request without a fitting tool loses its own",
    ),
    field("advanced_filtering", Shape::Any, "").unused("tools are ranked by similarity alone"),
]);

/// The section that neither upstream layout has.
pub(super) const TANDEM: Shape = Shape::Object(&[
    field(
        "signal_deadline_ms",
        Shape::POSITIVE,
        "longest wait for all signals of a request",
    ),
    field(
        "unknown_models",
        Shape::Choice(&["reject", "forward"]),
        "what happens to a request for a model that is not configured",
    ),
    field(
        "security",
        Shape::Object(&[
            field(
                "jailbreak",
                Shape::Object(plugins::JAILBREAK),
                "jailbreak check for every request",
            ),
            field(
                "pii",
                Shape::Object(plugins::PII),
                "personal data check for every request",
            ),
            field(
                "response_jailbreak",
                Shape::Object(plugins::RESPONSE_JAILBREAK),
                "jailbreak check for every answer",
            ),
        ]),
        "policies for every request",
    ),
    field(
        "gateway",
        super::gateway::GATEWAY,
        "the gateway's clients and servers",
    ),
]);
