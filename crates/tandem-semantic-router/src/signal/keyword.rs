//! Words in a text.

use std::collections::{HashMap, HashSet};

use regex::{Regex, RegexBuilder};

use crate::config::{KeywordMethod, KeywordOperator, KeywordTest};
use crate::edit_distance::edit_distance;

/// A keyword rule, compiled.
#[derive(Debug)]
pub(super) struct KeywordMatcher {
    operator: KeywordOperator,
    words: Words,
}

#[derive(Debug)]
enum Words {
    /// One pattern of alternatives, or for [`KeywordOperator::And`] one per word.
    Exact(Vec<Regex>),
    /// Words that are compared one by one.
    Compared {
        case_sensitive: bool,
        method: Comparison,
        keywords: Vec<Keyword>,
    },
}

#[derive(Debug, Clone, Copy)]
enum Comparison {
    Bm25 { threshold: f32 },
    Ngram { threshold: f32, arity: usize },
    Fuzzy { threshold: f32 },
}

/// The terms of one keyword.
#[derive(Debug)]
struct Keyword {
    terms: Vec<String>,
}

/// A text in the form that comparisons need.
struct Terms {
    list: Vec<String>,
    counts: HashMap<String, usize>,
}

impl KeywordMatcher {
    pub(super) fn new(test: &KeywordTest) -> Self {
        let compared = |method| Words::Compared {
            case_sensitive: test.case_sensitive,
            method,
            keywords: test
                .keywords
                .iter()
                .map(|word| Keyword {
                    terms: terms(word, test.case_sensitive).list,
                })
                .collect(),
        };
        let words = match test.method {
            KeywordMethod::Exact => Words::Exact(patterns(test)),
            KeywordMethod::Bm25 { threshold } => compared(Comparison::Bm25 { threshold }),
            KeywordMethod::Ngram { threshold, arity } => {
                compared(Comparison::Ngram { threshold, arity })
            }
            KeywordMethod::Fuzzy { threshold } => compared(Comparison::Fuzzy { threshold }),
        };
        Self {
            operator: test.operator,
            words,
        }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        match &self.words {
            Words::Exact(patterns) => {
                self.combine(patterns.iter().map(|pattern| pattern.is_match(text)))
            }
            Words::Compared {
                case_sensitive,
                method,
                keywords,
            } => {
                let text = terms(text, *case_sensitive);
                let found = keywords.iter().map(|keyword| keyword.is_in(&text, *method));
                self.combine(found)
            }
        }
    }

    fn combine(&self, mut found: impl Iterator<Item = bool>) -> bool {
        match self.operator {
            KeywordOperator::Or => found.any(|found| found),
            KeywordOperator::And => found.all(|found| found),
            KeywordOperator::Nor => !found.any(|found| found),
        }
    }
}

fn patterns(test: &KeywordTest) -> Vec<Regex> {
    let words: Vec<String> = test.keywords.iter().map(|word| pattern(word)).collect();
    let sources = match test.operator {
        KeywordOperator::And => words,
        KeywordOperator::Or | KeywordOperator::Nor => vec![words.join("|")],
    };
    let patterns = sources.iter().map(|source| {
        RegexBuilder::new(source)
            .case_insensitive(!test.case_sensitive)
            .size_limit(64 << 20)
            .build()
            .expect("escaped words and word boundaries are a valid pattern")
    });
    patterns.collect()
}

/// The word with a boundary at each end that is an ASCII letter, digit or underscore: scripts
/// without spaces have no boundaries, and `c++` has none at its end.
pub(super) fn pattern(word: &str) -> String {
    let is_word = |end: Option<char>| end.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    let before = if is_word(word.chars().next()) {
        r"\b"
    } else {
        ""
    };
    let after = if is_word(word.chars().next_back()) {
        r"\b"
    } else {
        ""
    };
    format!("{before}{}{after}", regex::escape(word))
}

fn terms(text: &str, case_sensitive: bool) -> Terms {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    let list: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(|word| {
            if case_sensitive {
                word.to_owned()
            } else {
                word.to_lowercase()
            }
        })
        .collect();
    let mut counts = HashMap::with_capacity(list.len());
    for term in &list {
        *counts.entry(term.clone()).or_insert(0) += 1;
    }
    Terms { list, counts }
}

impl Keyword {
    fn is_in(&self, text: &Terms, method: Comparison) -> bool {
        if self.terms.is_empty() {
            return false;
        }
        match method {
            Comparison::Bm25 { threshold } => self.bm25(text) >= threshold,
            Comparison::Ngram { threshold, arity } => self.every_term(text, |term, word| {
                ngram_similarity(term, word, arity) >= threshold
            }),
            Comparison::Fuzzy { threshold } => self.every_term(text, |term, word| {
                edit_similarity(term, word, threshold) >= threshold
            }),
        }
    }

    /// Whether the terms are in the text one after the other, each close enough to a word.
    fn every_term(&self, text: &Terms, close: impl Fn(&str, &str) -> bool) -> bool {
        let size = self.terms.len();
        text.list.windows(size).any(|words| {
            self.terms
                .iter()
                .zip(words)
                .all(|(term, word)| close(term, word))
        })
    }

    /// Okapi BM25 (Robertson and Zaragoza, 2009) with k1 = 1.2 and no normalisation of length: the
    /// collection is the text alone, so every term has the same weight, 1. All terms of a keyword
    /// must be there; the score is their mean, from 1 for a single occurrence up to 2.2.
    #[allow(
        clippy::cast_precision_loss,
        reason = "counts of words are far below 2^24, where the cast is exact"
    )]
    fn bm25(&self, text: &Terms) -> f32 {
        const K1: f32 = 1.2;
        let mut sum = 0.0;
        for term in &self.terms {
            let Some(count) = text.counts.get(term) else {
                return 0.0;
            };
            let count = *count as f32;
            sum += count * (K1 + 1.0) / (count + K1);
        }
        sum / self.terms.len() as f32
    }
}

/// Jaccard similarity of the character n-grams of two words.
#[allow(
    clippy::cast_precision_loss,
    reason = "words are far shorter than 2^24 characters, where the cast is exact"
)]
fn ngram_similarity(left: &str, right: &str, arity: usize) -> f32 {
    let grams = |word: &str| -> HashSet<Vec<char>> {
        // Padding lets the ends of words count as much as their middles.
        let padded: Vec<char> = std::iter::once(' ')
            .chain(word.chars())
            .chain(std::iter::once(' '))
            .collect();
        if padded.len() <= arity {
            return HashSet::from([padded]);
        }
        padded.windows(arity).map(<[char]>::to_vec).collect()
    };
    let (left, right) = (grams(left), grams(right));
    let common = left.intersection(&right).count();
    let all = left.len() + right.len() - common;
    common as f32 / all as f32
}

/// One less the share of characters that must be edited (Levenshtein); 0 as soon as the lengths
/// alone say that `threshold` is out of reach.
#[allow(
    clippy::cast_precision_loss,
    reason = "words are far shorter than 2^24 characters, where the cast is exact"
)]
fn edit_similarity(left: &str, right: &str, threshold: f32) -> f32 {
    let (long, short) = (left.chars().count(), right.chars().count());
    let (long, short) = (long.max(short), long.min(short));
    if long == 0 || (short as f32 / long as f32) < threshold {
        return 0.0;
    }
    1.0 - edit_distance(left, right) as f32 / long as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(operator: KeywordOperator, keywords: &[&str], text: &str, want: bool) {
        check_method(KeywordMethod::Exact, operator, keywords, text, want);
    }

    #[track_caller]
    fn check_method(
        method: KeywordMethod,
        operator: KeywordOperator,
        keywords: &[&str],
        text: &str,
        want: bool,
    ) {
        let test = KeywordTest {
            operator,
            keywords: keywords.iter().map(|word| (*word).to_owned()).collect(),
            case_sensitive: false,
            method,
        };
        assert_eq!(
            KeywordMatcher::new(&test).matches(text),
            want,
            "{keywords:?} {text}"
        );
    }

    #[test]
    fn words_match_whole_and_in_any_case() {
        let or = KeywordOperator::Or;
        check(or, &["think"], "Think hard", true);
        check(or, &["think"], "rethinking", false);
        check(or, &["step by step"], "go STEP BY STEP.", true);
        check(or, &["c++", "rust"], "in C++ please", true);
        check(or, &["首先"], "请首先说明", true);
        check(or, &["a.c"], "abc", false);
    }

    #[test]
    fn operators_combine_words() {
        check(KeywordOperator::And, &["red", "blue"], "blue and red", true);
        check(KeywordOperator::And, &["red", "blue"], "only red", false);
        check(KeywordOperator::Nor, &["red", "blue"], "green", true);
        check(KeywordOperator::Nor, &["red", "blue"], "red", false);
    }

    #[test]
    fn bm25_grows_with_occurrences() {
        let or = KeywordOperator::Or;
        let low = KeywordMethod::Bm25 { threshold: 0.1 };
        check_method(low, or, &["code", "debug"], "please debug this", true);
        check_method(low, or, &["machine learning"], "learning a machine", true);
        check_method(low, or, &["machine learning"], "a washing machine", false);
        let high = KeywordMethod::Bm25 { threshold: 1.3 };
        check_method(high, or, &["code"], "code", false);
        check_method(high, or, &["code"], "code and code", true);
    }

    #[test]
    fn ngrams_and_edits_forgive_typing_mistakes() {
        let or = KeywordOperator::Or;
        let ngram = KeywordMethod::Ngram {
            threshold: 0.4,
            arity: 3,
        };
        check_method(ngram, or, &["urgent"], "this is urgnt urgentt", true);
        check_method(ngram, or, &["urgent"], "the surgeon came", false);
        let fuzzy = KeywordMethod::Fuzzy { threshold: 0.82 };
        check_method(fuzzy, or, &["credit card"], "my credti crad", false);
        check_method(fuzzy, or, &["password"], "my passwrd", true);
        check_method(fuzzy, or, &["social security"], "socail security no", false);
        check_method(fuzzy, or, &["social security"], "social securty no", true);
        check_method(
            fuzzy,
            KeywordOperator::Nor,
            &["password"],
            "nothing here",
            true,
        );
    }
}
