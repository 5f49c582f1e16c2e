//! One list of spans out of what the model and the recognizers found.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Finding, Kind, checksum, phone};
use crate::{PiiSource, PiiSpan};

/// A span of the model; byte offsets at character boundaries.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpan {
    /// Type without BIO prefix.
    pub kind: Arc<str>,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// 0 to 1.
    pub score: f32,
}

/// Merges spans of the model with findings of the recognizers.
///
/// - A model span whose text cannot be of its type (checksum, issuance rule, syntax) falls.
/// - Where both found the same type, the span is [`PiiSource::Both`]; its bounds are the
///   recognizer's for types with a structure and the model's for all others.
/// - Of different types that overlap, a structured finding beats the model, and the model beats
///   the other findings.
pub fn merge(text: &str, model: Vec<ModelSpan>, findings: &[Finding]) -> Vec<PiiSpan> {
    let mut ranked = Vec::with_capacity(model.len() + findings.len());
    let mut confirmed = vec![false; findings.len()];
    for span in model {
        let partner = overlapping(findings, span.start, span.end)
            .find(|index| findings[*index].kind.label() == &*span.kind);
        match partner {
            Some(index) => {
                if !std::mem::replace(&mut confirmed[index], true) {
                    ranked.push(both(span, &findings[index]));
                }
            }
            None if vetoed(&span.kind, &text[span.start..span.end]) => {}
            None => ranked.extend(model_only(text, span, findings)),
        }
    }
    let alone = findings.iter().zip(&confirmed).filter(|(_, both)| !**both);
    ranked.extend(alone.map(|(finding, _)| recognizer_only(finding)));
    ranked.sort_by(|(rank_a, a), (rank_b, b)| {
        rank_a
            .cmp(rank_b)
            .then_with(|| b.score.total_cmp(&a.score))
            .then_with(|| a.start.cmp(&b.start))
    });
    let mut kept = BTreeMap::<usize, PiiSpan>::new();
    for (_, span) in ranked {
        let previous = kept.range(..span.end).next_back();
        if span.start < span.end && previous.is_none_or(|(_, other)| other.end <= span.start) {
            kept.insert(span.start, span);
        }
    }
    kept.into_values().collect()
}

/// Order in which overlapping spans are admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Structured,
    Model,
    Finding,
}

/// Indices of the findings that overlap a range; findings are sorted and disjoint.
fn overlapping(findings: &[Finding], start: usize, end: usize) -> std::ops::Range<usize> {
    let first = findings.partition_point(|finding| finding.end <= start);
    let last = findings.partition_point(|finding| finding.start < end);
    first..last.max(first)
}

fn both(span: ModelSpan, finding: &Finding) -> (Rank, PiiSpan) {
    let structured = finding.kind.is_structured();
    let (start, end) = if structured {
        (finding.start, finding.end)
    } else {
        (span.start, span.end)
    };
    let rank = if structured {
        Rank::Structured
    } else {
        Rank::Model
    };
    let span = PiiSpan {
        kind: span.kind,
        start,
        end,
        score: 1.0 - (1.0 - span.score) * (1.0 - finding.score),
        source: PiiSource::Both,
    };
    (rank, span)
}

/// A model span, less what a structured finding inside it takes away.
fn model_only(text: &str, span: ModelSpan, findings: &[Finding]) -> Option<(Rank, PiiSpan)> {
    let (mut start, mut end) = (span.start, span.end);
    for finding in &findings[overlapping(findings, start, end)] {
        if !finding.kind.is_structured() {
            continue;
        }
        let before = finding.start.saturating_sub(start);
        let after = end.saturating_sub(finding.end);
        if before >= after {
            end = end.min(finding.start.max(start));
        } else {
            start = start.max(finding.end.min(end));
        }
    }
    let left = &text[start..end];
    let separators = |c: char| c.is_whitespace() || ",.;:!?\"'()[]{}<>-".contains(c);
    if (start, end) != (span.start, span.end) {
        end -= left.len() - left.trim_end_matches(separators).len();
        start += left.len() - left.trim_start_matches(separators).len();
        if end < start + 2 || vetoed(&span.kind, &text[start..end]) {
            return None;
        }
    }
    let span = PiiSpan {
        kind: span.kind,
        start,
        end,
        score: span.score,
        source: PiiSource::Model,
    };
    Some((Rank::Model, span))
}

fn recognizer_only(finding: &Finding) -> (Rank, PiiSpan) {
    let rank = if finding.kind.is_structured() {
        Rank::Structured
    } else {
        Rank::Finding
    };
    let span = PiiSpan {
        kind: finding.kind.label().into(),
        start: finding.start,
        end: finding.end,
        score: finding.score,
        source: PiiSource::Recognizer,
    };
    (rank, span)
}

/// Whether a text cannot be of a type.
fn vetoed(kind: &str, text: &str) -> bool {
    let is = |other: Kind| other.label() == kind;
    if is(Kind::CreditCard) {
        !checksum::is_card(&checksum::digits(text))
    } else if is(Kind::UsSsn) {
        !checksum::is_ssn(&checksum::digits(text))
    } else if is(Kind::Iban) {
        let compact: Vec<u8> = text
            .bytes()
            .filter(u8::is_ascii_alphanumeric)
            .map(|byte| byte.to_ascii_uppercase())
            .collect();
        !checksum::is_iban(&compact)
    } else if is(Kind::EmailAddress) {
        !text.contains('@')
    } else if is(Kind::IpAddress) {
        let host = text.trim_matches(['[', ']']).split(['/', '%']).next();
        host.is_none_or(|host| host.parse::<std::net::IpAddr>().is_err())
    } else if is(Kind::DomainName) {
        !text.contains('.') || text.contains('@')
    } else if is(Kind::PhoneNumber) {
        !phone::plausible(text)
    } else if is(Kind::ZipCode) || is(Kind::UsDriverLicense) {
        !text.bytes().any(|byte| byte.is_ascii_digit())
    } else {
        false
    }
}
