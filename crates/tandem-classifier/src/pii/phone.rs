//! Phone numbers: international, North American and the common national formats.

use regex::Regex;

use super::context::Topic;
use super::{Finding, Kind, Scan, checksum, date};

#[derive(Debug)]
pub(super) struct Patterns {
    international: Regex,
    north_american: Regex,
    national: Regex,
    announced: Regex,
}

const EXTENSION: &str = r"(?:,? ?(?i:ext\.?|x|extension) ?[0-9]{1,6})?";

impl Patterns {
    pub(super) fn new() -> Self {
        let compile = |pattern: &str| {
            Regex::new(&format!("{pattern}{EXTENSION}")).expect("the pattern is well formed")
        };
        Self {
            international: compile(r"\+[0-9]{1,3}(?:[ .\u{a0}/-]?\(?[0-9]{1,12}\)?){1,6}"),
            north_american: compile(
                r"(?:1[ .-]?)?(?:\([2-9][0-9]{2}\)[ -]?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}",
            ),
            national: compile(
                r"(?:\(0[0-9]{2,4}\) ?[0-9]{3,4}[ -]?[0-9]{3,5}|0[0-9]{2,4}[ /][0-9]{3,4} ?[0-9]{3,4}|0[1-9](?:[ .][0-9]{2}){4})",
            ),
            announced: compile(r"\(?[0-9]{2,12}\)?(?:[ .\u{a0}/-][0-9]{2,10}){0,5}"),
        }
    }

    pub(super) fn find(&self, scan: &Scan<'_>, findings: &mut Vec<Finding>) {
        let mut add = |start: usize, end: usize, score: f32| {
            findings.push(Finding {
                kind: Kind::PhoneNumber,
                start,
                end,
                score,
            });
        };
        for found in self.international.find_iter(scan.text) {
            let (start, end) = trim(scan.text, found.start(), found.end());
            let digits = subscriber_digits(&scan.text[start..end]);
            if (8..=15).contains(&digits.len())
                && country_code(&digits)
                && scan.stands_alone(start, end)
            {
                add(start, end, 0.95);
            }
        }
        for found in self.north_american.find_iter(scan.text) {
            let (start, end) = (found.start(), found.end());
            if scan.stands_alone(start, end) && !is_reference(scan, start) {
                add(start, end, 0.88);
            }
        }
        for found in self.national.find_iter(scan.text) {
            let (start, end) = (found.start(), found.end());
            let digits = subscriber_digits(found.as_str());
            if (10..=11).contains(&digits.len())
                && scan.stands_alone(start, end)
                && !is_reference(scan, start)
            {
                add(start, end, 0.8);
            }
        }
        for found in self.announced.find_iter(scan.text) {
            let (start, end) = trim(scan.text, found.start(), found.end());
            let reach = if is_subscriber(&scan.text[start..end]) {
                120
            } else {
                20
            };
            let announced = scan.context.is(Topic::Phone, start, reach)
                || reach > 20 && calls_it_number(scan, start, end);
            if announced && scan.stands_alone(start, end) && plausible(&scan.text[start..end]) {
                add(start, end, 0.8);
            }
        }
    }
}

/// Whether the span of a model can be a phone number.
pub(super) fn plausible(text: &str) -> bool {
    let digits = subscriber_digits(text);
    let is_isbn = digits.len() == 13 && digits.starts_with(&[9, 7]) && !text.starts_with('+');
    (7..=15).contains(&digits.len()) && !is_isbn && !date::is_date(text)
}

/// Whether the text is ten digits that can be a North American number.
fn is_subscriber(text: &str) -> bool {
    matches!(text.as_bytes(), [b'2'..=b'9', _, _, b'2'..=b'9', rest @ ..]
        if rest.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a candidate without any keyword before it is called a number soon after.
fn calls_it_number(scan: &Scan<'_>, start: usize, end: usize) -> bool {
    let after = &scan.text[end..scan
        .text
        .ceil_char_boundary(end.saturating_add(24).min(scan.text.len()))];
    scan.context.before(start, 40).is_none() && after.contains(" number")
}

/// The digits before an extension.
fn subscriber_digits(text: &str) -> Vec<u8> {
    let number = text
        .find(['e', 'E', 'x', 'X'])
        .map_or(text, |at| &text[..at]);
    checksum::digits(number)
}

fn is_reference(scan: &Scan<'_>, start: usize) -> bool {
    matches!(
        scan.context.before(start, 24),
        Some(Topic::Reference | Topic::Version | Topic::Card | Topic::Ssn | Topic::Licence)
    )
}

/// Drops an opening bracket that nothing closes and the other way round.
fn trim(text: &str, mut start: usize, mut end: usize) -> (usize, usize) {
    let span = &text[start..end];
    if span.starts_with('(') && !span.contains(')') {
        start += 1;
    }
    if span.ends_with(')') && !span.contains('(') {
        end -= 1;
    }
    (start, end)
}

/// Whether the number starts with an assigned ITU country code.
fn country_code(digits: &[u8]) -> bool {
    match digits {
        [1 | 7, ..] => true,
        [2, second, ..] => !matches!(second, 8),
        [3, second, ..] => *second <= 9,
        [4, second, ..] | [5, second, ..] => *second <= 9,
        [6, second, ..] => *second <= 9,
        [8, second, ..] => matches!(second, 0..=2 | 4..=6 | 8),
        [9, second, ..] => matches!(second, 0..=6 | 8..=9),
        _ => false,
    }
}
