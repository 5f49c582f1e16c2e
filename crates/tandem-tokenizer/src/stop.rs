//! Stop strings, wherever the text is cut into pieces.

/// Looks for stop strings in text that arrives in pieces.
///
/// Text that could still become a stop string is withheld until that is decided, and no other.
#[derive(Debug, Clone)]
pub struct StopMatcher {
    stops: Vec<String>,
    include: bool,
    withheld: String,
}

/// Text that is safe to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopStep {
    /// The text.
    pub text: String,
    /// Whether a stop string is complete: nothing more may be shown.
    pub stopped: bool,
}

impl StopMatcher {
    /// Looks for `stops`; with `include`, the stop string itself is shown.
    pub fn new(stops: &[String], include: bool) -> Self {
        Self {
            stops: stops.to_vec(),
            include,
            withheld: String::new(),
        }
    }

    /// Adds a piece of text.
    pub fn push(&mut self, piece: &str) -> StopStep {
        if self.stops.is_empty() {
            return StopStep {
                text: piece.to_owned(),
                stopped: false,
            };
        }
        let mut text = std::mem::take(&mut self.withheld);
        text.push_str(piece);
        if let Some((start, end)) = self.first_match(&text) {
            text.truncate(if self.include { end } else { start });
            return StopStep {
                text,
                stopped: true,
            };
        }
        let safe = text.len() - self.longest_start(&text);
        self.withheld = text.split_off(safe);
        StopStep {
            text,
            stopped: false,
        }
    }

    /// The withheld text: at the end it cannot become a stop string any more.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.withheld)
    }

    /// The match that is complete first; of those, the one that starts first.
    fn first_match(&self, text: &str) -> Option<(usize, usize)> {
        self.stops
            .iter()
            .filter_map(|stop| {
                text.find(stop.as_str())
                    .map(|start| (start, start + stop.len()))
            })
            .min_by_key(|(start, end)| (*end, *start))
    }

    /// Bytes of the longest end of `text` that is the start of a stop string.
    fn longest_start(&self, text: &str) -> usize {
        let starts = self.stops.iter().map(|stop| {
            stop.char_indices()
                .map(|(at, _)| at)
                .rev()
                .find(|at| text.ends_with(&stop[..*at]))
                .unwrap_or(0)
        });
        starts.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(stops: &[&str], include: bool, pieces: &[&str]) -> (String, bool) {
        let stops: Vec<_> = stops.iter().map(|&stop| stop.to_owned()).collect();
        let mut matcher = StopMatcher::new(&stops, include);
        let mut text = String::new();
        for piece in pieces {
            let step = matcher.push(piece);
            text += &step.text;
            if step.stopped {
                return (text, true);
            }
        }
        text += &matcher.finish();
        (text, false)
    }

    fn check(stops: &[&str], pieces: &[&str], expected: &str, stopped: bool) {
        assert_eq!(
            run(stops, false, pieces),
            (expected.to_owned(), stopped),
            "{pieces:?}"
        );
    }

    #[test]
    fn stop_strings_are_found_across_pieces() {
        check(&["END"], &["abE", "ND more"], "ab", true);
        check(&["END"], &["abE", "N"], "abEN", false);
        check(&["END"], &["EEN", "D"], "E", true);
        check(&["\n\n", "x"], &["a\n", "\nb"], "a", true);
        check(&["日本"], &["a日", "本"], "a", true);
        check(&[], &["a"], "a", false);
    }

    #[test]
    fn the_match_that_is_complete_first_counts() {
        check(&["bcd", "bc"], &["abcd"], "a", true);
        check(&["abcx", "c"], &["ab", "cx"], "ab", true);
    }

    #[test]
    fn the_stop_string_is_shown_when_asked() {
        assert_eq!(
            run(&["END"], true, &["aE", "NDb"]),
            ("aEND".to_owned(), true)
        );
    }

    #[test]
    fn only_what_could_become_a_stop_string_is_withheld() {
        let mut matcher = StopMatcher::new(&["END".to_owned()], false);
        assert_eq!(matcher.push("abcE").text, "abc");
        assert_eq!(matcher.push("xyz").text, "Exyz");
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_the_pieces(
            text in "[ab]{0,24}",
            stops in prop::collection::vec("[ab]{1,4}", 0..3),
            cuts in prop::collection::vec(1_usize..5, 1..24),
        ) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let mut pieces = Vec::new();
            let mut rest = text.as_str();
            let mut cuts = cuts.into_iter().cycle();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            let letters: Vec<_> = text.split_inclusive(|_: char| true).collect();
            prop_assert_eq!(run(&stops, false, &pieces), run(&stops, false, &letters));
        }
    }
}
