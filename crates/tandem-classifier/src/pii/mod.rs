//! Personal data: what patterns and checksums find, what the model finds, and how both become
//! one list of spans.
//!
//! The recognizers need no model. They own the types with a structure (card, IBAN, e-mail, IP
//! address, social security number, phone, domain): what they find there stands, and a model span
//! that fails the checksum falls. The model owns names, places and everything else that only
//! context can tell.

mod address;
mod checksum;
mod context;
mod date;
pub(crate) mod decode;
mod document;
mod merge;
mod network;
mod phone;
#[cfg(test)]
mod tests;

pub use merge::{ModelSpan, merge};

use crate::{PiiSource, PiiSpan};
use context::{Context, Keywords};

/// A type that a recognizer can find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Age of a person.
    Age,
    /// Payment card number.
    CreditCard,
    /// Full date.
    DateTime,
    /// Host name, with its scheme when it has one.
    DomainName,
    /// E-mail address.
    EmailAddress,
    /// International bank account number.
    Iban,
    /// IPv4 or IPv6 address.
    IpAddress,
    /// Phone number.
    PhoneNumber,
    /// Street and number.
    StreetAddress,
    /// Driver licence of a US state.
    UsDriverLicense,
    /// US social security number.
    UsSsn,
    /// Postal code.
    ZipCode,
}

impl Kind {
    /// Label without BIO prefix.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Age => "AGE",
            Self::CreditCard => "CREDIT_CARD",
            Self::DateTime => "DATE_TIME",
            Self::DomainName => "DOMAIN_NAME",
            Self::EmailAddress => "EMAIL_ADDRESS",
            Self::Iban => "IBAN_CODE",
            Self::IpAddress => "IP_ADDRESS",
            Self::PhoneNumber => "PHONE_NUMBER",
            Self::StreetAddress => "STREET_ADDRESS",
            Self::UsDriverLicense => "US_DRIVER_LICENSE",
            Self::UsSsn => "US_SSN",
            Self::ZipCode => "ZIP_CODE",
        }
    }

    /// Whether its form alone identifies it, so that the recognizer overrules the model.
    const fn is_structured(self) -> bool {
        matches!(
            self,
            Self::CreditCard
                | Self::DomainName
                | Self::EmailAddress
                | Self::Iban
                | Self::IpAddress
                | Self::PhoneNumber
                | Self::UsSsn
        )
    }
}

/// Something that a recognizer found; byte offsets at character boundaries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    /// Its type.
    pub kind: Kind,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// How sure the recognizer is, 0 to 1.
    pub score: f32,
}

/// The compiled patterns of all recognizers. Building it takes milliseconds: keep one.
#[derive(Debug)]
pub struct Recognizers {
    keywords: Keywords,
    address: address::Patterns,
    date: date::Patterns,
    document: document::Patterns,
    network: network::Patterns,
    phone: phone::Patterns,
}

impl Default for Recognizers {
    fn default() -> Self {
        Self::new()
    }
}

impl Recognizers {
    /// Compiles the patterns.
    pub fn new() -> Self {
        Self {
            keywords: Keywords::new(),
            address: address::Patterns::new(),
            date: date::Patterns::new(),
            document: document::Patterns::new(),
            network: network::Patterns::new(),
            phone: phone::Patterns::new(),
        }
    }

    /// What the patterns alone find, as an analysis reports it.
    pub fn spans(&self, text: &str) -> Vec<PiiSpan> {
        let findings = self.find(text).into_iter().map(|finding| PiiSpan {
            kind: finding.kind.label().into(),
            start: finding.start,
            end: finding.end,
            score: finding.score,
            source: PiiSource::Recognizer,
        });
        findings.collect()
    }

    /// Finds personal data by pattern, in time linear in the text. The findings are sorted and
    /// do not overlap.
    pub fn find(&self, text: &str) -> Vec<Finding> {
        let scan = Scan {
            text,
            context: self.keywords.scan(text),
        };
        let mut findings = Vec::new();
        self.network.find(&scan, &mut findings);
        self.document.find(&scan, &mut findings);
        self.date.find(&scan, &mut findings);
        self.phone.find(&scan, &mut findings);
        self.address.find(&scan, &mut findings);
        without_overlaps(findings)
    }
}

/// A text together with its keywords.
struct Scan<'a> {
    text: &'a str,
    context: Context,
}

impl Scan<'_> {
    /// Whether nothing that belongs to the candidate stands directly before or after it: no
    /// letter, digit or underscore, and no joining mark that continues it.
    fn stands_alone(&self, start: usize, end: usize) -> bool {
        self.starts_word(start) && self.ends_word(end)
    }

    fn starts_word(&self, start: usize) -> bool {
        let mut before = self.text[..start].chars().rev();
        match before.next() {
            None => true,
            Some(c) if is_word(c) => false,
            Some('-' | '.' | '/' | '#' | ':' | '–') => {
                !before.next().is_some_and(|c| c.is_ascii_digit())
            }
            Some(',') => {
                let in_number = before.next().is_some_and(|c| c.is_ascii_digit());
                !(in_number && starts_with_thousands(&self.text[start..]))
            }
            Some('+' | '$' | '€' | '£') => false,
            Some(_) => true,
        }
    }

    fn ends_word(&self, end: usize) -> bool {
        let mut after = self.text[end..].chars();
        match after.next() {
            None => true,
            Some(c) if is_word(c) => false,
            Some(',') => !starts_with_thousands(after.as_str()),
            Some('-' | '.' | '/' | ':' | '–') => {
                !after.next().is_some_and(|c| c.is_ascii_digit())
            }
            Some('%' | '°') => false,
            Some(_) => true,
        }
    }
}

/// Whether a text starts with exactly three digits, as after the comma of 1,234.
fn starts_with_thousands(text: &str) -> bool {
    text.bytes().take_while(u8::is_ascii_digit).take(4).count() == 3
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Keeps the surest of overlapping findings, then the longest, then the first.
fn without_overlaps(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then_with(|| (b.end - b.start).cmp(&(a.end - a.start)))
            .then_with(|| a.start.cmp(&b.start))
    });
    let mut kept = std::collections::BTreeMap::<usize, Finding>::new();
    for finding in findings {
        let next = kept.range(..finding.end).next_back();
        if next.is_none_or(|(_, other)| other.end <= finding.start) {
            kept.insert(finding.start, finding);
        }
    }
    kept.into_values().collect()
}
