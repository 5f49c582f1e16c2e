//! How requests get into the engine, and their answers out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use futures::FutureExt;
use futures::stream::{self, BoxStream, StreamExt};
use tandem_kv_cache::transfer::FetchTimeouts;
use tandem_protocol::engine::{EngineOutput, EngineRequest, FinishReason};
use tokio::sync::{mpsc, oneshot};

use super::disagg::{self, Handoff, KvIdentity};
use super::guided::{Grammars, Guide};
use super::limits::Limits;
use super::model::SamplingDefaults;
use super::peers;
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
    /// `None` if the model came without a tokenizer.
    pub(super) grammars: Option<Arc<Grammars>>,
    pub(super) next_id: AtomicU64,
}

/// The outputs of a sequence, before anything goes wrong.
type Tokens = BoxStream<'static, EngineOutput>;

impl Intake {
    /// Whether a request would be taken now.
    pub(super) fn check(&self, request: &EngineRequest) -> Result<(), EngineError> {
        sequence::check(request, &self.limits)?;
        if request.sampling_options.guided_decoding.is_some() && self.grammars.is_none() {
            return Err(EngineError::Unsupported("guided decoding"));
        }
        self.check_queue()
    }

    /// Starts a request, or goes on where a prefill worker stopped.
    pub(super) fn submit(self: &Arc<Self>, request: EngineRequest) -> Outputs {
        self.guided(request, Self::start)
    }

    /// Computes a prompt and its first token for another worker.
    pub(super) fn submit_prefill(self: &Arc<Self>, request: EngineRequest) -> Outputs {
        let start = |intake: &Self, request, guide| intake.run(request, guide, true);
        self.guided(request, start)
    }

    /// Calls `start`, after the form of the answer has become a grammar.
    fn guided(
        self: &Arc<Self>,
        request: EngineRequest,
        start: fn(&Self, EngineRequest, Option<Guide>) -> Result<Tokens, EngineError>,
    ) -> Outputs {
        if request.sampling_options.guided_decoding.is_none() {
            return outputs(start(self, request, None));
        }
        if let Err(error) = self.check(&request) {
            return outputs(Err(error));
        }
        let intake = Arc::clone(self);
        let waiting = self.status.wait();
        let work = tokio::task::spawn_blocking(move || {
            let guide = intake.guide(&request)?;
            drop(waiting);
            start(&intake, request, guide)
        });
        let work = work.map(|done| match done {
            Ok(started) => outputs(started),
            // It panicked, or the process ends.
            Err(error) => outputs(Err(EngineError::Failed(error.to_string()))),
        });
        work.flatten_stream().boxed()
    }

    fn guide(&self, request: &EngineRequest) -> Result<Option<Guide>, EngineError> {
        let form = request.sampling_options.guided_decoding.as_ref();
        let Some((form, grammars)) = form.zip(self.grammars.as_ref()) else {
            return Ok(None);
        };
        let said = request.generated_tokens.unwrap_or(0) as usize;
        let tokens = &request.token_ids;
        let said = &tokens[tokens.len().saturating_sub(said)..];
        let eos = match &*request.eos_token_ids {
            [] => &self.limits.eos_token_ids,
            named => named,
        };
        grammars.guide(form, (said, eos), &self.limits).map(Some)
    }

    fn start(
        &self,
        mut request: EngineRequest,
        guide: Option<Guide>,
    ) -> Result<Tokens, EngineError> {
        let tokens = request.token_ids.len();
        let Some(params) = request.disaggregated_params.take() else {
            return self.run(request, guide, false);
        };
        let adapter = self.limits.adapters.of(&request)?.map(|adapter| &**adapter);
        let prompt = (tokens, adapter);
        match Handoff::parse(params, &self.kv, prompt, self.limits.vocab_size) {
            Ok(handoff) => self.resume(request, guide, handoff),
            Err(reason) => {
                self.status.fall_back(reason);
                self.run(request, guide, false)
            }
        }
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
        let adapter = self.limits.adapters.of(&request)?;
        let peer = peers::hint(&request, &self.kv, adapter.map(|adapter| &**adapter));
        let (mut sequence, outputs) = Sequence::new(id, request, &self.limits, &self.sampling)?;
        sequence.peer = peer;
        Ok((sequence, outputs))
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
    fn run(
        &self,
        request: EngineRequest,
        guide: Option<Guide>,
        prefill: bool,
    ) -> Result<Tokens, EngineError> {
        let (mut sequence, outputs) = self.sequence(request)?;
        sequence.guide = guide;
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
    fn resume(
        &self,
        request: EngineRequest,
        guide: Option<Guide>,
        handoff: Handoff,
    ) -> Result<Tokens, EngineError> {
        let (mut sequence, outputs) = self.sequence(request)?;
        sequence.guide = guide;
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
