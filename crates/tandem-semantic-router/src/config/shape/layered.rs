//! The layered layout, `version: v0.3`.

use super::cache::CACHE;
use super::flat::{API, OBSERVABILITY};
use super::gateway::RELIABILITY;
use super::parts::{
    COMMAND_LINE, DECISIONS, DOMAINS, EFFORTS, EMBEDDINGS, EXTERNAL_MODELS, FAMILIES, KEYWORDS,
    LORAS, NAMED_RULES, NO_ANSWER_CHECKS, NO_KUBERNETES, NO_RESPONSES, ON_ERROR, OWN_MODEL,
    PREDICATE, PREFERENCES, PRICING, RULE_REFERENCE, STRATEGIES, SUBJECTS, TANDEM, TOOLS, note,
};
use super::{Field, Shape, field};

const ENVOY: &str = "the proxy in front of the router decides where requests go";
const NOT_A_SIGNAL: &str = "this family of signals is not supported";
const RULE_NAME: Field = field("name", Shape::Text, "name in conditions and headers").required();

const PROVIDERS: Shape = Shape::Object(&[
    field(
        "defaults",
        Shape::Object(&[
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
        ]),
        "defaults",
    ),
    field(
        "models",
        Shape::List(&Shape::Object(&[
            field("name", Shape::Text, "name in requests and decisions").required(),
            field(
                "reasoning_family",
                Shape::Text,
                "name of its reasoning family",
            ),
            field(
                "provider_model_id",
                Shape::Text,
                "name that the upstream knows",
            ),
            field(
                "external_model_ids",
                Shape::Map(&Shape::Text),
                "names elsewhere",
            )
            .unused("`provider_model_id` is the name that is sent"),
            field(
                "api_format",
                Shape::Choice(&["openai", "anthropic"]),
                "form of the API; only `openai` is spoken",
            ),
            field("pricing", PRICING, "what its tokens cost"),
            field(
                "reliability",
                Shape::Object(RELIABILITY),
                "how a gateway treats its failing servers",
            ),
            field("backend_refs", BACKENDS, "where it is served"),
        ])),
        "models",
    ),
]);

const BACKENDS: Shape = Shape::List(&Shape::Object(&[
    field("name", Shape::Text, "name in logs and metrics"),
    field("endpoint", Shape::Text, "host:port"),
    field(
        "weight",
        Shape::AMOUNT,
        "its share of a gateway's requests; Envoy is told the heaviest",
    ),
    field("api_key", Shape::Text, "credential for it"),
    field(
        "api_key_env",
        Shape::Text,
        "environment variable with the credential",
    ),
    field("auth_header", Shape::Text, "header of the credential"),
    field("auth_prefix", Shape::Text, "word before the credential"),
    field(
        "protocol",
        Shape::Choice(&["http", "https"]),
        "how a gateway speaks to `endpoint`",
    ),
    field("type", Shape::Text, "kind of server").unused(ENVOY),
    field(
        "base_url",
        Shape::Text,
        "address of its API, such as https://example.com/v1, in place of `endpoint`",
    ),
    field("provider", Shape::Text, "kind of server").unused(ENVOY),
    field(
        "extra_headers",
        Shape::Map(&Shape::Text),
        "headers that a gateway adds to its requests",
    ),
    field("api_version", Shape::Text, "version of the API").unused(ENVOY),
    field("chat_path", Shape::Text, "path of the API").unused(ENVOY),
]));

const CARDS: Shape = Shape::List(&Shape::Object(&[
    field("name", Shape::Text, "name of the model").required(),
    field("loras", LORAS, "adapters"),
    field("quality_score", Shape::FRACTION, "how good its answers are"),
    note("param_size"),
    field("context_window_size", Shape::POSITIVE, "note for people"),
    note("description"),
    field("capabilities", Shape::TEXTS, "notes for people"),
    note("modality"),
    field("tags", Shape::TEXTS, "notes for people"),
]));

const CANDIDATES: Shape = Shape::Object(&[
    field("candidates", Shape::TEXTS, "examples"),
    field("image_candidates", Shape::TEXTS, "examples").unused("only text is compared"),
]);

const COMPLEXITY: Shape = Shape::List(&Shape::Object(&[
    RULE_NAME,
    note("description"),
    field(
        "threshold",
        Shape::FRACTION,
        "how far the similarities must be apart",
    ),
    field("hard", CANDIDATES, "examples of hard questions"),
    field("easy", CANDIDATES, "examples of easy questions"),
    field("composer", RULE_REFERENCE, "what must match, too"),
    field("on_error", ON_ERROR, "what a failed classifier means"),
]));

const FEATURE: Shape = Shape::Object(&[
    field(
        "type",
        Shape::Choice(&["count", "exists", "density", "sequence"]),
        "what becomes of what was found",
    )
    .required(),
    field(
        "source",
        Shape::Object(&[
            field("type", Shape::Text, "what is looked for").required(),
            field("pattern", Shape::Text, "regular expression"),
            field("keywords", Shape::TEXTS, "words"),
            field(
                "sequences",
                Shape::List(&Shape::TEXTS),
                "words one after the other",
            ),
            field("case_sensitive", Shape::Bool, "whether case counts"),
            field("role", Shape::Text, "role of the messages"),
        ]),
        "what is looked for",
    )
    .required(),
]);

const FEATURES: Shape = Shape::List(&Shape::Object(&[
    RULE_NAME,
    note("description"),
    field("feature", FEATURE, "what is measured").required(),
    field("predicate", PREDICATE, "which numbers match"),
]));

const SIGNALS: Shape = Shape::Object(&[
    field("keywords", KEYWORDS, "words"),
    field("embeddings", EMBEDDINGS, "similarity to examples"),
    field("domains", DOMAINS, "domains"),
    field("fact_check", NAMED_RULES, "questions about facts"),
    field(
        "user_feedbacks",
        NAMED_RULES,
        "feedback on the answer before",
    ),
    field(
        "reasks",
        Shape::List(&Shape::Object(&[
            RULE_NAME,
            note("description"),
            field("threshold", Shape::FRACTION, "least cosine similarity"),
            field(
                "lookback_turns",
                Shape::Whole(1, 64),
                "how many earlier turns are repeated",
            ),
            field("on_error", ON_ERROR, "what a failed classifier means"),
        ])),
        "repeated questions",
    ),
    field("preferences", PREFERENCES, "what users prefer"),
    field(
        "language",
        Shape::List(&Shape::Object(&[
            field("name", Shape::Text, "ISO 639-1 code").required(),
            note("description"),
            field("threshold", Shape::FRACTION, "least confidence"),
        ])),
        "languages",
    ),
    field(
        "context",
        Shape::List(&Shape::Object(&[
            RULE_NAME,
            note("description"),
            field("min_tokens", Shape::Tokens, "least tokens"),
            field("max_tokens", Shape::Tokens, "most tokens"),
        ])),
        "sizes of requests",
    ),
    field("structure", FEATURES, "forms of questions"),
    field("complexity", COMPLEXITY, "how hard questions are"),
    field("modality", Shape::Any, "images").unused(NOT_A_SIGNAL),
    field(
        "role_bindings",
        Shape::List(&Shape::Object(&[
            RULE_NAME,
            note("description"),
            field("role", Shape::Text, "the role").required(),
            field("subjects", SUBJECTS, "who has it").required(),
        ])),
        "roles of clients",
    ),
    field(
        "jailbreak",
        Shape::List(&Shape::Object(&[
            RULE_NAME,
            note("description"),
            field("threshold", Shape::FRACTION, "least probability"),
            field("on_error", ON_ERROR, "what a failed classifier means"),
            field(
                "include_history",
                Shape::Bool,
                "earlier turns are inspected in any case",
            ),
            field(
                "method",
                Shape::Choice(&["classifier", "contrastive", "hybrid"]),
                "",
            )
            .unused(OWN_MODEL),
            field("jailbreak_patterns", Shape::TEXTS, "examples").unused(OWN_MODEL),
            field("benign_patterns", Shape::TEXTS, "examples").unused(OWN_MODEL),
        ])),
        "jailbreaks",
    ),
    field(
        "pii",
        Shape::List(&Shape::Object(&[
            RULE_NAME,
            note("description"),
            field("threshold", Shape::FRACTION, "least probability"),
            field(
                "pii_types_allowed",
                Shape::TEXTS,
                "every type but these matches",
            ),
            field("pii_types_denied", Shape::TEXTS, "only these types match"),
            field("on_error", ON_ERROR, "what a failed classifier means"),
            field(
                "include_history",
                Shape::Bool,
                "earlier turns are inspected in any case",
            ),
        ])),
        "personal data",
    ),
    field("kb", Shape::Any, "knowledge bases").unused(NOT_A_SIGNAL),
    field("conversation", FEATURES, "messages of requests"),
    field("events", Shape::Any, "events").unused(NOT_A_SIGNAL),
    field("metadata", Shape::Any, "metadata").unused(NOT_A_SIGNAL),
    field("classifiers", Shape::Any, "other classifiers").unused(NOT_A_SIGNAL),
]);

const ROUTING: Shape = Shape::Object(&[
    field("strategy", STRATEGIES, "how the winning decision is found"),
    field("modelCards", CARDS, "what is known of models"),
    field("signals", SIGNALS, "questions about requests"),
    field("projections", Shape::Any, "derived numbers").unused("projections are not supported"),
    field("decisions", DECISIONS, "decisions"),
]);

const THRESHOLD: Field = field("threshold", Shape::FRACTION, "least probability");

const MODULES: Shape = Shape::Object(&[
    field(
        "prompt_guard",
        Shape::Object(&[
            THRESHOLD,
            field("on_error", ON_ERROR, "what a failed classifier means"),
            field("enabled", Shape::Bool, "").unused("the rules in `routing.signals` decide"),
            field("model_ref", Shape::Text, "").unused(OWN_MODEL),
            field("model_id", Shape::Text, "").unused(OWN_MODEL),
            field("use_cpu", Shape::Bool, "").unused(OWN_MODEL),
            field("use_modernbert", Shape::Bool, "").unused(OWN_MODEL),
            field("use_vllm", Shape::Bool, "").unused(OWN_MODEL),
            field("use_mmbert_32k", Shape::Bool, "").unused(OWN_MODEL),
            field("jailbreak_mapping_path", Shape::Text, "").unused(OWN_MODEL),
            field("variant", Shape::Text, "").unused(OWN_MODEL),
            field("positive_labels", Shape::TEXTS, "").unused(OWN_MODEL),
        ]),
        "jailbreak rules",
    ),
    field(
        "classifier",
        Shape::Object(&[
            field("domain", Shape::Any, "").unused(OWN_MODEL),
            field("mcp", Shape::Any, "").unused(OWN_MODEL),
            field(
                "pii",
                Shape::Object(&[
                    THRESHOLD,
                    field("on_error", ON_ERROR, "what a failed classifier means"),
                    field("enabled", Shape::Bool, "")
                        .unused("the rules in `routing.signals` decide"),
                    field("model_ref", Shape::Text, "").unused(OWN_MODEL),
                    field("model_id", Shape::Text, "").unused(OWN_MODEL),
                    field("use_cpu", Shape::Bool, "").unused(OWN_MODEL),
                    field("use_modernbert", Shape::Bool, "").unused(OWN_MODEL),
                    field("use_mmbert_32k", Shape::Bool, "").unused(OWN_MODEL),
                    field("pii_mapping_path", Shape::Text, "").unused(OWN_MODEL),
                ]),
                "personal data rules",
            ),
            field("preference", Shape::Any, "").unused(OWN_MODEL),
        ]),
        "classifiers",
    ),
    field(
        "feedback_detector",
        Shape::Object(&[
            THRESHOLD,
            field("enabled", Shape::Bool, "whether feedback is looked for"),
            field("model_ref", Shape::Text, "").unused(OWN_MODEL),
            field("model_id", Shape::Text, "").unused(OWN_MODEL),
            field("use_cpu", Shape::Bool, "").unused(OWN_MODEL),
            field("use_modernbert", Shape::Bool, "").unused(OWN_MODEL),
            field("use_mmbert_32k", Shape::Bool, "").unused(OWN_MODEL),
            field("feedback_mapping_path", Shape::Text, "").unused(OWN_MODEL),
        ]),
        "feedback rules",
    ),
    field(
        "hallucination_mitigation",
        Shape::Object(&[
            field("enabled", Shape::Bool, "").unused(NO_ANSWER_CHECKS),
            field(
                "fact_check",
                Shape::Object(&[
                    THRESHOLD,
                    field("model_ref", Shape::Text, "").unused(OWN_MODEL),
                    field("model_id", Shape::Text, "").unused(OWN_MODEL),
                    field("use_cpu", Shape::Bool, "").unused(OWN_MODEL),
                    field("use_mmbert_32k", Shape::Bool, "").unused(OWN_MODEL),
                ]),
                "rules about facts",
            ),
            field("detector", Shape::Any, "").unused(NO_ANSWER_CHECKS),
            field("explainer", Shape::Any, "").unused(NO_ANSWER_CHECKS),
            field("on_hallucination_detected", Shape::Text, "").unused(NO_ANSWER_CHECKS),
        ]),
        "facts",
    ),
    field("prompt_compression", Shape::Any, "").unused("prompts are not shortened"),
    field("complexity", Shape::Any, "").unused("the rules hold their thresholds"),
    field("modality_detector", Shape::Any, "").unused(NOT_A_SIGNAL),
]);

const ROUTER: Shape = Shape::Object(&[
    field("config_source", Shape::Choice(&["file", "kubernetes"]), "").unused(NO_KUBERNETES),
    field("strategy", STRATEGIES, "how the winning decision is found"),
    field(
        "auto_model_name",
        Shape::Text,
        "model name that asks the router to choose",
    ),
    field("auto_model_names", Shape::TEXTS, "more of them"),
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
    field("streamed_body", Shape::Any, "").unused(COMMAND_LINE),
    field("skip_processing", Shape::Any, "").unused("no client can switch the router off"),
    field("model_selection", Shape::Any, "").unused("decisions hold their algorithms"),
    field("learning", Shape::Any, "").unused("the router does not learn while it runs"),
]);

const SERVICES: Shape = Shape::Object(&[
    field("api", API, "").unused("the classification API limits its batches itself"),
    field("response_api", Shape::Any, "").unused(NO_RESPONSES),
    field("observability", OBSERVABILITY, "metrics and tracing"),
    field(
        "authz",
        Shape::Object(&[
            field("fail_open", Shape::Bool, "")
                .unused("a client without identity headers has no role"),
            field(
                "identity",
                Shape::Object(&[
                    field("user_id_header", Shape::Text, "header with the user's id"),
                    field(
                        "user_groups_header",
                        Shape::Text,
                        "header with the user's groups",
                    ),
                ]),
                "who clients are",
            ),
            field("providers", Shape::Any, "").unused("the proxy in front adds headers"),
        ]),
        "who clients are",
    ),
    field("ratelimit", Shape::Any, "").unused("requests are not limited"),
    field("management_api", Shape::Any, "").unused(COMMAND_LINE),
    field("router_replay", Shape::Any, "").unused("requests are not recorded"),
    field("startup_status", Shape::Any, "").unused("readiness is served at /ready"),
]);

const CATALOG: Shape = Shape::Object(&[
    field("embeddings", Shape::Any, "").unused(OWN_MODEL),
    field("system", Shape::Any, "").unused(OWN_MODEL),
    field(
        "external",
        EXTERNAL_MODELS,
        "language models that signals ask",
    ),
    field("kbs", Shape::Any, "").unused(NOT_A_SIGNAL),
    field("modules", MODULES, "thresholds"),
]);

const GLOBAL: Shape = Shape::Object(&[
    field("router", ROUTER, "the router itself"),
    field("services", SERVICES, "what it offers"),
    field(
        "stores",
        Shape::Object(&[
            field("response_cache", CACHE, "cache of answers"),
            field("memory", Shape::Any, "").unused("there is no memory of users"),
            field("vector_store", Shape::Any, "").unused("no documents are retrieved"),
        ]),
        "what it keeps",
    ),
    field(
        "integrations",
        Shape::Object(&[
            field("tools", TOOLS, "choosing tools"),
            field("looper", Shape::Any, "").unused("one model is asked per request"),
        ]),
        "what it works with",
    ),
    field("model_catalog", CATALOG, "its models"),
]);

pub(super) const FIELDS: &[Field] = &[
    field("version", Shape::Text, "version of the layout, `v0.3`"),
    field("listeners", Shape::Any, "listeners of Envoy").unused(ENVOY),
    field("providers", PROVIDERS, "models and where they are served"),
    field("routing", ROUTING, "signals and decisions"),
    field("entrypoints", Shape::Any, "").unused("there is one recipe, the top-level `routing`"),
    field("recipes", Shape::Any, "").unused("there is one recipe, the top-level `routing`"),
    field("global", GLOBAL, "everything else"),
    field(
        "tandem",
        TANDEM,
        "settings that the original router does not have",
    ),
];
