//! The section `tandem`, which neither upstream layout has.

use std::time::Duration;

use super::backend::{access, reliability};
use super::plugin::{jailbreak_policy, or_off, pii_policy, response_jailbreak_policy};
use super::reader::Section;
use crate::config::{Access, Reliability, SecurityPolicy, UnknownModels};

/// Longest wait for the signals when none is configured: far above their usual milliseconds, far
/// below what a client waits for.
const DEADLINE: Duration = Duration::from_secs(2);

/// What the section says.
pub(super) struct Extension {
    pub(super) deadline: Duration,
    pub(super) unknown_models: Option<UnknownModels>,
    pub(super) security: SecurityPolicy,
    pub(super) access: Access,
    /// Of models that say nothing else.
    pub(super) reliability: Reliability,
}

/// Reads `tandem` of `root`; `inherited` is what the layout's own keys say about security.
pub(super) fn read(root: &Section<'_>, inherited: SecurityPolicy) -> Extension {
    let mut extension = Extension {
        deadline: DEADLINE,
        unknown_models: None,
        security: inherited,
        access: Access::default(),
        reliability: Reliability::default(),
    };
    let Some(section) = root.section("tandem") else {
        return extension;
    };
    let millis = section.integer("signal_deadline_ms").map(u64::try_from);
    if let Some(Ok(millis)) = millis {
        extension.deadline = Duration::from_millis(millis);
    }
    let choices = [
        ("reject", UnknownModels::Reject),
        ("forward", UnknownModels::Forward),
    ];
    extension.unknown_models = section.choice("unknown_models", &choices);
    if let Some(policies) = section.section("security") {
        security(&policies, &mut extension.security);
    }
    if let Some(gateway) = section.section("gateway") {
        extension.access = access(&gateway);
        if let Some(section) = gateway.section("reliability") {
            extension.reliability = reliability(&section, &extension.reliability);
        }
    }
    extension
}

fn security(section: &Section<'_>, policy: &mut SecurityPolicy) {
    if let Some(jailbreak) = section.section("jailbreak") {
        let default = policy.jailbreak.on().cloned().unwrap_or_default();
        let enabled = jailbreak.boolean("enabled").unwrap_or(true);
        policy.jailbreak = or_off(enabled, jailbreak_policy(&jailbreak, &default));
    }
    if let Some(pii) = section.section("pii") {
        let default = policy.pii.on().cloned().unwrap_or_default();
        let enabled = pii.boolean("enabled").unwrap_or(true);
        policy.pii = or_off(enabled, pii_policy(&pii, &default));
    }
    if let Some(answers) = section.section("response_jailbreak") {
        let default = policy.response_jailbreak.on().cloned().unwrap_or_default();
        let enabled = answers.boolean("enabled").unwrap_or(true);
        policy.response_jailbreak = or_off(enabled, response_jailbreak_policy(&answers, &default));
    }
}
