//! Full calendar dates, and ages where the words around leave no doubt.

use regex::Regex;

use super::{Finding, Kind, Scan, checksum};

#[derive(Debug)]
pub(super) struct Patterns {
    numeric: Regex,
    written: Regex,
    age: Regex,
}

const MONTH: &str = "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)";
const DAY: &str = "(?:0?[1-9]|[12][0-9]|3[01])(?:st|nd|rd|th)?";
const YEAR: &str = "(?:1[89]|20)[0-9]{2}";

impl Patterns {
    pub(super) fn new() -> Self {
        let compile = |pattern: &str| Regex::new(pattern).expect("the pattern is well formed");
        Self {
            numeric: compile(
                r"[0-9]{1,4}(?:-[0-9]{1,2}-|/[0-9]{1,2}/|\.[0-9]{1,2}\.)[0-9]{1,4}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?Z?)?",
            ),
            written: compile(&format!(
                r"(?i:{MONTH}\.? {DAY},? {YEAR}|{DAY} (?:of )?{MONTH}\.?,? {YEAR})(?:,? at [0-9]{{1,2}}:[0-9]{{2}})?"
            )),
            age: compile(
                r"(?i:(?:i am|i'm|i’m|he is|she is|he's|she's|aged?:?|turns|turned) (?:only |now |about )?)([0-9]{1,3})(?i:(?: |-)(?:years?|yrs?)(?: |-)olds?| y/?o\b|[,.;)\n]|$| and )",
            ),
        }
    }

    pub(super) fn find(&self, scan: &Scan<'_>, findings: &mut Vec<Finding>) {
        for found in self.numeric.find_iter(scan.text) {
            let (start, end) = (found.start(), found.end());
            if is_date(found.as_str()) && scan.stands_alone(start, end) {
                findings.push(Finding {
                    kind: Kind::DateTime,
                    start,
                    end,
                    score: 0.85,
                });
            }
        }
        for found in self.written.find_iter(scan.text) {
            let (start, end) = (found.start(), found.end());
            if scan.stands_alone(start, end) {
                findings.push(Finding {
                    kind: Kind::DateTime,
                    start,
                    end,
                    score: 0.9,
                });
            }
        }
        for captures in self.age.captures_iter(scan.text) {
            let Some(age) = captures.get(1) else { continue };
            let before = captures.get(0).map_or(0, |whole| whole.start());
            if age.as_str().parse::<u32>().is_ok_and(|years| years <= 120)
                && scan.starts_word(before)
            {
                findings.push(Finding {
                    kind: Kind::Age,
                    start: age.start(),
                    end: age.end(),
                    score: 0.8,
                });
            }
        }
    }
}

/// Whether the text starts like a numeric date with a four-digit year: year-month-day,
/// day-month-year or month-day-year.
pub(super) fn is_date(text: &str) -> bool {
    let date = text.split(['T', ' ']).next().unwrap_or_default();
    let Some(separator) = date.chars().find(|c| !c.is_ascii_digit()) else {
        return false;
    };
    if !matches!(separator, '-' | '/' | '.') {
        return false;
    }
    let mut parts = date.split(separator).map(|part| {
        (
            part.len(),
            checksum::digits(part).iter().fold(0_u32, |acc, digit| {
                acc.saturating_mul(10).saturating_add(u32::from(*digit))
            }),
        )
    });
    let (Some(a), Some(b), Some(c), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let year = |part: (usize, u32)| part.0 == 4 && (1800..=2100).contains(&part.1);
    let month = |part: (usize, u32)| part.0 <= 2 && (1..=12).contains(&part.1);
    let day = |part: (usize, u32)| part.0 <= 2 && (1..=31).contains(&part.1);
    (year(a) && month(b) && day(c)) || (year(c) && (month(a) && day(b) || day(a) && month(b)))
}
