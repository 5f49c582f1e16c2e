//! Guessing what comes next by what came before: n-gram speculation (prompt lookup decoding).
//!
//! What follows an earlier occurrence of the newest tokens is computed together with the newest
//! token, as far as it turns out to be what is chosen: each right guess saves a step. Tokens are
//! chosen as ever, so answers are the same, whether or not they are greedy.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// Longest n-gram that is looked for, and shortest, if nobody says: vLLM's defaults.
const NGRAM: usize = 5;

/// How to guess tokens, in the words of vLLM's `--speculative-config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speculation {
    /// Most tokens that are guessed at a time.
    pub num_speculative_tokens: usize,
    /// Longest n-gram that is looked for.
    pub prompt_lookup_max: usize,
    /// Shortest one.
    pub prompt_lookup_min: usize,
}

/// Why a `--speculative-config` cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; for example {{\"method\":\"ngram\",\"num_speculative_tokens\":5}}")]
pub struct SpeculationError(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    method: String,
    num_speculative_tokens: usize,
    prompt_lookup_max: Option<usize>,
    prompt_lookup_min: Option<usize>,
}

impl FromStr for Speculation {
    type Err = SpeculationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text: Text =
            serde_json::from_str(text).map_err(|error| SpeculationError(error.to_string()))?;
        if text.method != "ngram" {
            let method = text.method;
            let message = format!("method must be ngram in the embedded engine, not {method}");
            return Err(SpeculationError(message));
        }
        let (max, min) = (text.prompt_lookup_max, text.prompt_lookup_min);
        let speculation = Self {
            num_speculative_tokens: text.num_speculative_tokens,
            prompt_lookup_max: max.or(min).unwrap_or(NGRAM),
            prompt_lookup_min: min.or(max).unwrap_or(NGRAM),
        };
        let Self {
            num_speculative_tokens,
            prompt_lookup_max,
            prompt_lookup_min,
        } = speculation;
        if num_speculative_tokens == 0 {
            let message = "num_speculative_tokens must be at least 1";
            return Err(SpeculationError(message.to_owned()));
        }
        if prompt_lookup_min == 0 || prompt_lookup_min > prompt_lookup_max {
            let message = format!(
                "prompt_lookup_min must be from 1 to prompt_lookup_max {prompt_lookup_max}, not \
                 {prompt_lookup_min}"
            );
            return Err(SpeculationError(message));
        }
        Ok(speculation)
    }
}

impl fmt::Display for Speculation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            num_speculative_tokens,
            prompt_lookup_max,
            prompt_lookup_min,
        } = self;
        write!(
            f,
            r#"{{"method":"ngram","num_speculative_tokens":{num_speculative_tokens},"prompt_lookup_max":{prompt_lookup_max},"prompt_lookup_min":{prompt_lookup_min}}}"#
        )
    }
}

/// The guesses about one sequence.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// How to guess; `None` not at all.
    speculation: Option<Speculation>,
    /// The newest token, then those that may follow it; empty without a guess.
    tokens: Vec<u32>,
    /// How many to guess next: fewer after wrong guesses.
    depth: Option<usize>,
}

impl Draft {
    /// No guesses yet.
    pub(super) fn new(speculation: Option<Speculation>) -> Self {
        Self {
            speculation,
            ..Self::default()
        }
    }

    /// How many tokens would be guessed at most.
    pub(super) fn depth(&self) -> usize {
        let most = |speculation: Speculation| speculation.num_speculative_tokens;
        self.depth.or(self.speculation.map(most)).unwrap_or(0)
    }

    /// Guesses what follows `tokens`, up to `most` of them, and returns how many were guessed.
    pub(super) fn guess(&mut self, tokens: &[u32], most: usize) -> usize {
        let count = self.depth().min(most);
        let Some(speculation) = self.speculation.filter(|_| count > 0) else {
            return 0;
        };
        let Some(start) = continuation(tokens, &speculation) else {
            return 0;
        };
        self.tokens.extend(tokens.last());
        for place in start..start + count {
            // Beyond the newest token, what repeats goes on repeating.
            let token = tokens
                .get(place)
                .unwrap_or_else(|| &self.tokens[place - tokens.len() + 1]);
            self.tokens.push(*token);
        }
        count
    }

    /// The newest token and the guesses; empty without guesses.
    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Takes the guesses, to see which are right.
    pub(super) fn take(&mut self) -> Vec<u32> {
        self.tokens.drain(..).skip(1).collect()
    }

    /// Learns that `right` of `guessed` guesses were.
    pub(super) fn learn(&mut self, right: usize, guessed: usize) {
        let Some(speculation) = self.speculation.filter(|_| guessed > 0) else {
            return;
        };
        self.depth = Some(if right == guessed {
            (2 * guessed).min(speculation.num_speculative_tokens)
        } else {
            right.max(1)
        });
    }
}

/// Where in `tokens` the continuation of an earlier occurrence of their end begins: of the longest
/// end that occurred, and of its last occurrence.
fn continuation(tokens: &[u32], speculation: &Speculation) -> Option<usize> {
    let newest = *tokens.last()?;
    let mut best = (speculation.prompt_lookup_min - 1, None);
    for place in (1..tokens.len()).rev() {
        if tokens[place - 1] != newest {
            continue;
        }
        let earlier = tokens[..place].iter().rev();
        let pairs = earlier.zip(tokens.iter().rev());
        let same = pairs
            .take(speculation.prompt_lookup_max)
            .take_while(|(a, b)| a == b)
            .count();
        if same > best.0 {
            best = (same, Some(place));
            if same == speculation.prompt_lookup_max {
                break;
            }
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ngrams(num_speculative_tokens: usize, min: usize, max: usize) -> Speculation {
        Speculation {
            num_speculative_tokens,
            prompt_lookup_max: max,
            prompt_lookup_min: min,
        }
    }

    fn guess(tokens: &[u32], speculation: Speculation, most: usize) -> Vec<u32> {
        let mut draft = Draft::new(Some(speculation));
        let count = draft.guess(tokens, most);
        assert_eq!(draft.tokens().len(), if count == 0 { 0 } else { count + 1 });
        draft.take()
    }

    #[test]
    fn guesses_follow_the_longest_and_last_occurrence() {
        let text = [1, 2, 3, 4, 9, 2, 3, 5, 9, 3, 6, 1, 2, 3];
        assert_eq!(guess(&text, ngrams(3, 1, 3), 9), [4, 9, 2]);
        assert_eq!(guess(&text, ngrams(3, 1, 2), 9), [5, 9, 3]);
        assert_eq!(guess(&text, ngrams(3, 1, 1), 9), [6, 1, 2]);
        assert_eq!(guess(&text, ngrams(3, 1, 1), 2), [6, 1]);
        assert!(guess(&text, ngrams(3, 4, 4), 9).is_empty());
        assert!(guess(&text, ngrams(3, 1, 3), 0).is_empty());
        assert!(guess(&[], ngrams(3, 1, 3), 9).is_empty());
        assert!(guess(&[7], ngrams(3, 1, 3), 9).is_empty());
    }

    #[test]
    fn repetitions_go_on_repeating() {
        assert_eq!(guess(&[1, 2, 3, 2, 3], ngrams(5, 1, 2), 9), [2, 3, 2, 3, 2]);
        assert_eq!(guess(&[4, 4], ngrams(3, 1, 2), 9), [4, 4, 4]);
    }

    #[test]
    fn wrong_guesses_make_it_careful() {
        let mut draft = Draft::new(Some(ngrams(8, 1, 2)));
        for (guessed, right) in [
            (8, 2),
            (2, 2),
            (4, 0),
            (1, 0),
            (1, 1),
            (2, 2),
            (4, 4),
            (8, 8),
            (8, 8),
        ] {
            assert_eq!(draft.guess(&[1, 1, 1], 99), guessed);
            assert_eq!(draft.take(), vec![1; guessed]);
            draft.learn(right, guessed);
        }
    }

    #[test]
    fn configurations_are_those_of_vllm() {
        let parse = |text: &str| text.parse::<Speculation>();
        let plain = parse(r#"{"method":"ngram","num_speculative_tokens":4}"#);
        assert_eq!(plain, Ok(ngrams(4, NGRAM, NGRAM)));
        let lookup = r#"{"method":"ngram","num_speculative_tokens":4,"prompt_lookup_max":3}"#;
        assert_eq!(parse(lookup), Ok(ngrams(4, 3, 3)));
        let both = ngrams(4, 2, 3);
        assert_eq!(parse(&both.to_string()), Ok(both));
        for (wrong, says) in [
            ("ngram", "expected"),
            (
                r#"{"method":"eagle","num_speculative_tokens":4}"#,
                "not eagle",
            ),
            (r#"{"method":"ngram"}"#, "num_speculative_tokens"),
            (
                r#"{"method":"ngram","num_speculative_tokens":0}"#,
                "at least 1",
            ),
            (
                r#"{"method":"ngram","num_speculative_tokens":4,"model":"x"}"#,
                "unknown field",
            ),
            (
                r#"{"method":"ngram","num_speculative_tokens":4,"prompt_lookup_max":2,"prompt_lookup_min":3}"#,
                "from 1 to prompt_lookup_max 2, not 3",
            ),
        ] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            assert!(error.contains("for example"), "{error}");
        }
    }
}
