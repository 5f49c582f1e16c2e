//! Which headers pass a proxy.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use tandem_protocol::header::{REQUEST_ID, ROUTER_PREFIX, SELECTED_MODEL_UPSTREAM};
use tandem_semantic_router::config::Credential;
use tandem_semantic_router::{AnswerFindings, Block, Client, HeaderEdits, Router};
use uuid::Uuid;

/// Version of the header contract that responses keep.
pub(crate) const SCHEMA: (&str, &str) = ("x-vsr-schema-version", "2");
/// What gave a response: `upstream`, `cache`, `blocked`, `fast_response` or `error`.
pub(crate) const RESPONSE_PATH: &str = "x-vsr-response-path";

/// Longest request id that is taken over from a client.
const MAX_REQUEST_ID: usize = 128;

/// Headers that belong to one connection (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Takes out what must not go from one connection to the next, and what only the router may say.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let own: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_router_header(name.as_str()))
        .cloned()
        .collect();
    for name in HOP_BY_HOP.iter().chain(&listed).chain(&own) {
        headers.remove(name);
    }
}

/// Whether only the router may write this header.
pub(crate) fn is_router_header(name: &str) -> bool {
    name.starts_with(ROUTER_PREFIX) || name == SELECTED_MODEL_UPSTREAM
}

/// Who sent a request, as an authorizing proxy in front has written into its headers.
pub(crate) fn client(router: &Router, headers: &HeaderMap) -> Client {
    let value = |name: &str| headers.get(name)?.to_str().ok();
    Client::from_headers(&router.config().identity, value)
}

/// What gave an answer that no model gave.
pub(crate) fn response_path(block: &Block) -> &'static str {
    match block {
        Block::FastResponse => "fast_response",
        Block::Pii { .. } | Block::Jailbreak { .. } => "blocked",
    }
}

/// Whether the answer with these headers is a stream of events.
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// Headers that tell clients what was found in their answer.
pub(crate) fn tell(findings: &AnswerFindings) -> Vec<(&'static str, String)> {
    let mut headers = findings.headers();
    if findings.blocked.is_some() {
        headers.push((RESPONSE_PATH, "blocked".to_owned()));
    }
    headers
}

/// Makes the client's headers those of the request to the upstream.
pub(crate) fn prepare_request(
    headers: &mut HeaderMap,
    credential: Option<&Credential>,
    edits: &HeaderEdits,
    request_id: &str,
) {
    strip(headers);
    // Length and host are those of the new connection; an upstream that compresses would make the
    // stream unreadable for the usage counters.
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::HOST);
    headers.remove(header::EXPECT);
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    headers
        .entry(header::CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/json"));
    if let Some(credential) = credential {
        set(headers, &credential.header, &credential.value);
    }
    for name in &edits.remove {
        headers.remove(name.as_str());
    }
    for (name, value) in &edits.set {
        set(headers, name, value);
    }
    set(headers, REQUEST_ID, request_id);
}

/// Makes the upstream's headers those of the response to the client.
pub(crate) fn prepare_response(
    headers: &mut HeaderMap,
    added: &[(&'static str, String)],
    success: bool,
) {
    strip(headers);
    for (name, value) in [SCHEMA, (RESPONSE_PATH, "upstream")] {
        set(headers, name, value);
    }
    if success {
        for (name, value) in added {
            set(headers, name, value);
        }
    }
}

/// Sets a header; a value that no header may hold is left out.
pub(crate) fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    let name = HeaderName::from_bytes(name.as_bytes());
    let value = HeaderValue::from_bytes(value.as_bytes());
    if let (Ok(name), Ok(value)) = (name, value) {
        headers.insert(name, value);
    }
}

/// The client's correlation id if it is fit for logs, else a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let fit = |id: &&str| {
        (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let given = given.filter(fit).map(str::to_owned);
    given.unwrap_or_else(|| Uuid::now_v7().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        });
        pairs.collect()
    }

    #[test]
    fn hop_by_hop_listed_and_router_headers_are_stripped() {
        let mut headers = map(&[
            ("connection", "keep-alive, x-listed"),
            ("x-listed", "1"),
            ("transfer-encoding", "chunked"),
            ("x-vsr-selected-model", "spoofed"),
            ("x-selected-model", "spoofed"),
            ("authorization", "Bearer k"),
        ]);
        strip(&mut headers);
        assert_eq!(headers, map(&[("authorization", "Bearer k")]));
    }

    #[test]
    fn edits_apply_after_stripping() {
        let mut headers = map(&[("x-secret", "1"), ("host", "a"), ("x-selected-model", "no")]);
        let edits = HeaderEdits {
            remove: vec!["x-secret".into()],
            set: vec![
                ("x-selected-model".into(), "m".into()),
                ("bad name".into(), "x".into()),
            ],
        };
        prepare_request(&mut headers, None, &edits, "id-1");
        assert_eq!(
            headers,
            map(&[
                ("accept-encoding", "identity"),
                ("content-type", "application/json"),
                ("x-selected-model", "m"),
                ("x-request-id", "id-1"),
            ])
        );
    }

    #[test]
    fn request_ids_are_taken_over_when_fit() {
        assert_eq!(request_id(&map(&[("x-request-id", "abc-1")])), "abc-1");
        for bad in ["", "a b", &"x".repeat(129)] {
            assert_eq!(
                request_id(&map(&[("x-request-id", bad)])).len(),
                36,
                "{bad}"
            );
        }
    }
}
