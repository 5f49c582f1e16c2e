//! Which of a decision's models.

use xxhash_rust::xxh3::xxh3_64;

use crate::config::{Decision, ModelRef, Selection};

/// Chooses a candidate. A weighted choice is drawn from the request id, so that a request that is
/// repeated with its id goes to the same model.
pub(crate) fn choose<'a>(decision: &'a Decision, request_id: &str) -> Option<&'a ModelRef> {
    match decision.selection {
        Selection::Static => heaviest(&decision.models),
        Selection::Weighted => draw(&decision.models, request_id),
    }
}

fn heaviest(models: &[ModelRef]) -> Option<&ModelRef> {
    let mut models = models.iter();
    let first = models.next()?;
    Some(models.fold(first, |best, model| {
        if model.weight > best.weight {
            model
        } else {
            best
        }
    }))
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a share of the 64-bit range needs no more than the digits of an f32"
)]
fn draw<'a>(models: &'a [ModelRef], request_id: &str) -> Option<&'a ModelRef> {
    let total: f32 = models.iter().map(|model| model.weight).sum();
    let share = xxh3_64(request_id.as_bytes()) as f32 / u64::MAX as f32;
    let mut left = share * total;
    for model in models {
        left -= model.weight;
        if left < 0.0 {
            return Some(model);
        }
    }
    models.last()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Plugins, Rule};

    fn decision(selection: Selection, weights: &[f32]) -> Decision {
        let models = weights.iter().enumerate().map(|(i, weight)| ModelRef {
            model: format!("m{i}"),
            lora: None,
            weight: *weight,
            use_reasoning: false,
            effort: None,
        });
        Decision {
            name: "d".into(),
            priority: 0,
            tier: 0,
            rule: Rule::Always,
            models: models.collect(),
            selection,
            plugins: Plugins::default(),
        }
    }

    #[test]
    fn static_takes_the_heaviest_and_the_first_of_equals() {
        let check = |weights: &[f32], want: Option<&str>| {
            let decision = decision(Selection::Static, weights);
            let chosen = choose(&decision, "id").map(|model| model.model.as_str());
            assert_eq!(chosen, want);
        };
        check(&[1.0, 1.0], Some("m0"));
        check(&[0.2, 0.9, 0.9], Some("m1"));
        check(&[], None);
    }

    #[test]
    fn weighted_follows_the_shares_and_repeats() {
        let decision = decision(Selection::Weighted, &[3.0, 1.0]);
        let mut first = 0;
        for i in 0..2000 {
            let id = format!("request-{i}");
            let chosen = choose(&decision, &id).unwrap();
            assert_eq!(chosen, choose(&decision, &id).unwrap());
            first += u32::from(chosen.model == "m0");
        }
        assert!((1400..1600).contains(&first), "{first} of 2000");
    }
}
