//! Numbers that papers carry: social security number, payment card, IBAN, driver licence.

use regex::Regex;

use super::context::Topic;
use super::{Finding, Kind, Scan, checksum};

#[derive(Debug)]
pub(super) struct Patterns {
    ssn: Regex,
    card: Regex,
    iban: Regex,
    licence: Regex,
}

/// How far before a number the word that names it may stand, in bytes.
const NEAR: usize = 40;

impl Patterns {
    pub(super) fn new() -> Self {
        let compile = |pattern| Regex::new(pattern).expect("the pattern is well formed");
        Self {
            ssn: compile(r"[0-9]{3}(?:-[0-9]{2}-|[ .][0-9]{2}[ .]|[0-9]{2})[0-9]{4}"),
            card: compile(r"[0-9]{3,19}(?:[ \u{a0}.-][0-9]{2,7}){0,6}"),
            iban: compile(r"(?i:[a-z]{2})[0-9]{2}[ -]?[0-9A-Za-z]{2}"),
            licence: compile(
                r"(?x)
                (?i:[a-z])[0-9]{3}-[0-9]{3}-[0-9]{2}-[0-9]{3}-[0-9]   # Florida
                | (?i:[a-z])[0-9]{3}-[0-9]{4}-[0-9]{4}                # Illinois, Wisconsin
                | (?i:[a-z])[0-9]{3}\ [0-9]{3}\ [0-9]{3}\ [0-9]{3} # Minnesota, Maryland
                | [0-9]{2}-[0-9]{3}-[0-9]{4}                          # Colorado
                | [0-9]{3}-[0-9]{2,3}-[0-9]{3,4}
                | (?i:[a-z]){1,3}[0-9]{5,14}(?i:[a-z]){0,2}
                | [0-9]{7,12}(?i:[a-z])?
                ",
            ),
        }
    }

    pub(super) fn find(&self, scan: &Scan<'_>, findings: &mut Vec<Finding>) {
        self.social_security(scan, findings);
        self.cards(scan, findings);
        self.ibans(scan, findings);
        self.licences(scan, findings);
    }

    fn social_security(&self, scan: &Scan<'_>, findings: &mut Vec<Finding>) {
        for found in self.ssn.find_iter(scan.text) {
            let (start, end) = (found.start(), found.end());
            if !scan.stands_alone(start, end)
                || !checksum::is_ssn(&checksum::digits(found.as_str()))
            {
                continue;
            }
            let topic = scan.context.before(start, NEAR);
            let dashed = found.as_str().contains('-');
            let score = match topic {
                Some(Topic::Ssn) => 0.99,
                Some(Topic::Reference | Topic::Version | Topic::Phone | Topic::Licence) => continue,
                _ if dashed => 0.9,
                _ => continue,
            };
            findings.push(Finding {
                kind: Kind::UsSsn,
                start,
                end,
                score,
            });
        }
    }

    fn cards(&self, scan: &Scan<'_>, findings: &mut Vec<Finding>) {
        for found in self.card.find_iter(scan.text) {
            if found.len() < 13 {
                continue;
            }
            let mut rest = found.start();
            for (start, end) in card_candidates(found.as_str()) {
                let (start, end) = (found.start() + start, found.start() + end);
                if start < rest || !scan.stands_alone(start, end) {
                    continue;
                }
                let digits = checksum::digits(&scan.text[start..end]);
                let named = scan.context.is(Topic::Card, start, NEAR);
                let common = matches!(digits.len(), 14..=16);
                if (common || named) && checksum::is_card(&digits) {
                    rest = end;
                    findings.push(Finding {
                        kind: Kind::CreditCard,
                        start,
                        end,
                        score: if named { 0.99 } else { 0.95 },
                    });
                }
            }
        }
    }

    fn ibans(&self, scan: &Scan<'_>, findings: &mut Vec<Finding>) {
        let mut at = 0;
        while let Some(found) = self.iban.find_at(scan.text, at) {
            let start = found.start();
            at = start + 1;
            if !scan.starts_word(start) {
                continue;
            }
            if let Some(end) = iban_end(&scan.text[start..]).map(|len| start + len)
                && scan.ends_word(end)
            {
                at = end;
                findings.push(Finding {
                    kind: Kind::Iban,
                    start,
                    end,
                    score: 0.99,
                });
            }
        }
    }

    fn licences(&self, scan: &Scan<'_>, findings: &mut Vec<Finding>) {
        for found in self.licence.find_iter(scan.text) {
            let (start, end) = (found.start(), found.end());
            if scan.context.is(Topic::Licence, start, 24) && scan.stands_alone(start, end) {
                findings.push(Finding {
                    kind: Kind::UsDriverLicense,
                    start,
                    end,
                    score: 0.85,
                });
            }
        }
    }
}

/// Byte ranges of a run of digit groups that have the layout of a card number: one group, or
/// 4-4-4-4, 4-4-4-4-3, 4-6-5 and 4-6-4 with one separator. Longer ones first at each start.
fn card_candidates(run: &str) -> Vec<(usize, usize)> {
    let mut groups = Vec::new();
    let mut start = 0;
    for (index, c) in run.char_indices() {
        if !c.is_ascii_digit() {
            groups.push((start, index, Some(c)));
            start = index + c.len_utf8();
        }
    }
    groups.push((start, run.len(), None));
    let mut candidates = Vec::new();
    for first in 0..groups.len() {
        for count in [5, 4, 3, 1] {
            let Some(window) = groups.get(first..first + count) else {
                continue;
            };
            let one_separator = window[..count - 1]
                .windows(2)
                .all(|pair| pair[0].2 == pair[1].2);
            let mut lengths = [0; 5];
            for (slot, (start, end, _)) in lengths.iter_mut().zip(window) {
                *slot = end - start;
            }
            let layout = match lengths {
                [4, 4, 4, 4, 0 | 3] | [4, 6, 4 | 5, 0, 0] => true,
                [len, 0, 0, 0, 0] => (13..=19).contains(&len),
                _ => false,
            };
            if one_separator && layout {
                candidates.push((window[0].0, window[count - 1].1));
            }
        }
    }
    candidates
}

/// Length in bytes of the IBAN that the text starts with, blanks and hyphens between the groups
/// included.
fn iban_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let country = [bytes[0].to_ascii_uppercase(), bytes[1].to_ascii_uppercase()];
    let wanted = checksum::iban_len(country)?;
    let mut compact = Vec::with_capacity(wanted);
    let mut joined = false;
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                compact.push(byte.to_ascii_uppercase());
                joined = false;
                if compact.len() == wanted {
                    return checksum::is_iban(&compact).then_some(index + 1);
                }
            }
            b' ' | b'-' if !joined => joined = true,
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_layouts() {
        let check = |run: &str, expect: &[&str]| {
            let found: Vec<_> = card_candidates(run)
                .into_iter()
                .map(|(start, end)| &run[start..end])
                .collect();
            assert_eq!(found, expect, "{run}");
        };
        check("4111 1111 1111 1111", &["4111 1111 1111 1111"]);
        check("12 4111 1111 1111 1111 99", &["4111 1111 1111 1111"]);
        check("3782-822463-10005", &["3782-822463-10005"]);
        check("4111 1111-1111 1111", &[]);
        check("411111 1111111111", &[]);
    }

    #[test]
    fn iban_ends_where_its_country_says() {
        assert_eq!(iban_end("DE89 3704 0044 0532 0130 00 and more"), Some(27));
        assert_eq!(iban_end("DE89370400440532013000"), Some(22));
        assert_eq!(iban_end("DE89  3704 0044 0532 0130 00"), None);
        assert_eq!(iban_end("DE89 3704"), None);
    }
}
