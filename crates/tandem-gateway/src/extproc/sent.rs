//! A request that was sent on, and its answer as it comes back.

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use smallvec::smallvec;
use tandem_protocol::header::REQUEST_ID;
use tandem_semantic_router::{AnswerScan, AnswerScanner, Forward};

use super::answer::{self, Contents};
use super::messages::processing_mode::BodySendMode;
use super::messages::{HeaderMutation, HttpBody};
use super::picker::Pick;
use super::session::Answers;
use super::{convert, destination};
use crate::headers::{RESPONSE_PATH, SCHEMA, is_event_stream};
use crate::watch::Watch;

/// A request that was sent on.
pub(super) struct Sent {
    watch: Watch,
    scan: Scan,
    response_headers: Vec<(&'static str, String)>,
    /// Where it runs, if that was ours to say.
    pick: Option<Pick>,
}

/// Whether the answer is looked at.
enum Scan {
    /// It is not.
    None,
    /// It will be, if it is one that a model gave.
    Awaited(AnswerScan),
    /// It is.
    Passing(AnswerScanner),
}

impl Sent {
    /// What sends the request on.
    pub(super) fn on(
        forward: Forward,
        contents: Contents,
        watch: Watch,
        pick: Option<Pick>,
    ) -> (Answers, Self) {
        let mut answers = answer::send_on(&forward, contents);
        if let (Some(pick), Some(first)) = (&pick, answers.first_mut()) {
            destination::direct(first, pick);
        }
        let sent = Self {
            watch,
            scan: forward.scan.map_or(Scan::None, Scan::Awaited),
            response_headers: forward.response_headers,
            pick,
        };
        (answers, sent)
    }

    /// Where it runs, if that was ours to say.
    pub(super) fn pick(&mut self) -> Option<&mut Pick> {
        self.pick.as_mut()
    }

    /// The answer begins with these headers; what changes about them.
    pub(super) fn headers(&mut self, headers: &HeaderMap, status: StatusCode) -> HeaderMutation {
        let events = is_event_stream(headers);
        self.watch.begin(status, events);
        let added = self.response_headers.iter();
        let added = added.filter(|_| status.is_success());
        let set = added.map(|(name, value)| (*name, value.as_str()));
        let mut set: Vec<(&str, &str)> = set.collect();
        set.push(SCHEMA);
        set.push((RESPONSE_PATH, "upstream"));
        set.push((REQUEST_ID, self.watch.request_id()));
        let mut remove = answer::router_headers(headers);
        if self.scan.begin(status.is_success(), events) {
            // How long it will be is not known yet, and later is too late to say so.
            remove.push(CONTENT_LENGTH.as_str().to_owned());
        }
        convert::mutation(remove, set)
    }

    /// A piece of the answer passes.
    pub(super) async fn body(&mut self, message: HttpBody, mode: BodySendMode) -> Answers {
        self.watch.piece(&message.body);
        if let Some(pick) = &mut self.pick {
            pick.assignment.prefill_completed();
        }
        let Scan::Passing(scanner) = &mut self.scan else {
            return smallvec![convert::response_body(answer::unchanged(message, mode))];
        };
        let mut out = scanner.piece(message.body.clone()).await;
        if message.end_of_stream {
            let rest = scanner.finish().await;
            out = match out.is_empty() {
                true => rest,
                false => [out, rest].concat().into(),
            };
        }
        answer::scanned(&message, out, scanner, mode)
    }

    /// What was kept back of an answer that ends with trailers.
    pub(super) async fn rest(&mut self, mode: BodySendMode) -> Answers {
        match &mut self.scan {
            Scan::Passing(scanner) if mode == BodySendMode::FullDuplexStreamed => {
                let out = scanner.finish().await;
                answer::scanned(&HttpBody::default(), out, scanner, mode)
            }
            _ => Answers::new(),
        }
    }

    /// The answer is complete.
    pub(super) fn complete(&mut self) {
        if let Scan::Passing(scanner) = &self.scan {
            self.watch.scanned(scanner);
        }
        self.watch.complete();
        self.pick = None;
    }
}

impl Scan {
    /// The answer begins; whether it is looked at.
    fn begin(&mut self, success: bool, events: bool) -> bool {
        *self = match std::mem::replace(self, Self::None) {
            Self::Awaited(scan) if success => Self::Passing(scan.begin(events)),
            _ => Self::None,
        };
        matches!(self, Self::Passing(_))
    }
}
