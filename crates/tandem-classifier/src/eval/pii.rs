//! Span F1 of personal data.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;

use super::data::PiiRow;
use super::metrics::{Counts, mean};
use super::{EvalError, analyze_all};
use crate::{Classifier, Heads, PiiSpan};

/// How well personal data is found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PiiReport {
    /// Rows.
    pub rows: usize,
    /// Over all types.
    pub overall: SpanScore,
    /// Mean over the types of their exact F1.
    pub macro_f1_exact: f64,
    /// Mean over the types of their relaxed F1.
    pub macro_f1_relaxed: f64,
    /// Per type.
    pub by_kind: BTreeMap<String, SpanScore>,
    /// Rows without any personal data.
    pub negatives: usize,
    /// Spans found in those, per 100 of them.
    pub false_spans_per_100_negatives: f64,
}

/// F1 of one type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct SpanScore {
    /// Same type and same bounds.
    pub exact: Score,
    /// Same type and a common character.
    pub relaxed: Score,
    /// Spans in the data.
    pub support: usize,
}

/// Precision, recall and F1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Score {
    /// Share of what was found that is right.
    pub precision: f64,
    /// Share of what is there that was found.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    exact: Counts,
    /// Precision counts found spans, recall counts expected ones.
    relaxed_found: Counts,
    relaxed_expected: Counts,
}

/// Compares found spans with expected ones; only annotated types count.
pub async fn evaluate_pii(
    classifier: &dyn Classifier,
    rows: &[PiiRow],
) -> Result<PiiReport, EvalError> {
    let heads = Heads {
        pii: true,
        ..Heads::default()
    };
    let texts = rows.iter().map(|row| row.text.as_str());
    let answers = analyze_all(classifier, texts, heads).await?;
    let mut tallies = BTreeMap::<String, Tally>::new();
    let (mut negatives, mut false_spans) = (0, 0);
    for (row, answer) in rows.iter().zip(answers) {
        let found = answer.pii.unwrap_or_default();
        if row.spans.is_empty() && row.scope == super::data::Scope::default() {
            negatives += 1;
            false_spans += found.len();
        }
        count(row, &found, &mut tallies);
    }
    let mut total = Tally::default();
    for tally in tallies.values() {
        total.exact.add(tally.exact);
        total.relaxed_found.add(tally.relaxed_found);
        total.relaxed_expected.add(tally.relaxed_expected);
    }
    let by_kind: BTreeMap<_, _> = tallies
        .into_iter()
        .map(|(kind, tally)| (kind, tally.score()))
        .collect();
    let present = || by_kind.values().filter(|score| score.support > 0);
    Ok(PiiReport {
        rows: rows.len(),
        overall: total.score(),
        macro_f1_exact: mean(present().map(|score| score.exact.f1)),
        macro_f1_relaxed: mean(present().map(|score| score.relaxed.f1)),
        negatives,
        false_spans_per_100_negatives: 100.0 * super::metrics::ratio(false_spans, negatives),
        by_kind,
    })
}

fn count(row: &PiiRow, found: &[PiiSpan], tallies: &mut BTreeMap<String, Tally>) {
    let bytes = byte_offsets(&row.text);
    let expected: Vec<(&str, Range<usize>)> = row
        .spans
        .iter()
        .map(|span| {
            let last = bytes.len() - 1;
            let range = bytes[span.start.min(last)]..bytes[span.end.min(last)];
            (span.label.as_str(), range)
        })
        .collect();
    let found: Vec<(&str, Range<usize>)> = found
        .iter()
        .filter(|span| row.scope.contains(&span.kind))
        .map(|span| (&*span.kind, span.start..span.end))
        .collect();
    for (kind, range) in &found {
        let tally = tallies.entry((*kind).to_owned()).or_default();
        if !expected.contains(&(*kind, range.clone())) {
            tally.exact.false_positives += 1;
        }
        if expected.iter().any(|other| touches(other, kind, range)) {
            tally.relaxed_found.true_positives += 1;
        } else {
            tally.relaxed_found.false_positives += 1;
        }
    }
    for (kind, range) in &expected {
        let tally = tallies.entry((*kind).to_owned()).or_default();
        if found.contains(&(*kind, range.clone())) {
            tally.exact.true_positives += 1;
        } else {
            tally.exact.false_negatives += 1;
        }
        if found.iter().any(|other| touches(other, kind, range)) {
            tally.relaxed_expected.true_positives += 1;
        } else {
            tally.relaxed_expected.false_negatives += 1;
        }
    }
}

fn touches(a: &(&str, Range<usize>), kind: &str, range: &Range<usize>) -> bool {
    a.0 == kind && a.1.start < range.end && range.start < a.1.end
}

/// Byte offset of every character, and of the end.
fn byte_offsets(text: &str) -> Vec<usize> {
    let starts = text.char_indices().map(|(index, _)| index);
    starts.chain([text.len()]).collect()
}

impl Tally {
    fn score(&self) -> SpanScore {
        let (precision, recall) = (
            self.relaxed_found.precision(),
            self.relaxed_expected.recall(),
        );
        let sum = precision + recall;
        SpanScore {
            exact: Score {
                precision: self.exact.precision(),
                recall: self.exact.recall(),
                f1: self.exact.f1(),
            },
            relaxed: Score {
                precision,
                recall,
                f1: if sum > 0.0 {
                    2.0 * precision * recall / sum
                } else {
                    0.0
                },
            },
            support: self.exact.true_positives + self.exact.false_negatives,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::PiiSource;

    fn span(kind: &str, start: usize, end: usize) -> PiiSpan {
        PiiSpan {
            kind: Arc::from(kind),
            start,
            end,
            score: 1.0,
            source: PiiSource::Model,
        }
    }

    #[test]
    fn offsets_count_characters_and_scope_hides_types() {
        let row: PiiRow = serde_json::from_str(
            r#"{"text": "é Ann Lee", "scope": ["PERSON"],
                "spans": [{"start": 2, "end": 9, "label": "PERSON"}]}"#,
        )
        .unwrap();
        let mut tallies = BTreeMap::new();
        count(
            &row,
            &[span("PERSON", 3, 10), span("GPE", 0, 2)],
            &mut tallies,
        );
        assert_eq!(tallies.len(), 1);
        assert!((tallies["PERSON"].score().exact.f1 - 1.0).abs() < 1e-9);
        let mut tallies = BTreeMap::new();
        count(&row, &[span("PERSON", 3, 6)], &mut tallies);
        let score = tallies["PERSON"].score();
        assert!(score.exact.f1.abs() < 1e-9);
        assert!((score.relaxed.f1 - 1.0).abs() < 1e-9);
    }
}
