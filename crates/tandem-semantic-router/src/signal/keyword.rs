//! Words in a text.

use regex::{Regex, RegexBuilder};

use crate::config::{KeywordOperator, KeywordRule};

/// A keyword rule, compiled.
#[derive(Debug)]
pub(super) struct KeywordMatcher {
    operator: KeywordOperator,
    /// One pattern of alternatives, or for [`KeywordOperator::And`] one per word.
    patterns: Vec<Regex>,
}

impl KeywordMatcher {
    pub(super) fn new(rule: &KeywordRule) -> Self {
        let words: Vec<String> = rule.keywords.iter().map(|word| pattern(word)).collect();
        let sources = match rule.operator {
            KeywordOperator::And => words,
            KeywordOperator::Or | KeywordOperator::Nor => vec![words.join("|")],
        };
        let patterns = sources.iter().map(|source| {
            RegexBuilder::new(source)
                .case_insensitive(!rule.case_sensitive)
                .size_limit(64 << 20)
                .build()
                .expect("escaped words and word boundaries are a valid pattern")
        });
        Self {
            operator: rule.operator,
            patterns: patterns.collect(),
        }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let mut patterns = self.patterns.iter();
        match self.operator {
            KeywordOperator::Or => patterns.any(|pattern| pattern.is_match(text)),
            KeywordOperator::And => patterns.all(|pattern| pattern.is_match(text)),
            KeywordOperator::Nor => !patterns.any(|pattern| pattern.is_match(text)),
        }
    }
}

/// The word with a boundary at each end that is an ASCII letter, digit or underscore: scripts
/// without spaces have no boundaries, and `c++` has none at its end.
fn pattern(word: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(operator: KeywordOperator, keywords: &[&str], text: &str, want: bool) {
        let rule = KeywordRule {
            name: "rule".into(),
            operator,
            keywords: keywords.iter().map(|word| (*word).to_owned()).collect(),
            case_sensitive: false,
        };
        assert_eq!(
            KeywordMatcher::new(&rule).matches(text),
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
}
