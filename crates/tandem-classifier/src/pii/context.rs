//! Words that say what the number after them is.
//!
//! "Tracking 4268348582341536" and "card 4268348582341536" differ only in the word before. All
//! keywords of a text are found in one pass; a recognizer then asks for the nearest one.

use aho_corasick::{AhoCorasick, MatchKind};

/// What a keyword announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    Age,
    Card,
    Import,
    Ip,
    Licence,
    Phone,
    /// An identifier that is nobody's: order, case, serial number.
    Reference,
    Site,
    Ssn,
    Version,
    Zip,
}

const KEYWORDS: &[(Topic, &[&str])] = &[
    (Topic::Age, &["age", "aged"]),
    (
        Topic::Card,
        &[
            "card",
            "cards",
            "creditcard",
            "visa",
            "mastercard",
            "amex",
            "american express",
            "debit",
            "cc",
            "diners",
            "discover",
            "jcb",
            "maestro",
        ],
    ),
    (
        Topic::Import,
        &["import", "package", "namespace", "using", "require"],
    ),
    (
        Topic::Ip,
        &[
            "ip",
            "ips",
            "ip address",
            "ip addresses",
            "ipv4",
            "ipv6",
            "host",
            "hosts",
            "server",
            "servers",
            "ping",
            "ssh",
            "subnet",
            "gateway",
            "client",
            "login",
            "firewall",
            "addr",
        ],
    ),
    (
        Topic::Licence,
        &[
            "license",
            "licence",
            "license number",
            "licence number",
            "license no",
            "driver",
            "drivers",
            "driver's",
            "dl",
            "dln",
            "driving licence",
            "driving license",
        ],
    ),
    (
        Topic::Phone,
        &[
            "phone",
            "phones",
            "telephone",
            "tel",
            "mobile",
            "cell",
            "cellphone",
            "call",
            "calls",
            "text",
            "fax",
            "dial",
            "whatsapp",
            "sms",
            "contact",
            "reach",
            "ring",
            "hotline",
            "the number",
            "a number",
            "my number",
            "his number",
            "her number",
            "number for",
            "phone number",
            "mobile number",
            "cell number",
            "telefon",
            "téléphone",
            "teléfono",
            "handy",
            "voicemail",
            "signal",
        ],
    ),
    (
        Topic::Reference,
        &[
            "order",
            "order number",
            "orders",
            "tracking",
            "tracking number",
            "isbn",
            "issn",
            "part",
            "part number",
            "serial",
            "serial number",
            "batch",
            "case",
            "case number",
            "ticket",
            "ticket number",
            "flight",
            "invoice",
            "invoice number",
            "reference",
            "reference number",
            "ref",
            "upc",
            "ean",
            "sku",
            "model",
            "error",
            "error code",
            "doi",
            "uuid",
            "guid",
            "population",
            "request",
            "confirmation",
            "confirmation number",
            "item",
            "lot",
            "imei",
            "transaction",
            "coordinates",
            "id",
            "po",
            "checksum",
            "hash",
            "commit",
            "barcode",
            "code",
            "parameters",
            "timestamp",
            "port",
            "pid",
            "line",
            "page",
            "revert",
            "where id",
            "plate",
            "license plate",
            "license key",
            "licence key",
            "licence plate",
            "software license",
            "medical license",
            "product key",
            "convert",
            "total",
            "dimensions",
        ],
    ),
    (
        Topic::Site,
        &[
            "visit", "whois", "domain", "domains", "website", "site", "url", "dns", "browse",
            "homepage", "web", "hostname", "resolve", "nslookup", "dig", "curl",
        ],
    ),
    (
        Topic::Ssn,
        &[
            "ssn",
            "social security",
            "social-security",
            "social security number",
            "social security no",
            "soc sec",
            "socialsecurity",
            "tax id",
            "taxpayer",
            "itin",
            "social_security",
            "social security #",
            "ss#",
        ],
    ),
    (
        Topic::Version,
        &[
            "version",
            "versions",
            "ver",
            "release",
            "build",
            "upgrade",
            "upgraded",
            "downgrade",
            "section",
            "chapter",
            "clause",
            "rfc",
            "firmware",
            "revision",
            "rev",
            "oid",
            "docker",
            "tag",
            "driver version",
            "kernel",
            "figure",
            "paragraph",
            "patch",
            "update to",
        ],
    ),
    (
        Topic::Zip,
        &[
            "zip",
            "zipcode",
            "zip code",
            "zip-code",
            "postal",
            "postal code",
            "postcode",
            "post code",
            "zip_code",
            "postal_code",
            "plz",
            "code postal",
        ],
    ),
];

/// Finds keywords.
#[derive(Debug)]
pub(super) struct Keywords {
    matcher: AhoCorasick,
    topics: Vec<Topic>,
}

/// The keywords of one text, by position.
#[derive(Debug)]
pub(super) struct Context {
    /// Where each keyword ends, ascending.
    ends: Vec<usize>,
    topics: Vec<Topic>,
}

impl Keywords {
    pub(super) fn new() -> Self {
        let words = KEYWORDS.iter().flat_map(|(_, words)| words.iter());
        let topics = KEYWORDS
            .iter()
            .flat_map(|(topic, words)| words.iter().map(|_| *topic))
            .collect();
        let matcher = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .build(words)
            .expect("the keyword list is small enough for an automaton");
        Self { matcher, topics }
    }

    pub(super) fn scan(&self, text: &str) -> Context {
        let mut context = Context {
            ends: Vec::new(),
            topics: Vec::new(),
        };
        for found in self.matcher.find_iter(text) {
            let before = text[..found.start()].chars().next_back();
            let after = text[found.end()..].chars().next();
            let inside_word =
                before.is_some_and(char::is_alphanumeric) || after.is_some_and(char::is_alphabetic);
            if !inside_word {
                context.ends.push(found.end());
                context.topics.push(self.topics[found.pattern().as_usize()]);
            }
        }
        context
    }
}

impl Context {
    /// The nearest keyword that ends at most `reach` bytes before `start`.
    pub(super) fn before(&self, start: usize, reach: usize) -> Option<Topic> {
        let after = self.ends.partition_point(|end| *end <= start);
        let nearest = after.checked_sub(1)?;
        (start - self.ends[nearest] <= reach).then(|| self.topics[nearest])
    }

    /// Whether the nearest keyword within `reach` bytes is about `topic`.
    pub(super) fn is(&self, topic: Topic, start: usize, reach: usize) -> bool {
        self.before(start, reach) == Some(topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_keyword_wins() {
        let keywords = Keywords::new();
        let check = |text: &str, expect: Option<Topic>| {
            let start = text.find(|c: char| c.is_ascii_digit()).unwrap();
            assert_eq!(keywords.scan(text).before(start, 40), expect, "{text}");
        };
        check("my tax ID got mixed up with my SSN 1", Some(Topic::Ssn));
        check("the phone number is 1", Some(Topic::Phone));
        check("order number 1", Some(Topic::Reference));
        check("Call about the order: 1", Some(Topic::Reference));
        check("border 1", None);
        check("PHONE='1", Some(Topic::Phone));
        check("license plate 1", Some(Topic::Reference));
    }

    #[test]
    fn far_keywords_do_not_count() {
        let context = Keywords::new().scan("ssn                     1");
        assert_eq!(context.before(24, 10), None);
        assert!(context.is(Topic::Ssn, 24, 40));
    }
}
