//! Where an engine listens.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineAddress {
    /// Over TCP.
    Tcp {
        /// Name or IP address.
        host: String,
        /// Port.
        port: u16,
        /// Whether it speaks TLS.
        tls: bool,
        /// What comes before the path of every request, without a slash at the end.
        base: String,
    },
    /// On a Unix socket.
    Unix(PathBuf),
}

/// A text is not the address of an engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the address of an engine: use http://HOST:PORT, https://HOST or unix:PATH")]
pub struct NotAnAddress(String);

impl EngineAddress {
    /// A port of this machine that only it can reach.
    pub fn loopback(port: u16) -> Self {
        Self::Tcp {
            host: "127.0.0.1".to_owned(),
            port,
            tls: false,
            base: String::new(),
        }
    }

    /// The value of a `Host` header.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port, .. } => format!("{host}:{port}"),
        }
    }

    /// `path` as this server wants it. OpenAI's clients are given addresses that end in `/v1`; so
    /// may we be.
    pub(super) fn path(&self, path: &str) -> String {
        match self {
            Self::Unix(_) => path.to_owned(),
            Self::Tcp { base, .. } => match base.strip_suffix("/v1") {
                Some(before) => format!("{before}{path}"),
                None => format!("{base}{path}"),
            },
        }
    }

    /// The host, as another process on this machine would have to name it.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Unix(_) => "127.0.0.1",
            Self::Tcp { host, .. } => host,
        }
    }
}

impl FromStr for EngineAddress {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let wrong = || NotAnAddress(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.starts_with('/') {
                true => Ok(Self::Unix(path.into())),
                false => Err(wrong()),
            };
        }
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err(wrong()),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let default = if tls { 443 } else { 80 };
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(wrong)?;
                (host, after.strip_prefix(':'))
            }
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().map_err(|_| wrong())?,
            None => default,
        };
        if host.is_empty() || host.contains(['@', '?', '#']) || path.contains(['?', '#']) {
            return Err(wrong());
        }
        let path = path.trim_end_matches('/');
        Ok(Self::Tcp {
            host: host.to_owned(),
            port,
            tls,
            base: match path {
                "" => String::new(),
                path => format!("/{path}"),
            },
        })
    }
}

impl fmt::Display for EngineAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Tcp { tls, base, .. } => {
                let scheme = if *tls { "https" } else { "http" };
                write!(formatter, "{scheme}://{}{base}", self.authority())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let check = |text: &str, authority: &str, completions: &str| {
            let address: EngineAddress = text.parse().unwrap();
            assert_eq!(address.authority(), authority, "{text}");
            assert_eq!(address.path("/v1/completions"), completions, "{text}");
            assert_eq!(address.to_string().parse(), Ok(address), "{text}");
        };
        let plain = "/v1/completions";
        check("http://127.0.0.1:8000", "127.0.0.1:8000", plain);
        check("http://engine/", "engine:80", plain);
        check("https://api.example.com/v1", "api.example.com:443", plain);
        check("http://[::1]:8000", "[::1]:8000", plain);
        check("unix:/run/engine.sock", "localhost", plain);
        check("unix:///run/engine.sock", "localhost", plain);
        check("http://a:1/x/y/", "a:1", "/x/y/v1/completions");
        check("http://a:1/x/v1", "a:1", "/x/v1/completions");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "127.0.0.1:8000",
            "ftp://a",
            "unix:relative",
            "http://",
            "http://a:x",
            "http://a:99999",
            "http://user@a",
            "http://a/?x",
            "http://[::1",
        ] {
            let error = text.parse::<EngineAddress>().unwrap_err();
            assert!(error.to_string().contains("unix:PATH"), "{error}");
        }
    }
}
