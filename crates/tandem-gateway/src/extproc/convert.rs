//! Between Envoy's messages and ours.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::messages::header_value_option::HeaderAppendAction;
use super::messages::processing_mode::{BodySendMode, HeaderSendMode};
use super::messages::processing_response::Response;
use super::messages::{
    self, BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeaderValueOption,
    HeadersResponse, HttpStatus, ImmediateResponse, ProcessingMode, ProcessingResponse,
    TrailersResponse, body_mutation::Mutation,
};

/// Headers as Envoy sends them: either as text or as bytes. Pseudo headers are dropped.
pub(super) fn headers(map: Option<messages::HeaderMap>) -> HeaderMap {
    let headers = map.unwrap_or_default().headers.into_iter();
    let headers = headers.filter_map(|header| {
        let name = HeaderName::from_bytes(header.key.as_bytes()).ok()?;
        let value = HeaderValue::from_bytes(raw(&header)).ok()?;
        Some((name, value))
    });
    headers.collect()
}

/// A pseudo header, such as `:path`.
pub(super) fn pseudo<'a>(map: Option<&'a messages::HeaderMap>, name: &str) -> Option<&'a str> {
    let header = map?.headers.iter().find(|header| header.key == name)?;
    std::str::from_utf8(raw(header)).ok()
}

fn raw(header: &messages::HeaderValue) -> &[u8] {
    if header.raw_value.is_empty() {
        header.value.as_bytes()
    } else {
        &header.raw_value
    }
}

/// Names to take out, then names to set. Only `raw_value` is written: Envoy refuses headers that
/// have both.
pub(super) fn mutation<'a>(
    remove: impl IntoIterator<Item = String>,
    set: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> HeaderMutation {
    let set = set.into_iter().map(|(name, value)| HeaderValueOption {
        header: Some(messages::HeaderValue {
            key: name.to_owned(),
            value: String::new(),
            raw_value: Bytes::copy_from_slice(value.as_bytes()),
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
    });
    HeaderMutation {
        set_headers: set.collect(),
        remove_headers: remove.into_iter().collect(),
    }
}

pub(super) fn request_headers(headers: HeaderMutation) -> ProcessingResponse {
    request_headers_response(changed(headers, None))
}

pub(super) fn request_headers_response(response: CommonResponse) -> ProcessingResponse {
    answer(Response::RequestHeaders(HeadersResponse {
        response: Some(response),
    }))
}

pub(super) fn response_headers(headers: HeaderMutation, stream: bool) -> ProcessingResponse {
    let mut answer = answer(Response::ResponseHeaders(HeadersResponse {
        response: Some(changed(headers, None)),
    }));
    answer.mode_override = stream.then(|| ProcessingMode {
        response_header_mode: HeaderSendMode::Send.into(),
        response_body_mode: BodySendMode::Streamed.into(),
        response_trailer_mode: HeaderSendMode::Skip.into(),
        ..ProcessingMode::default()
    });
    answer
}

/// Asks for the request's body as a whole; the response's is shown as before.
pub(super) fn buffered(
    mut answer: ProcessingResponse,
    response: BodySendMode,
) -> ProcessingResponse {
    answer.mode_override = Some(ProcessingMode {
        request_header_mode: HeaderSendMode::Send.into(),
        response_header_mode: HeaderSendMode::Send.into(),
        request_body_mode: BodySendMode::Buffered.into(),
        response_body_mode: response.into(),
        request_trailer_mode: HeaderSendMode::Skip.into(),
        response_trailer_mode: HeaderSendMode::Skip.into(),
    });
    answer
}

pub(super) fn request_body(response: CommonResponse) -> ProcessingResponse {
    answer(Response::RequestBody(BodyResponse {
        response: Some(response),
    }))
}

pub(super) fn response_body(response: CommonResponse) -> ProcessingResponse {
    answer(Response::ResponseBody(BodyResponse {
        response: Some(response),
    }))
}

pub(super) fn request_trailers() -> ProcessingResponse {
    answer(Response::RequestTrailers(TrailersResponse::default()))
}

pub(super) fn response_trailers() -> ProcessingResponse {
    answer(Response::ResponseTrailers(TrailersResponse::default()))
}

pub(super) fn immediate(
    status: u16,
    headers: HeaderMutation,
    body: Bytes,
    details: &str,
) -> ProcessingResponse {
    answer(Response::ImmediateResponse(ImmediateResponse {
        status: Some(HttpStatus {
            code: status.into(),
        }),
        headers: Some(headers),
        body,
        details: details.to_owned(),
    }))
}

/// Continue with these changes.
pub(super) fn changed(headers: HeaderMutation, body: Option<Mutation>) -> CommonResponse {
    CommonResponse {
        header_mutation: Some(headers),
        body_mutation: body.map(|mutation| BodyMutation {
            mutation: Some(mutation),
        }),
        ..CommonResponse::default()
    }
}

fn answer(response: Response) -> ProcessingResponse {
    ProcessingResponse {
        response: Some(response),
        ..ProcessingResponse::default()
    }
}
