//! Figures of merit, as plain functions over labels and scores.

use std::collections::BTreeMap;

use serde::Serialize;

/// True and false positives and false negatives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Found and right.
    pub true_positives: usize,
    /// Found and wrong.
    pub false_positives: usize,
    /// Not found.
    pub false_negatives: usize,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of rows are far below 2^52"
)]
pub(super) fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

impl Counts {
    /// Share of what was found that is right.
    pub fn precision(&self) -> f64 {
        ratio(
            self.true_positives,
            self.true_positives + self.false_positives,
        )
    }

    /// Share of what is there that was found.
    pub fn recall(&self) -> f64 {
        ratio(
            self.true_positives,
            self.true_positives + self.false_negatives,
        )
    }

    /// Harmonic mean of precision and recall.
    pub fn f1(&self) -> f64 {
        let errors = self.false_positives + self.false_negatives;
        ratio(2 * self.true_positives, 2 * self.true_positives + errors)
    }

    pub(super) fn add(&mut self, other: Self) {
        self.true_positives += other.true_positives;
        self.false_positives += other.false_positives;
        self.false_negatives += other.false_negatives;
    }
}

/// Share of pairs of `(expected, predicted)` that agree.
pub fn accuracy(pairs: &[(String, String)]) -> f64 {
    ratio(pairs.iter().filter(|(a, b)| a == b).count(), pairs.len())
}

/// F1 of each expected label.
pub fn f1_by_label(pairs: &[(String, String)]) -> BTreeMap<String, f64> {
    let mut counts = BTreeMap::<&str, Counts>::new();
    for (expected, predicted) in pairs {
        if expected == predicted {
            counts.entry(expected).or_default().true_positives += 1;
        } else {
            counts.entry(expected).or_default().false_negatives += 1;
            counts.entry(predicted).or_default().false_positives += 1;
        }
    }
    let expected = counts
        .iter()
        .filter(|(_, c)| c.true_positives + c.false_negatives > 0);
    expected
        .map(|(label, counts)| ((*label).to_owned(), counts.f1()))
        .collect()
}

/// Mean of values; 0 if there are none.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0_u32);
    for value in values {
        sum += value;
        count += 1;
    }
    if count == 0 {
        0.0
    } else {
        sum / f64::from(count)
    }
}

/// Probability that a positive scores above a negative; ties count half. 0.5 if one side is empty.
pub fn auroc(scored: &[(f32, bool)]) -> f64 {
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = sorted.iter().filter(|(_, label)| *label).count();
    let negatives = sorted.len() - positives;
    if positives == 0 || negatives == 0 {
        return 0.5;
    }
    // Twice the number of pairs in the right order, ties counted once.
    let (mut pairs, mut below) = (0_usize, 0_usize);
    for tied in sorted.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let up = tied.iter().filter(|(_, label)| *label).count();
        let down = tied.len() - up;
        pairs += up * (2 * below + down);
        below += down;
    }
    ratio(pairs, 2 * positives * negatives)
}

/// A threshold and what it yields.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OperatingPoint {
    /// Least score that counts as positive.
    pub threshold: f32,
    /// Share of the positives at or above it.
    pub recall: f64,
    /// Share of the negatives at or above it.
    pub false_positive_rate: f64,
}

/// What a threshold yields.
pub fn at_threshold(scored: &[(f32, bool)], threshold: f32) -> OperatingPoint {
    let share = |wanted: bool| {
        let of_kind = scored.iter().filter(|(_, label)| *label == wanted);
        let above = of_kind.clone().filter(|(score, _)| *score >= threshold);
        ratio(above.count(), of_kind.count())
    };
    OperatingPoint {
        threshold,
        recall: share(true),
        false_positive_rate: share(false),
    }
}

/// The lowest threshold with at most this false positive rate.
pub fn at_false_positive_rate(scored: &[(f32, bool)], rate: f64) -> OperatingPoint {
    let mut negatives: Vec<f32> = scored
        .iter()
        .filter(|(_, label)| !label)
        .map(|(score, _)| *score)
        .collect();
    negatives.sort_by(|a, b| b.total_cmp(a));
    let allowed = (0..=negatives.len())
        .rev()
        .find(|count| ratio(*count, negatives.len()) <= rate)
        .unwrap_or(0);
    let threshold = negatives.get(allowed).map_or(0.0, |score| score.next_up());
    at_threshold(scored, threshold)
}

/// The threshold with the best F1, and that F1.
pub fn best_f1(scored: &[(f32, bool)]) -> (f32, f64) {
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = sorted.iter().filter(|(_, label)| *label).count();
    let (mut best, mut found, mut taken) = ((1.0, 0.0), 0, 0);
    for tied in sorted.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        found += tied.iter().filter(|(_, label)| *label).count();
        taken += tied.len();
        let counts = Counts {
            true_positives: found,
            false_positives: taken - found,
            false_negatives: positives - found,
        };
        if counts.f1() > best.1 {
            best = (tied[0].0, counts.f1());
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCORED: &[(f32, bool)] = &[
        (0.9, true),
        (0.8, false),
        (0.7, true),
        (0.4, false),
        (0.4, true),
        (0.1, false),
    ];

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }

    #[test]
    fn auroc_counts_ordered_pairs() {
        close(auroc(SCORED), 6.5 / 9.0);
        close(auroc(&[(0.2, false), (0.9, true)]), 1.0);
        close(auroc(&[(0.5, false), (0.5, true)]), 0.5);
        close(auroc(&[(0.5, true)]), 0.5);
    }

    #[test]
    fn operating_points() {
        close(at_threshold(SCORED, 0.7).recall, 2.0 / 3.0);
        close(at_threshold(SCORED, 0.7).false_positive_rate, 1.0 / 3.0);
        let strict = at_false_positive_rate(SCORED, 0.0);
        close(strict.recall, 1.0 / 3.0);
        assert!(strict.threshold > 0.8 && strict.threshold <= 0.9);
        close(at_false_positive_rate(SCORED, 0.34).recall, 2.0 / 3.0);
        close(at_false_positive_rate(SCORED, 1.0).recall, 1.0);
    }

    #[test]
    fn best_f1_tries_every_threshold() {
        let (threshold, f1) = best_f1(SCORED);
        assert!((threshold - 0.4).abs() < 1e-6);
        close(f1, 0.75);
    }

    #[test]
    fn labels() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let pairs = [
            pair("a", "a"),
            pair("a", "b"),
            pair("b", "b"),
            pair("b", "c"),
        ];
        close(accuracy(&pairs), 0.5);
        let f1 = f1_by_label(&pairs);
        close(f1["a"], 2.0 / 3.0);
        close(f1["b"], 0.5);
        assert!(!f1.contains_key("c"), "nothing was expected to be c");
    }
}
