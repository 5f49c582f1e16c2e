//! An answer that is looked at while it passes.

use bytes::Bytes;
use futures::stream;
use http::Response;
use http::header::CONTENT_LENGTH;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use tandem_semantic_router::{AnswerScan, AnswerScanner};

use super::exchange::ResponseBody;
use super::upstream::Attempt;
use crate::headers::{is_event_stream, set, tell};
use crate::watch::Watch;

/// The answer, of which only what may goes on. A whole one is awaited, so that its headers can say
/// what was found.
pub(super) async fn pass_on(
    answer: Response<Incoming>,
    scan: AnswerScan,
    watch: Watch,
    attempt: Attempt,
) -> Response<ResponseBody> {
    let (mut parts, body) = answer.into_parts();
    let mut scanned = Scanned {
        body,
        scanner: scan.begin(is_event_stream(&parts.headers)),
        watch,
        _attempt: attempt,
        ended: false,
    };
    parts.headers.remove(CONTENT_LENGTH);
    let first = match scanned.scanner.is_whole() {
        true => scanned.next().await,
        false => None,
    };
    for (name, value) in tell(scanned.scanner.findings()) {
        set(&mut parts.headers, name, &value);
    }
    let rest = stream::unfold((first, scanned), |(first, mut scanned)| async {
        let piece = match first {
            Some(first) => first,
            None => scanned.next().await?,
        };
        Some((piece.map(Frame::data), (None, scanned)))
    });
    Response::from_parts(parts, StreamBody::new(rest).boxed_unsync())
}

struct Scanned {
    body: Incoming,
    scanner: AnswerScanner,
    watch: Watch,
    /// The request is in flight until its answer has passed.
    _attempt: Attempt,
    ended: bool,
}

impl Scanned {
    /// What goes on next; `None` after the end.
    async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        while !self.ended {
            let out = match self.body.frame().await {
                Some(Ok(frame)) => {
                    let Ok(piece) = frame.into_data() else {
                        continue;
                    };
                    self.watch.piece(&piece);
                    self.scanner.piece(piece).await
                }
                Some(Err(error)) => {
                    self.ended = true;
                    self.watch.broken();
                    return Some(Err(error));
                }
                None => {
                    self.ended = true;
                    self.scanner.finish().await
                }
            };
            // Nothing of a withheld answer is worth waiting for.
            self.ended |= self.scanner.findings().blocked.is_some();
            if self.ended {
                self.watch.scanned(&self.scanner);
                self.watch.complete();
            }
            if !out.is_empty() {
                return Some(Ok(out));
            }
        }
        None
    }
}
