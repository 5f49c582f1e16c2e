//! Where the keys of the flat layout are in the layered one.

/// Keys that move as they are.
pub(super) const MOVES: &[(&str, &[&str])] = &[
    ("default_model", &["providers", "defaults"]),
    ("default_reasoning_effort", &["providers", "defaults"]),
    ("reasoning_families", &["providers", "defaults"]),
    ("strategy", &["routing"]),
    ("config_source", &["global", "router"]),
    ("auto_model_name", &["global", "router"]),
    ("include_config_models_in_list", &["global", "router"]),
    ("response_api", &["global", "services"]),
    ("api", &["global", "services"]),
    ("observability", &["global", "services"]),
    ("feedback_detector", &["global", "model_catalog", "modules"]),
];

/// Keys that get another name.
pub(super) const RENAMES: &[(&str, &[&str])] = &[
    ("categories", &["routing", "signals", "domains"]),
    ("keyword_rules", &["routing", "signals", "keywords"]),
    ("embedding_rules", &["routing", "signals", "embeddings"]),
    ("fact_check_rules", &["routing", "signals", "fact_check"]),
    (
        "user_feedback_rules",
        &["routing", "signals", "user_feedbacks"],
    ),
    ("preference_rules", &["routing", "signals", "preferences"]),
    ("semantic_cache", &["global", "stores", "response_cache"]),
    ("external_models", &["global", "model_catalog", "external"]),
];

/// Sections whose keys move below `global.model_catalog.modules`.
pub(super) const MODULE_MOVES: &[(&str, &str, &[&str])] = &[
    ("classifier", "category_model", &["classifier", "domain"]),
    ("classifier", "mcp_category_model", &["classifier", "mcp"]),
    ("classifier", "pii_model", &["classifier", "pii"]),
    (
        "hallucination_mitigation",
        "enabled",
        &["hallucination_mitigation", "enabled"],
    ),
    (
        "hallucination_mitigation",
        "fact_check_model",
        &["hallucination_mitigation", "fact_check"],
    ),
    (
        "hallucination_mitigation",
        "hallucination_model",
        &["hallucination_mitigation", "detector"],
    ),
    (
        "hallucination_mitigation",
        "nli_model",
        &["hallucination_mitigation", "explainer"],
    ),
    (
        "hallucination_mitigation",
        "on_hallucination_detected",
        &["hallucination_mitigation", "on_hallucination_detected"],
    ),
    ("prompt_guard", "model_id", &["prompt_guard", "model_id"]),
    ("prompt_guard", "use_cpu", &["prompt_guard", "use_cpu"]),
    (
        "prompt_guard",
        "use_modernbert",
        &["prompt_guard", "use_modernbert"],
    ),
    ("prompt_guard", "use_vllm", &["prompt_guard", "use_vllm"]),
    (
        "prompt_guard",
        "jailbreak_mapping_path",
        &["prompt_guard", "jailbreak_mapping_path"],
    ),
];

/// Keys that are handled one by one.
pub(super) const OTHERS: [&str; 11] = [
    "model_config",
    "vllm_endpoints",
    "decisions",
    "clear_route_cache",
    "bert_model",
    "embedding_models",
    "classifier",
    "prompt_guard",
    "hallucination_mitigation",
    "tools",
    "tandem",
];
