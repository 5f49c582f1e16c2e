//! How requests get into the engine, and their answers out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use futures::stream::{self, BoxStream, StreamExt};
use tandem_kv_cache::transfer::FetchTimeouts;
use tandem_protocol::engine::{EngineOutput, EngineRequest, FinishReason};
use tokio::sync::{mpsc, oneshot};

use super::disagg::{self, Handoff, KvIdentity};
use super::limits::Limits;
use super::model::SamplingDefaults;
use super::sequence::{self, Role, Sequence};
use super::thread::{Command, Status};
use crate::engine::{EngineError, Outputs};

/// Makes sequences of requests and sends them to the engine's thread.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) commands: Sender<Command>,
    pub(super) status: Arc<Status>,
    pub(super) limits: Limits,
    pub(super) kv: KvIdentity,
    pub(super) sampling: SamplingDefaults,
    pub(super) fetch: FetchTimeouts,
    pub(super) next_id: AtomicU64,
}

/// The outputs of a sequence, before anything goes wrong.
type Tokens = BoxStream<'static, EngineOutput>;

impl Intake {
    /// Whether a request would be taken now.
    pub(super) fn check(&self, request: &EngineRequest) -> Result<(), EngineError> {
        sequence::check(request, &self.limits)?;
        self.check_queue()
    }

    /// Starts a request, or goes on where a prefill worker stopped.
    pub(super) fn submit(&self, mut request: EngineRequest) -> Outputs {
        let tokens = request.token_ids.len();
        let started = match request.disaggregated_params.take() {
            None => self.run(request, false),
            Some(params) => {
                match Handoff::parse(params, &self.kv, tokens, self.limits.vocab_size) {
                    Ok(handoff) => self.resume(request, handoff),
                    Err(reason) => {
                        self.status.fall_back(reason);
                        self.run(request, false)
                    }
                }
            }
        };
        outputs(started)
    }

    /// Computes a prompt and its first token for another worker.
    pub(super) fn submit_prefill(&self, request: EngineRequest) -> Outputs {
        outputs(self.run(request, true))
    }

    /// Ends the engine within one step. The thread may have ended already.
    pub(super) fn stop(&self) {
        self.commands.send(Command::Stop).ok();
    }

    fn sequence(
        &self,
        request: EngineRequest,
    ) -> Result<(Sequence, mpsc::Receiver<EngineOutput>), EngineError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Sequence::new(id, request, &self.limits, &self.sampling)
    }

    fn check_queue(&self) -> Result<(), EngineError> {
        let waiting = self.status.queued.load(Ordering::Relaxed);
        if waiting >= self.limits.queue {
            return Err(EngineError::QueueFull { waiting });
        }
        Ok(())
    }

    fn enqueue(&self, sequence: Sequence) -> Result<(), EngineError> {
        self.check_queue()?;
        self.status.queued.fetch_add(1, Ordering::Relaxed);
        self.commands
            .send(Command::Submit(Box::new(sequence)))
            .map_err(|_| EngineError::Stopped)
    }

    /// Starts a sequence, unless it has nothing to generate.
    fn run(&self, request: EngineRequest, prefill: bool) -> Result<Tokens, EngineError> {
        let (mut sequence, outputs) = self.sequence(request)?;
        if prefill {
            sequence.only_first_token();
        }
        if sequence.max_tokens() == 0 {
            sequence.tell(ended(FinishReason::Length));
        } else {
            self.enqueue(sequence)?;
        }
        Ok(told(outputs))
    }

    /// Goes on where a prefill worker stopped.
    fn resume(&self, request: EngineRequest, handoff: Handoff) -> Result<Tokens, EngineError> {
        let (mut sequence, outputs) = self.sequence(request)?;
        let (ask, wanted) = oneshot::channel();
        sequence.role = Role::Decode(Some(ask));
        sequence.cached = Some(handoff.cached_tokens);
        let id = sequence.id;
        let first = sequence.accept(handoff.first_choice());
        let finished = first.finish_reason.is_some();
        sequence.tell(first);
        if !finished {
            self.enqueue(sequence)?;
        }
        let bring = disagg::bring(handoff.ticket, self.kv.clone(), self.fetch, wanted);
        let commands = self.commands.clone();
        let fetch = stream::once(async move {
            let result = bring.await;
            // A failure means that the engine has stopped: the outputs end.
            commands.send(Command::Fetched { id, result }).ok();
        });
        let silent = fetch.filter_map(|()| std::future::ready(None));
        Ok(stream::select(told(outputs), silent).boxed())
    }
}

fn ended(reason: FinishReason) -> EngineOutput {
    EngineOutput {
        finish_reason: Some(reason),
        ..EngineOutput::default()
    }
}

fn outputs(started: Result<Tokens, EngineError>) -> Outputs {
    match started {
        Ok(tokens) => tokens.map(Ok).boxed(),
        Err(EngineError::Stopped) => stream::empty().boxed(),
        Err(error) => stream::iter([Err(error)]).boxed(),
    }
}

/// The outputs up to the finish reason, or until the engine is gone.
fn told(outputs: mpsc::Receiver<EngineOutput>) -> Tokens {
    let next = |state: Option<mpsc::Receiver<EngineOutput>>| async {
        let mut outputs = state?;
        let output = outputs.recv().await?;
        let more = output.finish_reason.is_none().then_some(outputs);
        Some((output, more))
    };
    stream::unfold(Some(outputs), next).boxed()
}
