//! From one label distribution per token to spans of the original text.

use std::sync::Arc;

use super::ModelSpan;

/// What the token head says of one token, reduced to what decoding needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TokenTag {
    /// First byte of the token in the text, blanks trimmed.
    pub(crate) start: usize,
    /// One past the last byte; equal to `start` for a token without text.
    pub(crate) end: usize,
    /// Type, if an entity beats "outside".
    pub(crate) kind: Option<u16>,
    /// Whether "inside" is at least as likely as "begin".
    pub(crate) inside: bool,
    /// Probability of the type, begin and inside together.
    pub(crate) mass: f32,
}

/// How to read the token head: its types and their thresholds.
#[derive(Debug, Clone)]
pub(crate) struct Scheme {
    /// Types in alphabetical order.
    pub(crate) kinds: Vec<KindRule>,
    /// Column of "outside".
    pub(crate) outside: Vec<usize>,
    /// An entity must be at least this many times as likely as "outside".
    pub(crate) bias: f32,
    /// Characters trimmed off both ends of a span.
    pub(crate) trim: String,
}

/// One type of a [`Scheme`].
#[derive(Debug, Clone)]
pub(crate) struct KindRule {
    /// Type without prefix.
    pub(crate) label: Arc<str>,
    /// Columns of `B-` labels.
    pub(crate) begin: Vec<usize>,
    /// Columns of `I-` labels.
    pub(crate) inside: Vec<usize>,
    /// Least score of a span.
    pub(crate) threshold: f32,
}

/// Most characters by which a span grows to the ends of its first and last word.
const REPAIR_LIMIT: usize = 64;

impl Scheme {
    /// Builds the scheme of BIO labels; a label without a known prefix counts as inside.
    pub(crate) fn from_labels(labels: &[impl AsRef<str>]) -> Self {
        let mut outside = Vec::new();
        let mut kinds: Vec<KindRule> = Vec::new();
        for (column, label) in labels.iter().enumerate() {
            let label = label.as_ref();
            if matches!(label, "O" | "NO_PII") {
                outside.push(column);
                continue;
            }
            let (prefix, name) = match label.split_at_checked(2) {
                Some((prefix @ ("B-" | "I-" | "E-" | "S-" | "L-" | "U-"), name)) => (prefix, name),
                _ => ("I-", label),
            };
            let slot = match kinds.iter().position(|kind| &*kind.label == name) {
                Some(slot) => slot,
                None => {
                    kinds.push(KindRule {
                        label: name.into(),
                        begin: Vec::new(),
                        inside: Vec::new(),
                        threshold: 0.5,
                    });
                    kinds.len() - 1
                }
            };
            if matches!(prefix, "B-" | "S-" | "U-") {
                kinds[slot].begin.push(column);
            } else {
                kinds[slot].inside.push(column);
            }
        }
        kinds.sort_by(|a, b| a.label.cmp(&b.label));
        Self {
            kinds,
            outside,
            bias: 1.0,
            trim: " \t\r\n,.;:!?\"'()[]{}<>".into(),
        }
    }

    /// Reduces the probabilities of one token.
    pub(crate) fn tag(&self, probabilities: &[f32], start: usize, end: usize) -> TokenTag {
        let sum = |columns: &[usize]| -> f32 { columns.iter().map(|c| probabilities[*c]).sum() };
        let mut best = (0.0, None, false);
        for (index, kind) in self.kinds.iter().enumerate() {
            let (begin, inside) = (sum(&kind.begin), sum(&kind.inside));
            if begin + inside > best.0 {
                let index = u16::try_from(index).expect("a token head has few labels");
                best = (begin + inside, Some(index), inside >= begin);
            }
        }
        let (mass, kind, inside) = best;
        TokenTag {
            start,
            end,
            kind: kind.filter(|_| mass >= sum(&self.outside) * self.bias),
            inside,
            mass,
        }
    }
}

/// Tokens that belong together, before repair and trimming.
struct Open {
    kind: u16,
    start: usize,
    end: usize,
    mass: f32,
    tokens: f32,
}

/// Joins tokens into spans, widens them to whole words, and keeps those above their threshold.
pub(crate) fn decode(text: &str, scheme: &Scheme, tags: &[TokenTag]) -> Vec<ModelSpan> {
    let open = join(text, tags);
    let mut spans = Vec::new();
    let mut previous_end = 0;
    for (index, span) in open.iter().enumerate() {
        let limit = open
            .get(index + 1)
            .map_or(text.len(), |next| next.start.max(span.end));
        let start = widen_left(text, span.start, previous_end.min(span.start));
        let end = widen_right(text, span.end, limit);
        previous_end = end;
        let rule = &scheme.kinds[usize::from(span.kind)];
        let score = span.mass / span.tokens;
        let is_trimmed = |c: char| scheme.trim.contains(c);
        let left = text[start..end].trim_start_matches(is_trimmed);
        let start = end - left.len();
        let end = start + left.trim_end_matches(is_trimmed).len();
        if score >= rule.threshold && start < end {
            spans.push(ModelSpan {
                kind: Arc::clone(&rule.label),
                start,
                end,
                score: score.clamp(0.0, 1.0),
            });
        }
    }
    spans
}

fn join(text: &str, tags: &[TokenTag]) -> Vec<Open> {
    let mut spans: Vec<Open> = Vec::new();
    let mut is_open = false;
    for tag in tags.iter().filter(|tag| tag.start < tag.end) {
        let Some(kind) = tag.kind else {
            is_open = false;
            continue;
        };
        if is_open
            && let Some(span) = spans.last_mut()
            && span.kind == kind
            && (tag.start < span.end
                || (tag.start == span.end && is_inside_word(text, tag.start))
                || tag.inside)
        {
            span.end = span.end.max(tag.end);
            span.mass += tag.mass;
            span.tokens += 1.0;
            continue;
        }
        is_open = true;
        spans.push(Open {
            kind,
            start: tag.start,
            end: tag.end,
            mass: tag.mass,
            tokens: 1.0,
        });
    }
    spans
}

fn is_inside_word(text: &str, at: usize) -> bool {
    let before = text[..at].chars().next_back();
    let after = text[at..].chars().next();
    before.is_some_and(char::is_alphanumeric) && after.is_some_and(char::is_alphanumeric)
}

fn widen_left(text: &str, start: usize, limit: usize) -> usize {
    let mut at = start;
    for _ in 0..REPAIR_LIMIT {
        if at <= limit || !is_inside_word(text, at) {
            break;
        }
        at -= text[..at].chars().next_back().map_or(0, char::len_utf8);
    }
    at
}

fn widen_right(text: &str, end: usize, limit: usize) -> usize {
    let mut at = end;
    for _ in 0..REPAIR_LIMIT {
        if at >= limit || !is_inside_word(text, at) {
            break;
        }
        at += text[at..].chars().next().map_or(0, char::len_utf8);
    }
    at
}
