//! Rules that compare embeddings.

use super::Reading;
use super::anchor::{Anchors, Places, cosine};
use super::examples;
use crate::config::{
    Aggregation, ComplexityTest, Difficulty, EmbeddingTest, FactCheckTest, Feedback, FeedbackTest,
    PreferenceTest, ReaskTest, SignalTest,
};

/// How steep the step from one class to another is: the similarities of a small encoder lie close
/// together, so a tenth apart is a clear answer.
const SLOPE: f32 = 12.0;

/// A rule with the places of its examples.
#[derive(Debug)]
pub(super) enum Comparison {
    Embedding(EmbeddingTest, Places),
    Complexity {
        test: ComplexityTest,
        hard: Places,
        easy: Places,
    },
    FactCheck {
        test: FactCheckTest,
        facts: Places,
        others: Places,
    },
    Feedback {
        test: FeedbackTest,
        /// In the order of [`Feedback::NAMED`].
        classes: [Places; 4],
    },
    Preference(PreferenceTest, Places),
    Reask(ReaskTest),
}

impl Comparison {
    /// `None` for rules that compare no embeddings.
    pub(super) fn new(test: &SignalTest, anchors: &mut Anchors) -> Option<Self> {
        Some(match test {
            SignalTest::Embedding(test) => {
                let places = anchors.add(texts(&test.candidates));
                Self::Embedding(test.clone(), places)
            }
            SignalTest::Complexity(test) => Self::Complexity {
                hard: anchors.add(or_shipped(&test.hard, &examples::HARD)),
                easy: anchors.add(or_shipped(&test.easy, &examples::EASY)),
                test: test.clone(),
            },
            SignalTest::FactCheck(test) => Self::FactCheck {
                test: test.clone(),
                facts: anchors.add(examples::FACTS),
                others: anchors.add(examples::NO_FACTS),
            },
            SignalTest::UserFeedback(test) => Self::Feedback {
                test: test.clone(),
                classes: [
                    anchors.add(examples::NEED_CLARIFICATION),
                    anchors.add(examples::SATISFIED),
                    anchors.add(examples::WANT_DIFFERENT),
                    anchors.add(examples::WRONG_ANSWER),
                ],
            },
            SignalTest::Preference(test) if !test.examples.is_empty() => {
                let places = anchors.add(texts(&test.examples));
                Self::Preference(test.clone(), places)
            }
            SignalTest::Reask(test) => Self::Reask(test.clone()),
            _ => return None,
        })
    }

    /// How the question compares; `earlier` holds the embeddings of the user's turns before it,
    /// the last one first.
    pub(super) fn read(
        &self,
        anchors: &Anchors,
        question: &[f32],
        earlier: &[Option<&[f32]>],
    ) -> Reading {
        let read = match self {
            Self::Embedding(test, places) => {
                let similarities = anchors.similarities(places, question);
                similarities.map(|found| embedding(test, &found))
            }
            Self::Complexity { test, hard, easy } => {
                let best = |places| {
                    anchors
                        .similarities(places, question)
                        .map(|all| top(&all, 1))
                };
                let both = best(hard).zip(best(easy));
                both.map(|(hard, easy)| complexity(test, hard - easy))
            }
            Self::FactCheck {
                test,
                facts,
                others,
            } => {
                let mean = |places| {
                    anchors
                        .similarities(places, question)
                        .map(|all| top(&all, 3))
                };
                let both = mean(facts).zip(mean(others));
                both.map(|(facts, others)| fact_check(test, facts - others))
            }
            Self::Feedback { test, classes } => {
                let scores = classes.each_ref().map(|places| {
                    anchors
                        .similarities(places, question)
                        .map(|all| top(&all, 2))
                });
                let scores: Option<Vec<f32>> = scores.into_iter().collect();
                scores.map(|scores| feedback(test, &scores))
            }
            Self::Preference(test, places) => {
                let similarities = anchors.similarities(places, question);
                similarities.map(|all| Reading::at_least(top(&all, 1), test.threshold))
            }
            Self::Reask(test) => reask(test, question, earlier),
        };
        read.unwrap_or(Reading::Unavailable)
    }
}

fn texts(list: &[String]) -> impl Iterator<Item = &str> {
    list.iter().map(String::as_str)
}

fn or_shipped<'a>(own: &'a [String], shipped: &[&'a str]) -> Vec<&'a str> {
    if own.is_empty() {
        shipped.to_vec()
    } else {
        texts(own).collect()
    }
}

/// Mean of the `count` highest.
#[allow(
    clippy::cast_precision_loss,
    reason = "there are a few examples, far below 2^24"
)]
fn top(similarities: &[f32], count: usize) -> f32 {
    let mut sorted = similarities.to_vec();
    sorted.sort_by(|left, right| right.total_cmp(left));
    sorted.truncate(count);
    if sorted.is_empty() {
        return 0.0;
    }
    sorted.iter().sum::<f32>() / sorted.len() as f32
}

fn embedding(test: &EmbeddingTest, similarities: &[f32]) -> Reading {
    let value = match test.aggregation {
        Aggregation::Mean => top(similarities, usize::MAX),
        // "Any" stops at the first candidate that reaches the threshold; it matches exactly when
        // the highest does, whose score says more.
        Aggregation::Max | Aggregation::Any => top(similarities, 1),
    };
    Reading::at_least(value, test.threshold)
}

/// The value is how sure the rule's own difficulty is.
fn complexity(test: &ComplexityTest, margin: f32) -> Reading {
    let found = if margin > test.threshold {
        Difficulty::Hard
    } else if margin < -test.threshold {
        Difficulty::Easy
    } else {
        Difficulty::Medium
    };
    let hard = sigmoid(SLOPE * margin);
    Reading::Score {
        value: match test.difficulty {
            Difficulty::Hard => hard,
            Difficulty::Medium => 1.0 - (2.0 * hard - 1.0).abs(),
            Difficulty::Easy => 1.0 - hard,
        },
        matched: found == test.difficulty,
    }
}

fn fact_check(test: &FactCheckTest, margin: f32) -> Reading {
    let needed = sigmoid(SLOPE * margin);
    let matched = (needed >= test.threshold) == test.needed;
    let value = if test.needed { needed } else { 1.0 - needed };
    Reading::Score { value, matched }
}

/// One of the four always matches: without a clear answer the user counts as satisfied, as in the
/// original router.
fn feedback(test: &FeedbackTest, scores: &[f32]) -> Reading {
    let highest = scores.iter().copied().fold(f32::MIN, f32::max);
    let powers: Vec<f32> = scores
        .iter()
        .map(|score| (SLOPE * (score - highest)).exp())
        .collect();
    let sum: f32 = powers.iter().sum();
    let best = (0..scores.len())
        .max_by(|left, right| scores[*left].total_cmp(&scores[*right]))
        .unwrap_or(0);
    let probability = powers[best] / sum;
    // A text that is like no feedback at all is none.
    let clear = probability >= test.threshold && highest >= LEAST_LIKENESS;
    let found = if clear {
        Feedback::NAMED[best].1
    } else {
        Feedback::Satisfied
    };
    let own = Feedback::NAMED
        .iter()
        .position(|(_, feedback)| *feedback == test.feedback)
        .unwrap_or(0);
    Reading::Score {
        value: powers[own] / sum,
        matched: found == test.feedback,
    }
}

/// Similarity to the nearest examples below which a text is no feedback.
const LEAST_LIKENESS: f32 = 0.45;

fn reask(test: &ReaskTest, question: &[f32], earlier: &[Option<&[f32]>]) -> Option<Reading> {
    if earlier.len() < test.lookback {
        return Some(Reading::Score {
            value: 0.0,
            matched: false,
        });
    }
    let mut least = f32::MAX;
    for turn in &earlier[..test.lookback] {
        least = least.min(cosine((*turn)?, question));
    }
    Some(Reading::at_least(least, test.threshold))
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(reading: Reading) -> bool {
        matches!(reading, Reading::Score { matched: true, .. })
    }

    #[test]
    fn similarities_become_one() {
        let check = |aggregation, threshold, want: bool| {
            let test = EmbeddingTest {
                candidates: Vec::new(),
                threshold,
                aggregation,
            };
            let reading = embedding(&test, &[0.9, 0.5, 0.1]);
            assert_eq!(matched(reading), want, "{aggregation:?} {threshold}");
        };
        check(Aggregation::Max, 0.9, true);
        check(Aggregation::Max, 0.91, false);
        check(Aggregation::Any, 0.9, true);
        check(Aggregation::Any, 0.91, false);
        check(Aggregation::Mean, 0.5, true);
        check(Aggregation::Mean, 0.51, false);
    }

    #[test]
    fn the_margin_gives_the_difficulty() {
        let check = |margin: f32, want: Difficulty| {
            for (_, difficulty) in Difficulty::NAMED {
                let test = ComplexityTest {
                    hard: Vec::new(),
                    easy: Vec::new(),
                    threshold: 0.1,
                    difficulty,
                };
                assert_eq!(
                    matched(complexity(&test, margin)),
                    difficulty == want,
                    "{margin}"
                );
            }
        };
        check(0.2, Difficulty::Hard);
        check(0.1, Difficulty::Medium);
        check(-0.1, Difficulty::Medium);
        check(-0.2, Difficulty::Easy);
    }

    #[test]
    fn exactly_one_feedback_matches() {
        let check = |scores: &[f32], threshold: f32, want: Feedback| {
            for (_, one) in Feedback::NAMED {
                let test = FeedbackTest {
                    feedback: one,
                    threshold,
                };
                assert_eq!(
                    matched(feedback(&test, scores)),
                    one == want,
                    "{scores:?} {one:?}"
                );
            }
        };
        check(&[0.9, 0.2, 0.2, 0.2], 0.5, Feedback::NeedClarification);
        check(&[0.2, 0.2, 0.2, 0.9], 0.5, Feedback::WrongAnswer);
        check(&[0.6, 0.6, 0.6, 0.61], 0.5, Feedback::Satisfied);
        check(&[0.3, 0.0, 0.0, 0.0], 0.5, Feedback::Satisfied);
    }

    #[test]
    fn facts_are_needed_or_not() {
        let check = |margin: f32, threshold: f32, want: bool| {
            for needed in [true, false] {
                let test = FactCheckTest { needed, threshold };
                assert_eq!(
                    matched(fact_check(&test, margin)),
                    needed == want,
                    "{margin}"
                );
            }
        };
        check(0.2, 0.6, true);
        check(-0.2, 0.6, false);
        check(0.0, 0.6, false);
    }

    #[test]
    fn every_turn_of_the_lookback_must_be_repeated() {
        let question = [1.0, 0.0];
        let (same, other) = (Some(&[1.0_f32, 0.0][..]), Some(&[0.0_f32, 1.0][..]));
        let check = |lookback, earlier: &[Option<&[f32]>], want: Option<bool>| {
            let test = ReaskTest {
                threshold: 0.8,
                lookback,
            };
            assert_eq!(reask(&test, &question, earlier).map(matched), want);
        };
        check(1, &[same, other], Some(true));
        check(2, &[same, other], Some(false));
        check(2, &[same], Some(false));
        check(1, &[None], None);
        check(1, &[], Some(false));
    }
}
