//! The section `tandem`, which neither upstream layout has.

use std::time::Duration;

use super::reader::Section;
use super::signal::{jailbreak_policy, pii_policy};
use super::{JailbreakPolicy, PiiPolicy, SecurityPolicy, UnknownModels};

/// Longest wait for the classifier when none is configured: far above its usual milliseconds, far
/// below what a client waits for.
const DEADLINE: Duration = Duration::from_secs(2);

/// What the section says.
pub(super) struct Extension {
    pub(super) deadline: Duration,
    pub(super) unknown_models: Option<UnknownModels>,
    pub(super) security: SecurityPolicy,
}

/// Reads `tandem` of `root`; `inherited` is what the layout's own keys say about security.
pub(super) fn read(root: &Section<'_>, inherited: SecurityPolicy) -> Extension {
    let mut extension = Extension {
        deadline: DEADLINE,
        unknown_models: None,
        security: inherited,
    };
    let Some(section) = root.section("tandem") else {
        return extension;
    };
    if let Some(cursor) = section.get("signal_deadline_ms") {
        match cursor.integer().map(u64::try_from) {
            Some(Ok(millis)) if millis > 0 => extension.deadline = Duration::from_millis(millis),
            Some(_) => cursor.error("must be greater than 0"),
            None => {}
        }
    }
    let choices = [
        ("reject", UnknownModels::Reject),
        ("forward", UnknownModels::Forward),
    ];
    extension.unknown_models = section.choice("unknown_models", &choices);
    if let Some(policies) = section.section("security") {
        security(&policies, &mut extension.security);
        policies.finish();
    }
    section.finish();
    extension
}

fn security(section: &Section<'_>, policy: &mut SecurityPolicy) {
    let built_in = SecurityPolicy::built_in();
    if let Some(jailbreak) = section.section("jailbreak") {
        let default = policy.jailbreak.clone().or(built_in.jailbreak);
        let enabled = jailbreak.boolean("enabled").unwrap_or(true);
        let read = default.map(|default: JailbreakPolicy| jailbreak_policy(&jailbreak, &default));
        policy.jailbreak = read.filter(|_| enabled);
        jailbreak.finish();
    }
    if let Some(pii) = section.section("pii") {
        let default = policy.pii.clone().or(built_in.pii);
        let enabled = pii.boolean("enabled").unwrap_or(true);
        let read = default.map(|default: PiiPolicy| pii_policy(&pii, &default));
        policy.pii = read.filter(|_| enabled);
        pii.finish();
    }
}
