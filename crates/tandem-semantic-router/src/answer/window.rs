//! One text of a streamed answer: what of it is known to be harmless, and what is not yet.

use std::ops::Range;
use std::sync::Arc;

use tandem_classifier::PiiSpan;

/// Text that waits for the end of its sentence is looked at when it is this long.
const LONGEST_WAIT: usize = 192;

/// Then the end of it still waits: it may be the beginning of something.
const TAIL: usize = 64;

/// Text in which one finding never ends is let go, without the finding, when it is this long.
const LONGEST_FINDING: usize = 4096;

/// Text that has been let go and is shown again with what follows, so that both are understood.
const CONTEXT: usize = 512;

/// One text of a streamed answer. Positions count from its beginning.
#[derive(Debug, Default)]
pub(super) struct Window {
    context: String,
    pending: String,
    /// Where `pending` begins: everything before may go on.
    cleared: usize,
    /// How much of `pending` was to be let go the last time, in vain.
    tried: usize,
    /// What must be replaced, in order.
    findings: Vec<Finding>,
}

/// Something to replace.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    range: Range<usize>,
    kind: Arc<str>,
}

/// A part of a window that is being looked at.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// The text, with some of what is before it.
    pub(super) text: Arc<str>,
    /// Bytes that are before it.
    before: usize,
    /// Bytes after those that may go on if nothing is found.
    cut: usize,
}

impl Window {
    /// Appends `text`; where it is.
    pub(super) fn push(&mut self, text: &str) -> Range<usize> {
        let start = self.cleared + self.pending.len();
        self.pending.push_str(text);
        start..start + text.len()
    }

    /// What should be looked at now, if anything.
    pub(super) fn due(&self) -> Option<View> {
        if self.pending.len() >= LONGEST_FINDING {
            return self.all();
        }
        if let Some(cut) = sentence_end(&self.pending).filter(|cut| *cut > self.tried) {
            return Some(self.view(cut));
        }
        let waited = self.pending.len() >= self.tried + LONGEST_WAIT;
        waited.then(|| self.view(word_end(&self.pending, self.pending.len() - TAIL)))
    }

    /// All that has not been looked at, since nothing follows.
    pub(super) fn all(&self) -> Option<View> {
        (!self.pending.is_empty()).then(|| self.view(self.pending.len()))
    }

    fn view(&self, cut: usize) -> View {
        View {
            text: format!("{}{}", self.context, self.pending).into(),
            before: self.context.len(),
            cut,
        }
    }

    /// Lets go what of `view` is not in the midst of a finding. `findings` are those of its text.
    pub(super) fn settle(&mut self, view: &View, findings: &[&PiiSpan]) {
        let local = findings.iter().filter_map(|span| {
            let start = span.start.saturating_sub(view.before);
            let end = span.end.checked_sub(view.before)?;
            (start < end).then_some((start..end, &span.kind))
        });
        let mut cut = view.cut;
        let complete = cut == self.pending.len();
        let mut settled: Vec<Finding> = Vec::new();
        for (range, kind) in local {
            if range.end > cut || (range.end == cut && !complete) {
                cut = cut.min(range.start);
                break;
            }
            settled.push(Finding {
                range: self.cleared + range.start..self.cleared + range.end,
                kind: Arc::clone(kind),
            });
        }
        self.findings.append(&mut settled);
        self.tried = view.cut - cut;
        self.cleared += cut;
        self.context.extend(self.pending.drain(..cut));
        let surplus = self.context.len().saturating_sub(CONTEXT);
        self.context
            .drain(..ceil_char_boundary(&self.context, surplus));
    }

    /// How far the text may go on.
    pub(super) fn cleared(&self) -> usize {
        self.cleared
    }

    /// Whether something in the text at `range` must be replaced.
    pub(super) fn has_findings(&self, range: &Range<usize>) -> bool {
        let overlaps =
            |finding: &Finding| finding.range.start < range.end && finding.range.end > range.start;
        self.findings.iter().any(overlaps)
    }

    /// The text at `range` without what was found in it, if something was. A finding over several
    /// pieces is replaced in the first.
    pub(super) fn replace(&mut self, range: &Range<usize>, text: &str) -> Option<String> {
        self.findings
            .retain(|finding| finding.range.end > range.start);
        let mut out = String::new();
        let mut done = range.start;
        let mut changed = false;
        for finding in &self.findings {
            if finding.range.start >= range.end {
                break;
            }
            let start = finding.range.start.max(range.start);
            out.push_str(&text[done - range.start..start - range.start]);
            if finding.range.start >= range.start {
                out.push('[');
                out.push_str(&finding.kind);
                out.push(']');
            }
            done = finding.range.end.min(range.end);
            changed = true;
        }
        out.push_str(&text[done - range.start..]);
        changed.then_some(out)
    }
}

/// Where the last sentence of `text` that has an end ends, with the space after it.
fn sentence_end(text: &str) -> Option<usize> {
    let mut end = None;
    let mut over = false;
    for (at, one) in text.char_indices() {
        let next = at + one.len_utf8();
        let space = one.is_whitespace();
        over = one == '\n' || (over && space) || matches!(one, '.' | '!' | '?' | ';');
        if matches!(one, '。' | '！' | '？' | '；') || (over && space) {
            over = true;
            end = Some(next);
        }
    }
    end
}

/// Where the last word ends before `limit`, or `limit` if that is one word.
fn word_end(text: &str, limit: usize) -> usize {
    let limit = text.floor_char_boundary(limit);
    let space = text[..limit].rfind(char::is_whitespace);
    space.filter(|at| *at > 0).unwrap_or(limit)
}

fn ceil_char_boundary(text: &str, at: usize) -> usize {
    (at..=text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tandem_classifier::PiiSource;

    use super::*;

    /// Every run of digits is a number.
    fn numbers(text: &str) -> Vec<PiiSpan> {
        let runs = regex::Regex::new(r"\d+").unwrap();
        let spans = runs.find_iter(text).map(|found| PiiSpan {
            kind: "N".into(),
            start: found.start(),
            end: found.end(),
            score: 1.0,
            source: PiiSource::Recognizer,
        });
        spans.collect()
    }

    fn settle(window: &mut Window, view: Option<View>) {
        if let Some(view) = view {
            let spans = numbers(&view.text);
            window.settle(&view, &spans.iter().collect::<Vec<_>>());
        }
    }

    /// What goes on of a text that comes in pieces, and after how many of them each piece does.
    fn pass(pieces: &[&str]) -> (String, Vec<usize>) {
        let mut window = Window::default();
        let mut out = String::new();
        let mut held: Vec<(Range<usize>, &str)> = Vec::new();
        let mut waits = Vec::new();
        for (at, piece) in pieces.iter().enumerate() {
            held.push((window.push(piece), piece));
            let last = at + 1 == pieces.len();
            let view = if last { window.all() } else { window.due() };
            settle(&mut window, view);
            while let Some((range, piece)) = held.first().cloned()
                && range.end <= window.cleared()
            {
                held.remove(0);
                waits.push(at);
                let replaced = window.replace(&range, piece);
                out.push_str(replaced.as_deref().unwrap_or(piece));
            }
        }
        assert!(held.is_empty());
        (out, waits)
    }

    #[test]
    fn text_waits_for_the_end_of_its_sentence() {
        let (text, waits) = pass(&[
            "Call ", "5", "55 now. ", "Or ", "not.", " It is 3", ".", "14",
        ]);
        assert_eq!(text, "Call [N] now. Or not. It is [N].[N]");
        assert_eq!(waits, [2, 2, 2, 5, 5, 7, 7, 7]);
    }

    #[test]
    fn long_sentences_go_on_by_words() {
        let word = "word ".repeat(5);
        let pieces = vec![word.as_str(); 20];
        let (text, waits) = pass(&pieces);
        assert_eq!(text, pieces.concat());
        assert!(waits[0] <= LONGEST_WAIT / word.len(), "{waits:?}");
        assert!(waits[10] < 19, "{waits:?}");
    }

    #[test]
    fn a_finding_that_never_ends_is_let_go_in_time() {
        let pieces = vec!["1234567890"; 1000];
        let (text, waits) = pass(&pieces);
        assert!(text.starts_with("[N]"), "{text}");
        assert!(!text.contains('1'), "{text}");
        assert!(waits[0] <= LONGEST_FINDING / 10, "{}", waits[0]);
    }

    proptest! {
        #[test]
        fn every_split_gives_the_same_text(cuts in prop::collection::vec(0..60_usize, 0..8)) {
            let text = "Grüße an 123 und 4567.\nDie 89, 10. 11! Ende; 12 sind 13。14";
            let want = regex::Regex::new(r"\d+").unwrap().replace_all(text, "[N]");
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| text.floor_char_boundary(*cut)).collect();
            cuts.push(text.len());
            cuts.sort_unstable();
            let mut from = 0;
            let pieces = cuts.iter().map(|cut| &text[std::mem::replace(&mut from, *cut)..*cut]);
            let (got, _) = pass(&pieces.collect::<Vec<_>>());
            prop_assert_eq!(got, want);
        }
    }
}
