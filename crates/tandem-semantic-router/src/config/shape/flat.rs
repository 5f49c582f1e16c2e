//! The flat layout of v0.1.0.

use super::cache::CACHE;
use super::parts::{
    COMMAND_LINE, DECISIONS, DOMAINS, EFFORTS, EMBEDDINGS, EXTERNAL_MODELS, FAMILIES, KEYWORDS,
    LORAS, NAMED_RULES, NO_ANSWER_CHECKS, NO_KUBERNETES, NO_RESPONSES, ON_CPU, ON_ERROR, OWN_MODEL,
    PREFERENCES, PRICING, STRATEGIES, TANDEM, TOOLS, UNREAD,
};
use super::{Field, Shape, field};

const MODEL_ID: Field = field("model_id", Shape::Text, "path of a model").unused(OWN_MODEL);
const USE_CPU: Field = field("use_cpu", Shape::Bool, "device of the model").unused(ON_CPU);
const MODERNBERT: Field =
    field("use_modernbert", Shape::Bool, "kind of the model").unused(OWN_MODEL);

/// A model whose threshold has an effect.
macro_rules! model {
    ($($more:expr),* $(,)?) => {
        Shape::Object(&[
            MODEL_ID,
            field("threshold", Shape::FRACTION, "least probability"),
            USE_CPU,
            MODERNBERT,
            $($more),*
        ])
    };
}

const MCP: Shape = Shape::Object(&[
    field("enabled", Shape::Bool, "whether it is asked"),
    field(
        "transport_type",
        Shape::Choice(&["stdio", "http"]),
        "how it is reached",
    ),
    field("command", Shape::Text, "program to run"),
    field("args", Shape::TEXTS, "its arguments"),
    field("env", Shape::Map(&Shape::Text), "its environment"),
    field("url", Shape::Text, "address"),
    field("tool_name", Shape::Text, "tool to call"),
    field("threshold", Shape::FRACTION, "least probability"),
    field("timeout_seconds", Shape::POSITIVE, "longest wait"),
]);

const HALLUCINATION: Shape = Shape::Object(&[
    field("enabled", Shape::Bool, "whether answers are checked").unused(NO_ANSWER_CHECKS),
    field("fact_check_model", model!(), "finds questions about facts"),
    field("hallucination_model", model!(), "finds unsupported claims").unused(NO_ANSWER_CHECKS),
    field("nli_model", model!(), "explains findings").unused(NO_ANSWER_CHECKS),
    field(
        "on_hallucination_detected",
        Shape::Choice(&["warn"]),
        "what a finding leads to",
    )
    .unused(NO_ANSWER_CHECKS),
]);

const RESPONSES: Shape = Shape::Object(&[
    field("enabled", Shape::Bool, "whether the API is served"),
    field(
        "store_backend",
        Shape::Choice(&["memory", "milvus", "redis"]),
        "where answers are kept",
    ),
    field("ttl_seconds", Shape::COUNT, "how long"),
    field("max_responses", Shape::COUNT, "how many"),
    field("backend_config_path", Shape::Text, "settings of the store"),
    field(
        "milvus",
        Shape::Object(&[
            field("address", Shape::Text, "address"),
            field("database", Shape::Text, "database"),
            field("collection", Shape::Text, "collection"),
        ]),
        "settings of the store",
    ),
]);

const NUMBERS: Shape = Shape::List(&Shape::AMOUNT);

pub(super) const API: Shape = Shape::Object(&[field(
    "batch_classification",
    Shape::Object(&[
        field("max_batch_size", Shape::POSITIVE, "most texts in a batch"),
        field(
            "concurrency_threshold",
            Shape::POSITIVE,
            "batch size from which work is shared",
        ),
        field("max_concurrency", Shape::POSITIVE, "most workers"),
        field(
            "metrics",
            Shape::Object(&[
                field("enabled", Shape::Bool, "whether batches are counted"),
                field("sample_rate", Shape::FRACTION, "share that is counted"),
                field(
                    "batch_size_ranges",
                    Shape::List(&Shape::Object(&[
                        field("min", Shape::Whole(-1, i64::MAX), "least size"),
                        field("max", Shape::Whole(-1, i64::MAX), "most size"),
                        field("label", Shape::Text, "label"),
                    ])),
                    "labels",
                ),
                field("duration_buckets", NUMBERS, "buckets in seconds"),
                field("size_buckets", NUMBERS, "buckets in texts"),
                field("detailed_goroutine_tracking", Shape::Bool, "detail"),
                field("high_resolution_timing", Shape::Bool, "detail"),
            ]),
            "metrics",
        ),
    ]),
    "batches of texts",
)]);

pub(super) const OBSERVABILITY: Shape = Shape::Object(&[
    field(
        "metrics",
        Shape::Object(&[
            field("enabled", Shape::Bool, "whether metrics are served"),
            field(
                "windowed_metrics",
                Shape::Object(&[
                    field("enabled", Shape::Bool, "whether they are kept"),
                    field("time_windows", Shape::TEXTS, "windows"),
                    field("update_interval", Shape::Text, "how often"),
                    field("model_metrics", Shape::Bool, "detail"),
                    field("queue_depth_estimation", Shape::Bool, "detail"),
                    field("max_models", Shape::POSITIVE, "most models"),
                ]),
                "metrics of the last minutes",
            ),
        ]),
        "metrics",
    )
    .unused(COMMAND_LINE),
    field(
        "tracing",
        Shape::Object(&[
            field("enabled", Shape::Bool, "whether spans are sent"),
            field("provider", Shape::Text, "kind of tracing")
                .unused("spans are OpenTelemetry's, whatever it is called"),
            field(
                "exporter",
                Shape::Object(&[
                    field("type", Shape::Choice(&["otlp", "stdout"]), "form"),
                    field("endpoint", Shape::Text, "collector"),
                    field("insecure", Shape::Bool, "without TLS"),
                ]),
                "where they go",
            ),
            field(
                "sampling",
                Shape::Object(&[
                    field(
                        "type",
                        Shape::Choice(&["always_on", "always_off", "probabilistic"]),
                        "which",
                    ),
                    field("rate", Shape::FRACTION, "share"),
                ]),
                "which requests",
            ),
            field(
                "resource",
                Shape::Object(&[
                    field("service_name", Shape::Text, "name"),
                    field("service_version", Shape::Text, "version"),
                    field("deployment_environment", Shape::Text, "environment"),
                ]),
                "who sends them",
            ),
        ]),
        "tracing",
    ),
]);

pub(super) const FIELDS: &[Field] = &[
    field(
        "config_source",
        Shape::Choice(&["file", "kubernetes"]),
        "where the rules come from",
    )
    .unused(NO_KUBERNETES),
    field("mom_registry", Shape::Map(&Shape::Text), "paths of models").unused(OWN_MODEL),
    field(
        "auto_model_name",
        Shape::Text,
        "model name that asks the router to choose",
    ),
    field(
        "include_config_models_in_list",
        Shape::Bool,
        "whether /v1/models names all models",
    ),
    field(
        "clear_route_cache",
        Shape::Bool,
        "whether Envoy must choose its route again",
    ),
    field("strategy", STRATEGIES, "how the winning decision is found"),
    field(
        "default_model",
        Shape::Text,
        "model when no decision matches",
    ),
    field(
        "default_reasoning_effort",
        EFFORTS,
        "effort when a decision names none",
    ),
    field(
        "reasoning_families",
        FAMILIES,
        "how models switch reasoning",
    ),
    field(
        "vllm_endpoints",
        Shape::List(&Shape::Object(&[
            field("name", Shape::Text, "name").required(),
            field("address", Shape::Text, "host").required(),
            field("port", Shape::PORT, "port").required(),
            field("weight", Shape::AMOUNT, "the heaviest is used"),
            field("type", Shape::Text, "kind of server").unused(UNREAD),
            field(
                "path",
                Shape::Text,
                "path before that of the API, for a gateway",
            ),
        ])),
        "where models are served",
    ),
    field(
        "model_config",
        Shape::Map(&Shape::Object(&[
            field("preferred_endpoints", Shape::TEXTS, "names of endpoints"),
            field("pricing", PRICING, "what its tokens cost"),
            field(
                "reasoning_family",
                Shape::Text,
                "name of its reasoning family",
            ),
            field("loras", LORAS, "adapters"),
            field("access_key", Shape::Text, "bearer token for the upstream"),
            field("quality_score", Shape::FRACTION, "how good its answers are"),
            field("param_size", Shape::Text, "note for people"),
            field("pii_policy", Shape::Any, "").unused("decisions hold the policies"),
        ])),
        "models",
    ),
    field("categories", DOMAINS, "domain rules"),
    field("keyword_rules", KEYWORDS, "keyword rules"),
    field("embedding_rules", EMBEDDINGS, "embedding rules"),
    field("fact_check_rules", NAMED_RULES, "rules about facts"),
    field("user_feedback_rules", NAMED_RULES, "rules about feedback"),
    field(
        "preference_rules",
        PREFERENCES,
        "rules that a language model decides",
    ),
    field("decisions", DECISIONS, "decisions"),
    field(
        "bert_model",
        Shape::Object(&[
            MODEL_ID,
            field(
                "threshold",
                Shape::FRACTION,
                "threshold of tools that name none",
            ),
            USE_CPU,
        ]),
        "similarity model",
    ),
    field(
        "embedding_models",
        Shape::Object(&[
            field("qwen3_model_path", Shape::Text, "path").unused(OWN_MODEL),
            field("gemma_model_path", Shape::Text, "path").unused(OWN_MODEL),
            USE_CPU,
        ]),
        "embedding models",
    ),
    field(
        "classifier",
        Shape::Object(&[
            field(
                "category_model",
                Shape::Object(&[
                    MODEL_ID,
                    field("threshold", Shape::FRACTION, "least probability").unused(
                        "the most likely domain counts whatever its probability, as in the \
                         original router",
                    ),
                    USE_CPU,
                    MODERNBERT,
                    field("category_mapping_path", Shape::Text, "labels").unused(OWN_MODEL),
                    field("fallback_category", Shape::Text, "domain of other texts").unused(
                        "the most likely domain counts whatever its probability, as in the \
                         original router",
                    ),
                ]),
                "domain model",
            ),
            field(
                "pii_model",
                model!(field("pii_mapping_path", Shape::Text, "labels").unused(OWN_MODEL)),
                "personal data model",
            ),
            field(
                "pii_mapping_path",
                Shape::Text,
                "labels, at the wrong level",
            )
            .unused(OWN_MODEL),
            field("mcp_category_model", MCP, "domain model behind MCP").unused(OWN_MODEL),
        ]),
        "classifiers",
    ),
    field(
        "prompt_guard",
        model!(
            field("enabled", Shape::Bool, "whether every request is checked"),
            field("on_error", ON_ERROR, "what a failed classifier means"),
            field("use_vllm", Shape::Bool, "ask an external guard model").unused(OWN_MODEL),
            field("jailbreak_mapping_path", Shape::Text, "labels").unused(OWN_MODEL),
        ),
        "jailbreak check",
    ),
    field(
        "jailbreak_mapping_path",
        Shape::Text,
        "labels, at the wrong level",
    )
    .unused(OWN_MODEL),
    field(
        "external_models",
        EXTERNAL_MODELS,
        "language models that signals ask",
    ),
    field(
        "feedback_detector",
        model!(
            field("enabled", Shape::Bool, "whether feedback is looked for"),
            field("feedback_mapping_path", Shape::Text, "labels").unused(OWN_MODEL),
        ),
        "feedback model",
    ),
    field(
        "hallucination_mitigation",
        HALLUCINATION,
        "checks of answers",
    ),
    field("semantic_cache", CACHE, "cache of answers"),
    field("response_api", RESPONSES, "the Responses API").unused(NO_RESPONSES),
    field("tools", TOOLS, "choosing tools"),
    field("api", API, "classification API")
        .unused("the classification API limits its batches itself"),
    field("observability", OBSERVABILITY, "metrics and tracing"),
    field("router", Shape::Any, "settings of older versions").unused(UNREAD),
    field(
        "tandem",
        TANDEM,
        "settings that the original router does not have",
    ),
];
