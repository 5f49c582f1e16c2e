//! Which of the candidates to take, given what each would cost.

use rand::{Rng, RngExt};

/// Picks an index of `costs`, lower costs being better; `None` if there are none.
///
/// At temperature 0 this is the smallest cost, equal ones with equal chance. Above, an index has
/// probability proportional to `exp(-(cost / spread) / temperature)`, where the spread is that
/// between the largest and the smallest cost.
pub(crate) fn pick(costs: &[f64], temperature: f64, rng: &mut impl Rng) -> Option<usize> {
    let least = costs.iter().copied().reduce(f64::min)?;
    let spread = costs.iter().copied().fold(least, f64::max) - least;
    let scale = spread * temperature;
    if scale > 0.0 && scale.is_finite() {
        return Some(sample(costs, scale, least, rng));
    }
    let ties = || (0..costs.len()).filter(|&index| costs[index] <= least);
    match ties().count() {
        // No draw is made without a choice, so that equal inputs give equal results.
        1 => ties().next(),
        count => ties().nth(rng.random_range(0..count)),
    }
}

fn sample(costs: &[f64], scale: f64, least: f64, rng: &mut impl Rng) -> usize {
    let weight = |cost: f64| (-(cost - least) / scale).exp();
    let total: f64 = costs.iter().copied().map(weight).sum();
    let mut target = rng.random_range(0.0..total);
    for (index, &cost) in costs.iter().enumerate() {
        target -= weight(cost);
        if target < 0.0 {
            return index;
        }
    }
    costs.len() - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    fn shares(costs: &[f64], temperature: f64) -> Vec<f64> {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut counts = vec![0.0; costs.len()];
        for _ in 0..20_000 {
            counts[pick(costs, temperature, &mut rng).unwrap()] += 1.0 / 20_000.0;
        }
        counts
    }

    fn check(costs: &[f64], temperature: f64, expected: &[f64]) {
        for (share, expected) in shares(costs, temperature).iter().zip(expected) {
            assert!((share - expected).abs() < 0.02, "{share} is not {expected}");
        }
    }

    #[test]
    fn ties_are_broken_evenly() {
        check(
            &[3.0, 1.0, 1.0, 1.0],
            0.0,
            &[0.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0],
        );
        check(&[2.0, 2.0], 0.7, &[0.5, 0.5]);
    }

    #[test]
    fn temperature_is_relative_to_the_spread() {
        // exp(0), exp(-0.5) and exp(-1), normalised.
        let expected = [0.506, 0.307, 0.186];
        check(&[10.0, 15.0, 20.0], 1.0, &expected);
        check(&[0.0, 500.0, 1000.0], 1.0, &expected);
        check(&[0.0, 1.0], 0.01, &[1.0, 0.0]);
    }

    proptest! {
        #[test]
        fn no_chance_at_temperature_0_without_ties(
            costs in prop::collection::hash_set(0..1000_u32, 1..20),
            seeds in any::<[u64; 2]>(),
        ) {
            let costs: Vec<_> = costs.into_iter().map(f64::from).collect();
            let picks = seeds.map(|seed| pick(&costs, 0.0, &mut SmallRng::seed_from_u64(seed)));
            let least = costs.iter().copied().reduce(f64::min).unwrap();
            prop_assert_eq!(picks[0], picks[1]);
            prop_assert_eq!(costs[picks[0].unwrap()], least);
        }

        #[test]
        fn some_candidate_is_always_picked(
            costs in prop::collection::vec(0.0..1e9_f64, 0..20),
            temperature in 0.0..10.0_f64,
            seed: u64,
        ) {
            let picked = pick(&costs, temperature, &mut SmallRng::seed_from_u64(seed));
            prop_assert_eq!(picked.is_some(), !costs.is_empty());
            prop_assert!(picked.is_none_or(|index| index < costs.len()));
        }
    }
}
