//! Postal codes and US street addresses.

use regex::Regex;

use super::context::Topic;
use super::{Finding, Kind, Scan};

#[derive(Debug)]
pub(super) struct Patterns {
    zip: Regex,
    postcode: Regex,
    street: Regex,
}

impl Patterns {
    pub(super) fn new() -> Self {
        let compile = |pattern| Regex::new(pattern).expect("the pattern is well formed");
        Self {
            zip: compile(r"[0-9]{5}(?:-[0-9]{4})?"),
            postcode: compile(
                r"(?i:[a-ceghj-npr-tvxy][0-9][a-ceghj-npr-tv-z] ?[0-9][a-ceghj-npr-tv-z][0-9]|[a-z]{1,2}[0-9][a-z0-9]? [0-9][a-z]{2})",
            ),
            street: compile(
                r"(?x)
                [0-9]{1,6}\ (?:(?:N|S|E|W|North|South|East|West)\.?\ )?(?:[A-Z0-9][\p{L}0-9'.-]*\ ){1,3}
                (?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Way|Place|Pl|
                   Terrace|Circle|Cir|Highway|Hwy|Parkway|Pkwy|Square|Trail|Plaza)\b
                (?:\.?,?\ (?:Apt|Apartment|Suite|Ste|Unit|Floor|\#)\.?\ ?[0-9A-Za-z-]{1,6})?
                (?:(?:,\ |\n)(?:[A-Z][\p{L}.'-]*\ ?){1,3},\ [A-Z]{2}\ [0-9]{5}(?:-[0-9]{4})?)?
                ",
            ),
        }
    }

    pub(super) fn find(&self, scan: &Scan<'_>, findings: &mut Vec<Finding>) {
        for found in self.zip.find_iter(scan.text) {
            let (start, end) = (found.start(), found.end());
            if !scan.stands_alone(start, end) {
                continue;
            }
            let score = match scan.context.before(start, 24) {
                Some(Topic::Zip) => 0.95,
                Some(_) => continue,
                None if found.len() == 10 => 0.75,
                None => continue,
            };
            findings.push(zip(start, end, score));
        }
        for found in self.postcode.find_iter(scan.text) {
            let (start, end) = (found.start(), found.end());
            if !scan.stands_alone(start, end) {
                continue;
            }
            let upper = !found.as_str().bytes().any(|byte| byte.is_ascii_lowercase());
            let spaced = found.as_str().contains(' ');
            let score = match scan.context.before(start, 24) {
                Some(Topic::Zip) => 0.95,
                Some(_) => continue,
                None if upper && spaced => 0.7,
                None => continue,
            };
            findings.push(zip(start, end, score));
        }
        for found in self.street.find_iter(scan.text) {
            let (start, end) = (found.start(), found.end());
            if scan.starts_word(start) {
                findings.push(Finding {
                    kind: Kind::StreetAddress,
                    start,
                    end,
                    score: 0.8,
                });
            }
        }
    }
}

fn zip(start: usize, end: usize, score: f32) -> Finding {
    Finding {
        kind: Kind::ZipCode,
        start,
        end,
        score,
    }
}
