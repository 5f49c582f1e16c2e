//! The form of a question: counts of patterns, words and bytes.

use regex::{Regex, RegexBuilder};

use super::keyword::pattern;
use crate::config::{Feature, Measure, Range, StructureTest};

/// A structure rule, compiled.
#[derive(Debug)]
pub(super) struct StructureMatcher {
    feature: Feature,
    source: Source,
    range: Range,
}

#[derive(Debug)]
enum Source {
    Pattern(Regex),
    /// The patterns of each list must occur one after the other.
    Sequences(Vec<Vec<Regex>>),
    Bytes,
}

impl StructureMatcher {
    pub(super) fn new(test: &StructureTest) -> Self {
        let source = match &test.measure {
            Measure::Regex(source) => {
                Source::Pattern(Regex::new(source).expect("the pattern was checked at load"))
            }
            Measure::Keywords {
                words,
                case_sensitive,
            } => {
                let words: Vec<String> = words.iter().map(|word| pattern(word)).collect();
                Source::Pattern(compile(&words.join("|"), *case_sensitive))
            }
            Measure::Sequences {
                sequences,
                case_sensitive,
            } => {
                let compile_all = |words: &Vec<String>| {
                    let words = words.iter();
                    words
                        .map(|word| compile(&pattern(word), *case_sensitive))
                        .collect()
                };
                Source::Sequences(sequences.iter().map(compile_all).collect())
            }
            Measure::Bytes => Source::Bytes,
        };
        Self {
            feature: test.feature,
            source,
            range: test.range,
        }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let count = self.source.count(text);
        let number = match self.feature {
            Feature::Count => count,
            Feature::Exists => count.min(1.0),
            Feature::Density => count / units(text).max(1.0),
        };
        self.range.contains(number)
    }
}

fn compile(source: &str, case_sensitive: bool) -> Regex {
    RegexBuilder::new(source)
        .case_insensitive(!case_sensitive)
        .size_limit(64 << 20)
        .build()
        .expect("escaped words and word boundaries are a valid pattern")
}

impl Source {
    #[allow(
        clippy::cast_precision_loss,
        reason = "counts within a request are far below 2^53, where the cast is exact"
    )]
    fn count(&self, text: &str) -> f64 {
        match self {
            Self::Pattern(pattern) => pattern.find_iter(text).count() as f64,
            Self::Sequences(sequences) => {
                let found = sequences.iter().filter(|patterns| in_order(patterns, text));
                found.count() as f64
            }
            Self::Bytes => text.len() as f64,
        }
    }
}

fn in_order(patterns: &[Regex], text: &str) -> bool {
    let mut at = 0;
    patterns.iter().all(|pattern| {
        let found = pattern.find_at(text, at);
        at = found.map_or(at, |found| found.end());
        found.is_some()
    })
}

/// Words, where a character of a script without spaces counts as one.
#[allow(
    clippy::cast_precision_loss,
    reason = "counts within a request are far below 2^53, where the cast is exact"
)]
fn units(text: &str) -> f64 {
    let unspaced = |c: &char| matches!(u32::from(*c), 0x3040..=0x30FF | 0x3400..=0x9FFF | 0xF900..=0xFAFF | 0x2_0000..=0x3_FFFF);
    let single = text.chars().filter(unspaced).count();
    let spaced: String = text
        .chars()
        .map(|c| if unspaced(&c) { ' ' } else { c })
        .collect();
    let words = spaced
        .split_whitespace()
        .filter(|word| word.chars().any(char::is_alphanumeric));
    (words.count() + single) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(feature: Feature, measure: Measure, range: Range, text: &str, want: bool) {
        let test = StructureTest {
            feature,
            measure,
            range,
        };
        assert_eq!(StructureMatcher::new(&test).matches(text), want, "{text}");
    }

    fn at_least(bound: f64) -> Range {
        Range {
            gte: Some(bound),
            ..Range::default()
        }
    }

    #[test]
    fn patterns_are_counted() {
        let questions = || Measure::Regex("[?？]".into());
        check(Feature::Count, questions(), at_least(2.0), "a? b？", true);
        check(Feature::Count, questions(), at_least(3.0), "a? b？", false);
        check(Feature::Exists, questions(), Range::SOME, "a?", true);
        check(Feature::Exists, questions(), Range::SOME, "a", false);
        let few = Range {
            lte: Some(1.0),
            ..Range::default()
        };
        check(Feature::Count, questions(), few, "no question", true);
    }

    #[test]
    fn sequences_need_their_order() {
        let flow = || Measure::Sequences {
            sequences: vec![
                vec!["first".into(), "then".into()],
                vec!["先".into(), "再".into()],
            ],
            case_sensitive: false,
        };
        check(
            Feature::Exists,
            flow(),
            Range::SOME,
            "First this, then that",
            true,
        );
        check(
            Feature::Exists,
            flow(),
            Range::SOME,
            "then that, first this",
            false,
        );
        check(Feature::Exists, flow(), Range::SOME, "先看再说", true);
    }

    #[test]
    fn density_is_per_word_or_unspaced_character() {
        let words = || Measure::Keywords {
            words: vec!["at least".into(), "至少".into()],
            case_sensitive: false,
        };
        let dense = Range {
            gt: Some(0.2),
            ..Range::default()
        };
        check(Feature::Density, words(), dense, "at least two", true);
        check(
            Feature::Density,
            words(),
            dense,
            "write at least two pages of text",
            false,
        );
        check(Feature::Density, words(), dense, "至少两页", true);
        check(Feature::Count, Measure::Bytes, at_least(6.0), "至少", true);
    }
}
