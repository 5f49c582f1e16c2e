//! What Envoy is told in each case.

use bytes::Bytes;
use http::HeaderMap;
use serde::Serialize;
use smallvec::smallvec;
use tandem_protocol::ErrorKind;
use tandem_protocol::openai::ErrorBody;
use tandem_semantic_router::{
    AnswerScanner, Forward, ImmediateResponse, Rejection, Replay, Router,
};
use tracing::{debug, error};

use super::convert;
use super::messages::body_mutation::Mutation;
use super::messages::processing_mode::BodySendMode;
use super::messages::{
    BodyMutation, CommonResponse, HeaderMutation, HttpBody, ProcessingResponse,
    StreamedBodyResponse,
};
use super::picker::PickError;
use super::session::Answers;
use crate::headers::{RESPONSE_PATH, SCHEMA, is_router_header, response_path, tell};

/// Most bytes of a piece of a streamed body: with its frame it stays below the 64 KiB that
/// peers take at once by default.
const PIECE: usize = 62_000;

/// How the contents of a request are sent on.
pub(super) struct Contents {
    pub(super) mode: BodySendMode,
    /// The answer to the headers, where it waits for the body.
    pub(super) held: Option<HeaderMutation>,
    /// Whether the request ends with trailers.
    pub(super) trailers: bool,
}

/// The request as the router wants it.
pub(super) fn send_on(forward: &Forward, contents: Contents) -> Answers {
    let length = forward.body.len().to_string();
    let edits = &forward.request_headers;
    let credential = forward.credential.as_ref();
    let credential = credential.map(|it| (it.header.as_str(), it.value.as_str()));
    let edited = edits.set.iter();
    let edited = edited.map(|(name, value)| (name.as_str(), value.as_str()));
    let mut set: Vec<(&str, &str)> = credential.into_iter().chain(edited).collect();
    let endpoint = forward.endpoint.as_deref();
    set.extend(endpoint.map(|endpoint| ("x-vsr-destination-endpoint", endpoint)));
    let replaced = match contents.mode {
        // What was kept back must be sent, changed or not.
        BodySendMode::Streamed => true,
        BodySendMode::FullDuplexStreamed => false,
        _ => forward.body_changed,
    };
    if replaced {
        set.push(("content-length", &length));
    }
    let mut mutation = convert::mutation(edits.remove.clone(), set);
    if contents.mode != BodySendMode::FullDuplexStreamed {
        let body = replaced.then(|| Mutation::Body(forward.body.clone()));
        let mut response = convert::changed(mutation, body);
        response.clear_route_cache = forward.clear_route_cache;
        return smallvec![convert::request_body(response)];
    }
    if let Some(mut held) = contents.held {
        held.remove_headers.append(&mut mutation.remove_headers);
        held.set_headers.append(&mut mutation.set_headers);
        mutation = held;
    }
    let mut headers = convert::changed(mutation, None);
    headers.clear_route_cache = forward.clear_route_cache;
    let mut answers: Answers = smallvec![convert::request_headers_response(headers)];
    let pieces = pieces(forward.body.clone(), !contents.trailers);
    answers.extend(pieces.map(convert::request_body));
    if contents.trailers {
        answers.push(convert::request_trailers());
    }
    answers
}

/// A piece of a body, as it came.
pub(super) fn unchanged(message: HttpBody, mode: BodySendMode) -> CommonResponse {
    match mode {
        BodySendMode::FullDuplexStreamed => piece_of(message.body, message.end_of_stream),
        _ => CommonResponse::default(),
    }
}

/// What goes on of a piece of an answer that is looked at. In full duplex that may be no message.
pub(super) fn scanned(
    message: &HttpBody,
    out: Bytes,
    scanner: &AnswerScanner,
    mode: BodySendMode,
) -> Answers {
    if mode == BodySendMode::FullDuplexStreamed {
        return pieces(out, message.end_of_stream)
            .map(convert::response_body)
            .collect();
    }
    let body = match out.is_empty() {
        _ if out == message.body => None,
        true => Some(Mutation::ClearBody(true)),
        false => Some(Mutation::Body(out)),
    };
    // Envoy still has the headers of an answer that it shows as a whole.
    let told = match mode {
        BodySendMode::Buffered => tell(scanner.findings()),
        _ => Vec::new(),
    };
    let told = told.iter().map(|(name, value)| (*name, value.as_str()));
    let response = convert::changed(convert::mutation([], told), body);
    smallvec![convert::response_body(response)]
}

/// A body in pieces that fit; none if there is nothing to say.
fn pieces(mut body: Bytes, end_of_stream: bool) -> impl Iterator<Item = CommonResponse> {
    let mut ended = !end_of_stream;
    std::iter::from_fn(move || {
        if body.is_empty() && ended {
            return None;
        }
        let piece = body.split_to(body.len().min(PIECE));
        ended |= body.is_empty();
        Some(piece_of(piece, end_of_stream && body.is_empty()))
    })
}

/// Nothing in place of a piece.
pub(super) fn kept_back() -> CommonResponse {
    mutated(Mutation::ClearBody(true))
}

fn piece_of(body: Bytes, end_of_stream: bool) -> CommonResponse {
    mutated(Mutation::StreamedResponse(StreamedBodyResponse {
        body,
        end_of_stream,
    }))
}

fn mutated(mutation: Mutation) -> CommonResponse {
    CommonResponse {
        body_mutation: Some(BodyMutation {
            mutation: Some(mutation),
        }),
        ..CommonResponse::default()
    }
}

/// The request headers without those that only the router may write.
pub(super) fn pass_on(headers: &HeaderMap, set: &[(&str, &str)]) -> HeaderMutation {
    convert::mutation(router_headers(headers), set.iter().copied())
}

/// Headers that are there and that only the router may write.
pub(super) fn router_headers(headers: &HeaderMap) -> Vec<String> {
    let names = headers.keys().map(|name| name.as_str());
    let own = names.filter(|name| is_router_header(name));
    own.map(str::to_owned).collect()
}

/// An answer that no model gave.
pub(super) fn respond(response: ImmediateResponse) -> ProcessingResponse {
    let path = response_path(&response.block);
    let headers = response.headers.iter();
    let headers = headers.map(|(name, value)| (*name, value.as_str()));
    let headers = headers.chain([SCHEMA, (RESPONSE_PATH, path)]);
    convert::immediate(200, convert::mutation([], headers), response.body, path)
}

/// An answer that a model gave before.
pub(super) fn replayed(replay: Replay) -> ProcessingResponse {
    let headers = replay.headers.iter();
    let headers = headers.map(|(name, value)| (*name, value.as_str()));
    let headers = headers.chain([SCHEMA, (RESPONSE_PATH, "cache")]);
    convert::immediate(200, convert::mutation([], headers), replay.body, "cache")
}

/// The list of models.
pub(super) fn models(router: &Router) -> ProcessingResponse {
    found(&router.models())
}

/// One model by name.
pub(super) fn model(router: &Router, name: &str) -> ProcessingResponse {
    let models = router.models().data;
    match models.iter().find(|model| model.id == name) {
        Some(model) => found(model),
        None => rejected(&Rejection::new(
            ErrorKind::NotFound,
            format!("the model `{name}` does not exist"),
            Some("model".to_owned()),
        )),
    }
}

/// A request that the router refused.
pub(super) fn rejected(rejection: &Rejection) -> ProcessingResponse {
    refused(rejection.kind, &rejection.body, None)
}

/// A request that nobody was picked for.
pub(super) fn unpicked(error: &PickError) -> ProcessingResponse {
    let again = error.kind().retryable().then_some(RETRY_AFTER);
    refused(error.kind(), &error.body(), again)
}

/// A request that is wrong; `allowed` are the methods that are not.
pub(super) fn reject(
    kind: ErrorKind,
    message: String,
    allowed: Option<&str>,
) -> ProcessingResponse {
    let allow = allowed.map(|allowed| ("allow", allowed));
    refused(kind, &ErrorBody::new(kind, message, None), allow)
}

fn refused(kind: ErrorKind, body: &ErrorBody, hint: Option<(&str, &str)>) -> ProcessingResponse {
    let message = &body.error.message;
    match kind {
        ErrorKind::Internal => error!(kind = kind.label(), message, "request failed"),
        _ => debug!(kind = kind.label(), message, "request refused"),
    }
    let mut headers = vec![JSON, SCHEMA, (RESPONSE_PATH, "error")];
    headers.extend(hint);
    immediate(kind.status(), &headers, body, kind.label())
}

const JSON: (&str, &str) = ("content-type", "application/json");
/// Seconds after which a client may try again.
const RETRY_AFTER: (&str, &str) = ("retry-after", "1");

fn found(body: &impl Serialize) -> ProcessingResponse {
    immediate(200, &[JSON], body, "models")
}

fn immediate(
    status: u16,
    headers: &[(&str, &str)],
    body: &impl Serialize,
    details: &str,
) -> ProcessingResponse {
    let body = serde_json::to_vec(body).expect("lists and errors always serialise");
    let headers = convert::mutation([], headers.iter().copied());
    convert::immediate(status, headers, body.into(), details)
}
