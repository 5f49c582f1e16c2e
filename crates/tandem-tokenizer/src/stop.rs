//! Stop strings, found across token boundaries.

/// Watches a text for stop strings, holding back only what could still become one.
///
/// The stop string that *ends* first wins; of several that end together, the longest. So the
/// result does not depend on how the text is split into pieces.
#[derive(Debug, Clone)]
pub struct StopMatcher {
    stops: Vec<String>,
    include_stop: bool,
    /// Longest end of the text so far that is the start of a stop string.
    held: String,
}

/// What a piece of text leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopStep {
    /// Text to release, perhaps none yet.
    Text(String),
    /// A stop string occurred: release this text, then stop.
    Stopped {
        /// The rest of the text.
        text: String,
        /// Index of the stop string.
        stop: usize,
    },
}

impl StopMatcher {
    /// Watches for `stops`; with `include_stop` the stop string is part of the text. Empty ones
    /// are ignored.
    pub fn new(stops: Vec<String>, include_stop: bool) -> Self {
        Self {
            stops,
            include_stop,
            held: String::new(),
        }
    }

    /// Takes the next piece of text.
    pub fn push(&mut self, text: &str) -> StopStep {
        if self.held.is_empty() && !self.may_concern(text) {
            return StopStep::Text(text.to_owned());
        }
        self.held.push_str(text);
        let mut text = std::mem::take(&mut self.held);
        if let Some((start, end, stop)) = self.first_match(&text) {
            text.truncate(if self.include_stop { end } else { start });
            return StopStep::Stopped { text, stop };
        }
        self.held = text.split_off(self.release_until(&text));
        StopStep::Text(text)
    }

    /// Returns what is still held back, once no more text comes.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Whether any stop string could start in `text`.
    fn may_concern(&self, text: &str) -> bool {
        let first_bytes = self.stops.iter().filter_map(|stop| stop.as_bytes().first());
        first_bytes
            .into_iter()
            .any(|byte| text.as_bytes().contains(byte))
    }

    /// Start, end and index of the match that ends first, or the longest of those.
    fn first_match(&self, text: &str) -> Option<(usize, usize, usize)> {
        let stops = self
            .stops
            .iter()
            .enumerate()
            .filter(|(_, stop)| !stop.is_empty());
        let matches = stops.filter_map(|(index, stop)| {
            let start = text.find(stop.as_str())?;
            Some((start, start + stop.len(), index))
        });
        matches.min_by_key(|&(start, end, _)| (end, start))
    }

    /// Where the longest end of `text` that could become a stop string begins.
    fn release_until(&self, text: &str) -> usize {
        let starts = text.char_indices().map(|(index, _)| index);
        let could_stop = |start: usize| {
            let end = &text[start..];
            self.stops.iter().any(|stop| stop.starts_with(end))
        };
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let mut starts = starts.skip_while(|start| text.len() - start >= longest);
        starts
            .find(|&start| could_stop(start))
            .unwrap_or(text.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Final text and the stop string, after pushing `pieces` one by one.
    fn run(stops: &[String], include: bool, pieces: &[&str]) -> (String, Option<usize>) {
        let mut matcher = StopMatcher::new(stops.to_vec(), include);
        let mut text = String::new();
        for piece in pieces {
            match matcher.push(piece) {
                StopStep::Text(released) => text.push_str(&released),
                StopStep::Stopped { text: last, stop } => return (text + &last, Some(stop)),
            }
        }
        (text + &matcher.finish(), None)
    }

    fn check(stops: &[&str], include: bool, pieces: &[&str], text: &str, stop: Option<usize>) {
        let stops: Vec<_> = stops.iter().map(|&stop| stop.to_owned()).collect();
        assert_eq!(run(&stops, include, pieces), (text.to_owned(), stop));
    }

    #[test]
    fn a_stop_string_may_span_pieces() {
        check(
            &["\n\nUser:"],
            false,
            &["Hi\n", "\n", "User", ": no"],
            "Hi",
            Some(0),
        );
        check(
            &["\n\nUser:"],
            true,
            &["Hi\n\nUse", "r: no"],
            "Hi\n\nUser:",
            Some(0),
        );
        check(
            &["\n\nUser:"],
            false,
            &["Hi\n\nUse", "d"],
            "Hi\n\nUsed",
            None,
        );
        check(&["END"], false, &["the E", "N"], "the EN", None);
    }

    #[test]
    fn the_match_that_ends_first_wins_and_then_the_longest() {
        check(&["bcd", "c"], false, &["abcd"], "ab", Some(1));
        check(&["c", "bc"], false, &["abc"], "a", Some(1));
        check(&["", "x"], false, &["axb"], "a", Some(1));
        check(&["é!"], false, &["caf", "é", "é", "!"], "café", Some(0));
        check(&["aab"], false, &["aa", "ab"], "a", Some(0));
    }

    #[test]
    fn only_what_could_become_a_stop_string_is_held_back() {
        let mut matcher = StopMatcher::new(vec!["###".to_owned()], false);
        assert_eq!(matcher.push("a b #"), StopStep::Text("a b ".to_owned()));
        assert_eq!(matcher.push("1"), StopStep::Text("#1".to_owned()));
        assert_eq!(matcher.push("##"), StopStep::Text(String::new()));
        assert_eq!(matcher.finish(), "##");
    }

    proptest! {
        #[test]
        fn result_does_not_depend_on_the_split(
            stops in prop::collection::vec("[ab\u{e9}]{0,4}", 0..4),
            text in "[abc\u{e9}]{0,30}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
            include: bool,
        ) {
            let bounds: Vec<_> = text.char_indices().map(|(i, _)| i).chain([text.len()]).collect();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| bounds[cut.index(bounds.len())]).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
            prop_assert_eq!(run(&stops, include, &pieces), run(&stops, include, &[&text]));
        }

        #[test]
        fn without_a_match_the_text_is_unchanged(
            stops in prop::collection::vec("[ab]{1,4}", 0..4),
            pieces in prop::collection::vec("[abc]{0,4}", 0..10),
        ) {
            let pieces: Vec<_> = pieces.iter().map(String::as_str).collect();
            let (text, stop) = run(&stops, false, &pieces);
            let whole = pieces.concat();
            prop_assert_eq!(stop.is_some(), stops.iter().any(|stop| whole.contains(stop)));
            prop_assert!(stop.is_some() || text == whole);
        }
    }
}
