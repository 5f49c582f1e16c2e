//! The endpoints that a proxy allows for a request.

/// Endpoints of which one must be picked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointSubset {
    /// Addresses with or without a port.
    entries: Vec<String>,
}

impl EndpointSubset {
    /// The endpoints in `lists`, each of which names one or several with commas between them.
    pub fn new<'a>(lists: impl IntoIterator<Item = &'a str>) -> Self {
        let entries = lists.into_iter().flat_map(|list| list.split(','));
        let entries = entries.map(str::trim).filter(|entry| !entry.is_empty());
        Self {
            entries: entries.map(str::to_owned).collect(),
        }
    }

    /// Whether `endpoint`, an `ip:port`, is one of them. An address without a port allows all of
    /// its ports.
    pub fn allows(&self, endpoint: &str) -> bool {
        let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
        let mut entries = self.entries.iter();
        entries.any(|entry| entry == endpoint || without_brackets(entry) == without_brackets(host))
    }
}

/// The address in `[address]`, the form that IPv6 addresses have before a port.
fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_optional() {
        let check = |lists: &[&str], endpoint: &str, want: bool| {
            let subset = EndpointSubset::new(lists.iter().copied());
            assert_eq!(subset.allows(endpoint), want, "{lists:?} {endpoint}");
        };
        check(&["10.0.0.1:80"], "10.0.0.1:80", true);
        check(&["10.0.0.1:80"], "10.0.0.1:81", false);
        check(&["10.0.0.1"], "10.0.0.1:81", true);
        check(&["10.0.0.1"], "10.0.0.10:81", false);
        check(&["10.0.0.9:1, 10.0.0.1:80"], "10.0.0.1:80", true);
        check(&["10.0.0.9:1", "10.0.0.1:80"], "10.0.0.1:80", true);
        check(&["[fd00::1]:80"], "[fd00::1]:80", true);
        check(&["fd00::1"], "[fd00::1]:80", true);
        check(&["[fd00::1]"], "[fd00::1]:80", true);
        check(&["fd00::2"], "[fd00::1]:80", false);
        check(&["", " , "], "10.0.0.1:80", false);
        check(&[], "10.0.0.1:80", false);
    }
}
