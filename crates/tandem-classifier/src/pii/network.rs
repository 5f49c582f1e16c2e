//! E-mail addresses, IP addresses and host names.

use std::net::{Ipv4Addr, Ipv6Addr};

use regex::Regex;

use super::context::Topic;
use super::{Finding, Kind, Scan, is_word};

#[derive(Debug)]
pub(super) struct Patterns {
    email: Regex,
    ipv4: Regex,
    ipv6: Regex,
    host: Regex,
}

/// Domains that are safe to take from running text without scheme or `www.`: no file extension
/// and no English word among them.
const TLDS: &[&str] = &[
    "ae", "agency", "ai", "app", "ar", "arpa", "au", "biz", "blog", "br", "ca", "ch", "cloud",
    "cn", "co", "com", "cz", "de", "dev", "dk", "edu", "es", "eu", "fi", "fr", "gov", "gr", "hk",
    "hu", "ie", "il", "info", "int", "io", "ir", "jobs", "jp", "kr", "lt", "lu", "mil", "mx",
    "net", "nl", "nz", "online", "org", "pt", "ro", "ru", "se", "sg", "shop", "site", "sk",
    "store", "tech", "tr", "travel", "tv", "tw", "ua", "uk", "us", "website", "xyz", "za",
];

/// Further domains, taken after a scheme, `www.` or a word such as "visit".
const MORE_TLDS: &[&str] = &[
    "am", "as", "at", "be", "bg", "by", "cat", "cc", "cl", "club", "cy", "digital", "email", "fm",
    "gg", "group", "hr", "id", "in", "is", "it", "la", "li", "life", "link", "live", "lv", "ly",
    "md", "me", "media", "mobi", "ms", "museum", "my", "name", "news", "no", "ph", "pk", "pl",
    "pro", "ps", "py", "rs", "sa", "sh", "si", "so", "st", "th", "to", "vn", "world", "ws", "zone",
];

/// Names with a domain's form that are products.
const PRODUCTS: &[&str] = &["asp.net", "vb.net", "ado.net", "paint.net", "ml.net"];

impl Patterns {
    pub(super) fn new() -> Self {
        let compile = |pattern| Regex::new(pattern).expect("the pattern is well formed");
        Self {
            email: compile(
                r"[\p{L}\p{N}_%+](?:[\p{L}\p{N}._%+'-]*[\p{L}\p{N}_%+-])?@(?:[\p{L}\p{N}](?:[\p{L}\p{N}-]*[\p{L}\p{N}])?\.)+\p{L}{2,24}",
            ),
            ipv4: compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"),
            ipv6: compile(r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}(?:\.[0-9]{1,3}){0,3}"),
            host: compile(
                r"(?i:(https?://|ftp://)?(?:[\p{L}\p{N}](?:[\p{L}\p{N}-]*[\p{L}\p{N}])?\.)+([a-z]{2,12}))",
            ),
        }
    }

    pub(super) fn find(&self, scan: &Scan<'_>, findings: &mut Vec<Finding>) {
        self.emails(scan, findings);
        self.ipv4_addresses(scan, findings);
        self.ipv6_addresses(scan, findings);
        self.hosts(scan, findings);
    }

    fn emails(&self, scan: &Scan<'_>, findings: &mut Vec<Finding>) {
        for found in self.email.find_iter(scan.text) {
            let (start, end) = (found.start(), found.end());
            let local = found.as_str().split('@').next().unwrap_or_default();
            let is_git_remote = local == "git" && scan.text[end..].starts_with(':');
            let next = scan.text[end..].chars().next();
            if local.len() <= 64 && !is_git_remote && !next.is_some_and(is_word) {
                findings.push(Finding {
                    kind: Kind::EmailAddress,
                    start,
                    end,
                    score: 0.99,
                });
            }
        }
    }

    fn ipv4_addresses(&self, scan: &Scan<'_>, findings: &mut Vec<Finding>) {
        for found in self.ipv4.find_iter(scan.text) {
            let Ok(address) = found.as_str().parse::<Ipv4Addr>() else {
                continue;
            };
            let before = scan.text[..found.start()].chars().next_back();
            let after = &scan.text[found.end()..];
            let mut after_chars = after.chars();
            let (first, second) = (after_chars.next(), after_chars.next());
            let joined = before.is_some_and(|c| is_word(c) || matches!(c, '.' | '-'))
                || first.is_some_and(is_word)
                || (matches!(first, Some('.' | '-')) && second.is_some_and(is_word));
            let version = scan.context.is(Topic::Version, found.start(), 24);
            let nobody =
                address.is_loopback() || address.is_unspecified() || address.octets()[0] == u8::MAX;
            if !joined && !version && !nobody {
                findings.push(Finding {
                    kind: Kind::IpAddress,
                    start: found.start(),
                    end: found.end(),
                    score: 0.97,
                });
            }
        }
    }

    fn ipv6_addresses(&self, scan: &Scan<'_>, findings: &mut Vec<Finding>) {
        for found in self.ipv6.find_iter(scan.text) {
            let mut candidate = found.as_str();
            // "at fe80::1:" and "see 2001:db8::1." end a clause.
            while let Some(shorter) = candidate.strip_suffix(':') {
                if candidate.ends_with("::") && candidate.parse::<Ipv6Addr>().is_ok() {
                    break;
                }
                candidate = shorter;
            }
            if scan.text[..found.start()].ends_with("//") {
                candidate = without_port(candidate);
            }
            let Ok(address) = candidate.parse::<Ipv6Addr>() else {
                continue;
            };
            let (start, end) = (found.start(), found.start() + candidate.len());
            let before = scan.text[..start].chars().next_back();
            let next = scan.text[end..].chars().next();
            let joined =
                before.is_some_and(|c| is_word(c) || c == ':') || next.is_some_and(is_word);
            let groups = candidate.split(':').filter(|group| !group.is_empty());
            let (count, longest) = groups.fold((0, 0), |(count, longest), group| {
                (count + 1, group.len().max(longest))
            });
            let has_digit = candidate.bytes().any(|byte| byte.is_ascii_digit());
            let shaped = has_digit && (count >= 3 || longest >= 3) && count >= 2;
            let named = count >= 1 && scan.context.is(Topic::Ip, start, 24);
            let nobody = address.is_loopback() || address.is_unspecified();
            if !joined && !nobody && (shaped || named) {
                findings.push(Finding {
                    kind: Kind::IpAddress,
                    start,
                    end,
                    score: 0.97,
                });
            }
        }
    }

    fn hosts(&self, scan: &Scan<'_>, findings: &mut Vec<Finding>) {
        for captures in self.host.captures_iter(scan.text) {
            let (Some(found), Some(tld)) = (captures.get(0), captures.get(2)) else {
                continue;
            };
            let (start, mut end) = (found.start(), found.end());
            let has_scheme = captures.get(1).is_some();
            let rest = &scan.text[end..];
            let next = rest.chars().next();
            let before = scan.text[..start].chars().next_back();
            let joined = before
                .is_some_and(|c| is_word(c) || matches!(c, '@' | '.' | '-' | '/' | '\\' | '$'))
                || next.is_some_and(|c| is_word(c) || matches!(c, '@' | '('))
                || rest.starts_with("-") && rest[1..].starts_with(char::is_alphanumeric);
            let announced = has_scheme
                || found
                    .as_str()
                    .get(..4)
                    .is_some_and(|head| head.eq_ignore_ascii_case("www."))
                || scan.context.is(Topic::Site, start, 16)
                || scan.context.is(Topic::Ip, start, 16);
            if joined
                || !known_tld(tld.as_str(), announced)
                || scan.context.is(Topic::Import, start, 4)
                || PRODUCTS
                    .iter()
                    .any(|name| found.as_str().eq_ignore_ascii_case(name))
            {
                continue;
            }
            let ends_with_slash = rest.starts_with('/')
                && !rest[1..].starts_with(|c: char| {
                    !c.is_whitespace() && !matches!(c, '"' | '\'' | ',' | ')' | '>' | '.' | '?')
                });
            if has_scheme && ends_with_slash {
                end += 1;
            }
            findings.push(Finding {
                kind: Kind::DomainName,
                start,
                end,
                score: if announced { 0.95 } else { 0.85 },
            });
        }
    }
}

/// In `http://2001:db8::1:8080` the last group is a port, although brackets are missing.
fn without_port(candidate: &str) -> &str {
    match candidate.rsplit_once(':') {
        Some((address, port))
            if matches!(port.len(), 2..=5)
                && port.bytes().all(|byte| byte.is_ascii_digit())
                && address.parse::<Ipv6Addr>().is_ok() =>
        {
            address
        }
        _ => candidate,
    }
}

fn known_tld(tld: &str, announced: bool) -> bool {
    let lower = tld.to_ascii_lowercase();
    // "The end.It was late": a domain is written in one case.
    let one_case = tld == lower || tld.bytes().all(|byte| byte.is_ascii_uppercase());
    one_case
        && (TLDS.binary_search(&lower.as_str()).is_ok()
            || announced && MORE_TLDS.binary_search(&lower.as_str()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_lists_are_sorted() {
        assert!(TLDS.is_sorted() && MORE_TLDS.is_sorted());
    }
}
