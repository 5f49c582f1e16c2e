//! A line for every request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tracing::info;

use super::exchange::ResponseBody;

/// What the line says of the request.
#[derive(Debug)]
pub(super) struct AccessRecord {
    method: Method,
    path: String,
    request_id: String,
    started: Instant,
}

/// Logged when the answer has passed, or its client has left.
#[derive(Debug)]
struct Entry {
    record: AccessRecord,
    status: u16,
    bytes: u64,
    complete: bool,
}

impl AccessRecord {
    pub(super) fn new(method: &Method, uri: &Uri, request_id: &str) -> Self {
        Self {
            method: method.clone(),
            // A query may hold secrets.
            path: uri.path().to_owned(),
            request_id: request_id.to_owned(),
            started: Instant::now(),
        }
    }

    /// Logs the line when `response` has been sent.
    pub(super) fn follow(self, response: Response<ResponseBody>) -> Response<ResponseBody> {
        let entry = Entry {
            record: self,
            status: response.status().as_u16(),
            bytes: 0,
            complete: response.body().is_end_stream(),
        };
        response.map(|body| Logged { body, entry }.boxed_unsync())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let AccessRecord {
            method,
            path,
            request_id,
            started,
        } = &self.record;
        let duration_ms = started.elapsed().as_secs_f64() * 1e3;
        let (status, bytes, complete) = (self.status, self.bytes, self.complete);
        info!(
            event = "access", %method, path, status, bytes, complete, duration_ms, request_id,
            "access"
        );
    }
}

struct Logged {
    body: ResponseBody,
    entry: Entry,
}

impl Body for Logged {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            let piece = frame.data_ref().map_or(0, Bytes::len);
            self.entry.bytes += piece as u64;
        }
        self.entry.complete |= frame.is_none() || self.body.is_end_stream();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
