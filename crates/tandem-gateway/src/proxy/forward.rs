//! Sending a request on, to another server if the first one fails.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Error as ClientError;
use rand::RngExt;
use tandem_semantic_router::Forward;
use tandem_semantic_router::config::RetryOn;
use tracing::info;

use super::error::ProxyError;
use super::exchange::ResponseBody;
use super::metrics::ProxyMetrics;
use super::scanned;
use super::upstream::{Attempt, HttpClient, Member, Pool, uri};
use crate::headers::{prepare_request, prepare_response, set};
use crate::watch::Watch;

/// Wait before the second attempt at the same server; every further one waits twice as long.
const BACKOFF: Duration = Duration::from_millis(25);
/// Longest wait between two attempts.
const LONGEST_BACKOFF: Duration = Duration::from_millis(500);

/// Sends one request on.
pub(super) struct Sender<'a> {
    pub(super) client: &'a HttpClient,
    pub(super) pool: &'a Pool,
    pub(super) metrics: &'a ProxyMetrics,
    /// Longest wait for the beginning of an answer.
    pub(super) timeout: Duration,
}

/// A request as every attempt needs it.
struct Outgoing<'a> {
    parts: &'a Parts,
    forward: &'a Forward,
    request_id: &'a str,
}

impl Sender<'_> {
    /// Sends a request on and returns the answer as soon as it begins. Until then, another server
    /// may be tried. Dropping the answer's body drops the request.
    pub(super) async fn send(
        &self,
        parts: Parts,
        forward: Forward,
        mut watch: Watch,
    ) -> Result<Response<ResponseBody>, ProxyError> {
        let request_id = watch.request_id().to_owned();
        let outgoing = Outgoing {
            parts: &parts,
            forward: &forward,
            request_id: &request_id,
        };
        let (mut answer, attempt) = match self.try_servers(&outgoing).await {
            Ok(answered) => answered,
            Err(error) => {
                watch.broken();
                return Err(error);
            }
        };
        let status = answer.status();
        watch.begin(status, forward.stream);
        *answer.version_mut() = Version::HTTP_11;
        prepare_response(
            answer.headers_mut(),
            &forward.response_headers,
            status.is_success(),
        );
        if let Some(scan) = forward.scan.filter(|_| status.is_success()) {
            return Ok(scanned::pass_on(answer, scan, watch, attempt).await);
        }
        let metered = |body| Metered {
            body,
            watch,
            _attempt: attempt,
        };
        Ok(answer.map(|body| metered(body).boxed_unsync()))
    }

    async fn try_servers(
        &self,
        outgoing: &Outgoing<'_>,
    ) -> Result<(Response<Incoming>, Attempt), ProxyError> {
        let reliability = self.pool.reliability();
        let mut tried = Vec::new();
        let mut retries = 0;
        loop {
            // When all were tried, all may be tried again.
            if !self.pool.has_other(&tried) {
                tried.clear();
            }
            let chosen = self.pool.choose(&tried, Instant::now());
            let (at, mut attempt) = chosen.ok_or(ProxyError::NoServer)?;
            let member = self.pool.member(at);
            tried.push(at);
            let outcome = self.ask(member, outgoing).await;
            self.judge(&outcome, &mut attempt, member);
            let again = retries < reliability.retries && retried(&outcome, reliability.retry_on);
            if !again {
                return outcome.map(|answer| (answer, attempt));
            }
            retries += 1;
            self.metrics.retried(&member.name);
            info!(
                server = member.name,
                request_id = outgoing.request_id,
                "trying again"
            );
            drop(attempt);
            if !self.pool.has_other(&tried) {
                tokio::time::sleep(backoff(retries)).await;
            }
        }
    }

    async fn ask(
        &self,
        member: &Member,
        outgoing: &Outgoing<'_>,
    ) -> Result<Response<Incoming>, ProxyError> {
        let answer = self.client.request(request(member, outgoing));
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(ProxyError::Unreachable(error)),
            Err(_) => Err(ProxyError::Silent(self.timeout)),
        }
    }

    /// What the outcome says about the server.
    fn judge(
        &self,
        outcome: &Result<Response<Incoming>, ProxyError>,
        attempt: &mut Attempt,
        member: &Member,
    ) {
        let label = match outcome {
            Ok(answer) if answer.status().is_server_error() => "server_error",
            Ok(answer) if answer.status().is_client_error() => "client_error",
            Ok(_) => "success",
            Err(ProxyError::Silent(_)) => "timeout",
            Err(_) => "unreachable",
        };
        self.metrics.attempted(&member.name, label);
        if matches!(label, "success" | "client_error") {
            attempt.succeeded();
        } else if self.pool.failed(attempt, Instant::now()) {
            self.metrics.ejected(&member.name);
        }
    }
}

fn request(member: &Member, outgoing: &Outgoing<'_>) -> Request<Full<Bytes>> {
    let Outgoing {
        parts,
        forward,
        request_id,
    } = outgoing;
    let mut headers = parts.headers.clone();
    let credential = member.credential(forward.credential.as_ref());
    prepare_request(
        &mut headers,
        credential,
        &forward.request_headers,
        request_id,
    );
    for (name, value) in &member.headers {
        set(&mut headers, name, value);
    }
    let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let mut request = Request::new(Full::new(forward.body.clone()));
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = uri(member.address(), path);
    *request.headers_mut() = headers;
    request
}

/// Whether another attempt may end better, and cannot do harm.
fn retried(outcome: &Result<Response<Incoming>, ProxyError>, on: RetryOn) -> bool {
    match outcome {
        Ok(answer) => on.status(answer.status().as_u16()),
        Err(ProxyError::Unreachable(error)) => broke(error, on),
        // It may still be working on the request.
        Err(_) => false,
    }
}

fn broke(error: &ClientError, on: RetryOn) -> bool {
    if error.is_connect() {
        on.connect_failure
    } else {
        on.reset
    }
}

/// Half of the wait is by chance, so that requests that failed together do not come back together.
fn backoff(retries: u32) -> Duration {
    let longest = BACKOFF
        .saturating_mul(1 << retries.saturating_sub(1).min(8))
        .min(LONGEST_BACKOFF);
    longest.mul_f64(rand::rng().random_range(0.5..=1.0))
}

/// An answer that is watched while it passes; every piece goes on as it came.
struct Metered {
    body: Incoming,
    watch: Watch,
    /// The request is in flight until its answer has passed.
    _attempt: Attempt,
}

impl Body for Metered {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(piece) = frame.data_ref() {
                    self.watch.piece(piece);
                }
            }
            Some(Err(_)) => self.watch.broken(),
            None => self.watch.complete(),
        }
        if self.body.is_end_stream() {
            self.watch.complete();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
