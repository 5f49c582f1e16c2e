//! Switching a model's reasoning.

use tandem_protocol::openai::body::JsonObject;

use crate::config::{ModelRef, ReasoningFamily, ReasoningSwitch};
use crate::explain::Reasoning;

/// Writes the decision's wish in the way of the model's family. A client's own effort is kept only
/// where the family knows efforts and the decision does not ask for reasoning.
pub(crate) fn apply(
    body: &mut JsonObject,
    family: Option<&ReasoningFamily>,
    model: &ModelRef,
) -> Reasoning {
    let on = model.use_reasoning;
    let mut reasoning = Reasoning {
        on,
        effort: None,
        family: family.map(|family| family.name.clone()),
    };
    match family.map(|family| (&family.switch, family)) {
        None => {
            body.remove("reasoning_effort");
        }
        Some((ReasoningSwitch::TemplateKwarg(parameter), _)) => {
            set_template_kwarg(body, parameter, on);
            body.remove("reasoning_effort");
        }
        Some((ReasoningSwitch::Effort(parameter), family)) => {
            let effort = model.effort.as_ref().unwrap_or(&family.default_effort);
            if on {
                body.set(parameter, effort);
                reasoning.effort = Some(effort.clone());
            } else if body.raw(parameter).is_none() {
                body.set(parameter, &"low");
            }
        }
    }
    reasoning
}

/// Sets `chat_template_kwargs.<parameter>`; the client's other variables stay.
fn set_template_kwarg(body: &mut JsonObject, parameter: &str, on: bool) {
    const KWARGS: &str = "chat_template_kwargs";
    let mut kwargs: JsonObject = body.get(KWARGS).ok().flatten().unwrap_or_default();
    kwargs.set(parameter, &on);
    body.set(KWARGS, &kwargs);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(switch: Option<ReasoningSwitch>, on: bool, before: &str, after: &str) {
        let family = switch.map(|switch| ReasoningFamily {
            name: "family".into(),
            switch,
            default_effort: "medium".into(),
        });
        let model = ModelRef {
            model: "m".into(),
            lora: None,
            weight: 1.0,
            use_reasoning: on,
            effort: None,
        };
        let mut body = JsonObject::parse(before.as_bytes()).unwrap();
        apply(&mut body, family.as_ref(), &model);
        assert_eq!(String::from_utf8(body.to_bytes()).unwrap(), after);
    }

    #[test]
    fn each_family_has_its_own_switch() {
        let kwarg = || Some(ReasoningSwitch::TemplateKwarg("enable_thinking".into()));
        let effort = || Some(ReasoningSwitch::Effort("reasoning_effort".into()));
        check(
            kwarg(),
            true,
            "{}",
            r#"{"chat_template_kwargs":{"enable_thinking":true}}"#,
        );
        check(
            kwarg(),
            false,
            r#"{"chat_template_kwargs":{"x":1.50},"top_k":5}"#,
            r#"{"chat_template_kwargs":{"x":1.50,"enable_thinking":false},"top_k":5}"#,
        );
        check(
            effort(),
            true,
            r#"{"reasoning_effort":"low"}"#,
            r#"{"reasoning_effort":"medium"}"#,
        );
        check(effort(), false, "{}", r#"{"reasoning_effort":"low"}"#);
        check(
            effort(),
            false,
            r#"{"reasoning_effort":"high"}"#,
            r#"{"reasoning_effort":"high"}"#,
        );
        check(
            None,
            true,
            r#"{"reasoning_effort":"high","a":1}"#,
            r#"{"a":1}"#,
        );
    }
}
