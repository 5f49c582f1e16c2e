//! Models, their credentials and endpoints, and reasoning families.

use std::collections::BTreeMap;
use std::time::Duration;

use super::reader::{Cursor, Section, unknown};
use crate::config::{
    Backend, Credential, ExternalModel, ModelConfig, Pricing, ReasoningFamily, ReasoningSwitch,
};

/// Reasoning families by name.
pub(super) type Families = BTreeMap<String, ReasoningFamily>;

const EFFORTS: [(&str, &str); 4] = [
    ("minimal", "minimal"),
    ("low", "low"),
    ("medium", "medium"),
    ("high", "high"),
];

/// `reasoning_effort` of a section, checked.
pub(super) fn effort(section: &Section<'_>, key: &'static str) -> Option<String> {
    section.choice(key, &EFFORTS).map(str::to_owned)
}

/// `reasoning_families` and `default_reasoning_effort`.
pub(super) fn families(section: &Section<'_>) -> Families {
    let default = effort(section, "default_reasoning_effort").unwrap_or_else(|| "medium".into());
    let entries = section.get("reasoning_families").map(Cursor::entries);
    let families = entries.unwrap_or_default().into_iter();
    let families = families.filter_map(|(name, cursor)| {
        let switch = family_switch(cursor)?;
        let family = ReasoningFamily {
            name: name.clone(),
            switch,
            default_effort: default.clone(),
        };
        Some((name, family))
    });
    families.collect()
}

#[derive(Clone, Copy)]
enum SwitchKind {
    TemplateKwarg,
    Effort,
    TopLevelEffort,
}

fn family_switch(cursor: Cursor<'_>) -> Option<ReasoningSwitch> {
    let section = cursor.section()?;
    let kinds = [
        ("chat_template_kwargs", SwitchKind::TemplateKwarg),
        ("reasoning_effort", SwitchKind::Effort),
        ("top_level_reasoning_effort", SwitchKind::TopLevelEffort),
    ];
    let kind = section.choice("type", &kinds);
    let parameter = section.text("parameter");
    let switch = match kind? {
        SwitchKind::TemplateKwarg => {
            if parameter.is_none() {
                section.at.error("`parameter` is missing");
            }
            ReasoningSwitch::TemplateKwarg(parameter?)
        }
        SwitchKind::Effort => ReasoningSwitch::Effort("reasoning_effort".to_owned()),
        SwitchKind::TopLevelEffort => {
            ReasoningSwitch::Effort(parameter.unwrap_or_else(|| "reasoning_effort".to_owned()))
        }
    };
    Some(switch)
}

/// The family that a model names.
pub(super) fn family_of(section: &Section<'_>, families: &Families) -> Option<ReasoningFamily> {
    let cursor = section.get("reasoning_family")?;
    let name = cursor.text().filter(|name| !name.is_empty())?;
    let family = families.get(&name);
    if family.is_none() {
        let names = families.keys().map(String::as_str);
        cursor.error(unknown("reasoning family", &name, names));
    }
    family.cloned()
}

/// Where Envoy sends a model's requests: to the heaviest backend, the first of equals.
pub(super) fn heaviest(backends: &[Backend]) -> Option<String> {
    let mut best: Option<&Backend> = None;
    for backend in backends {
        if best.is_none_or(|best| backend.weight > best.weight) {
            best = Some(backend);
        }
    }
    best.map(|backend| backend.address.authority.clone())
}

/// `loras` of a model.
pub(super) fn loras(section: &Section<'_>) -> Vec<String> {
    let loras = section.list("loras").into_iter().filter_map(|cursor| {
        let lora = cursor.section()?;
        lora.required("name")
    });
    loras.collect()
}

/// `Authorization: Bearer <key>`.
pub(super) fn bearer(key: &str) -> Credential {
    Credential {
        header: "authorization".to_owned(),
        value: format!("Bearer {key}"),
    }
}

/// A model that is used must be configured. A likely typing mistake is an error; a model that is
/// configured nowhere is added, with a warning, because the flat layout never required it.
pub(super) fn require_model(models: &mut Vec<ModelConfig>, name: &str, cursor: &Cursor<'_>) {
    if models.iter().any(|model| model.name == name) {
        return;
    }
    let message = unknown(
        "model",
        name,
        models.iter().map(|model| model.name.as_str()),
    );
    if message.contains("did you mean") {
        cursor.error(message);
        return;
    }
    cursor.warn(format!("model `{name}` has no settings of its own"));
    models.push(ModelConfig {
        name: name.to_owned(),
        ..ModelConfig::default()
    });
}

/// `pricing` of a model.
pub(super) fn pricing(section: &Section<'_>) -> Option<Pricing> {
    let pricing = section.section("pricing")?;
    let price = |key| pricing.get(key).and_then(|cursor| cursor.number());
    let prompt = price("prompt_per_1m");
    let completion = price("completion_per_1m");
    if prompt.is_none() && completion.is_none() {
        return None;
    }
    let currency = pricing.text("currency").filter(|text| !text.is_empty());
    Some(Pricing {
        currency: currency.unwrap_or_else(|| "USD".to_owned()),
        prompt_per_1m: prompt.unwrap_or(0.0),
        completion_per_1m: completion.unwrap_or(0.0),
    })
}

/// Longest wait for a language model when none is configured.
const EXTERNAL_TIMEOUT: u64 = 30;

/// The language models that signals ask: those whose role is `preference`.
pub(super) fn external_models(list: Vec<Cursor<'_>>) -> Vec<ExternalModel> {
    let models = list.into_iter().filter_map(|cursor| {
        let section = cursor.section()?;
        let role = section.get("model_role")?;
        if role.text()? != "preference" {
            role.warn(
                "accepted, and has no effect because only preferences are asked of a language \
                 model",
            );
            return None;
        }
        let endpoint = section.section("llm_endpoint")?;
        let host = endpoint.required("address")?;
        let port = endpoint.integer("port")?;
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host
        };
        let timeout = section.integer("llm_timeout_seconds");
        let timeout = timeout.and_then(|seconds| u64::try_from(seconds).ok());
        let key = section.text("access_key").filter(|key| !key.is_empty());
        Some(ExternalModel {
            authority: format!("{host}:{port}"),
            model: section.required("llm_model_name")?,
            timeout: Duration::from_secs(timeout.unwrap_or(EXTERNAL_TIMEOUT)),
            credential: key.as_deref().map(bearer),
        })
    });
    models.collect()
}
