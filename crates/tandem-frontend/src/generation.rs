//! One sequence from request to tokens: prefill leg, decode leg, and moving on when a worker is
//! lost.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use serde_json::Value;
use tandem_kv_router::Prompt;
use tandem_protocol::ErrorKind;
use tandem_protocol::engine::{EngineOutput, EngineRequest, WorkerFailure, compact};
use tandem_runtime::request_plane::{CallError, Encoding, Request, Responses};
use tandem_runtime::{Instance, RequestPlane};
use tracing::{debug, warn};

use crate::choice::Outputs;
use crate::error::FrontendError;
use crate::joined_prefill::{JoinedPrefill, Progress};
use crate::metrics::{Fallback, FallbackLabels, Metrics, ModelLabels};
use crate::model_registry::Model;
use crate::prefill_policy::PrefillPolicy;
use crate::worker_pool::{Chosen, NoChoice, WorkerChoice, WorkerPool};

/// Where a generation comes from.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// Names the request in logs.
    pub request_id: String,
    /// The span of the request, if it is exported.
    pub traceparent: Option<String>,
}

/// What every generation needs.
#[derive(Clone)]
pub(crate) struct Dispatcher {
    /// How workers are called.
    pub plane: Arc<dyn RequestPlane>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// When prefill workers are passed over.
    pub prefill_policy: PrefillPolicy,
    /// Times a request may move to another worker.
    pub migration_limit: u32,
    /// Silence after which a worker that is not registered any more is given up.
    pub stall_timeout: Duration,
}

impl Dispatcher {
    /// The outputs for `request`; nothing is sent before they are polled.
    pub(crate) fn generate(
        &self,
        model: Arc<Model>,
        request: EngineRequest,
        origin: Origin,
    ) -> Outputs {
        let generation = Generation {
            job: Job {
                dispatcher: self.clone(),
                labels: ModelLabels {
                    model: model.card.display_name.clone(),
                },
                model,
                request,
                origin,
                alone: false,
            },
            leg: None,
            lost: Vec::new(),
            refused: None,
            moves: 0,
            finished: false,
        };
        stream::unfold(generation, |mut generation| async {
            let output = generation.next().await?;
            Some((output, generation))
        })
        .boxed()
    }
}

impl Dispatcher {
    /// The next answer. A worker may take its time, also while it leaves, but one that is silent
    /// and forgotten by discovery hangs or has lost its host.
    async fn next(
        &self,
        responses: &mut Responses,
        chosen: &Chosen,
    ) -> Option<Result<Bytes, CallError>> {
        loop {
            match tokio::time::timeout(self.stall_timeout, responses.next()).await {
                Ok(next) => return next,
                Err(_) if chosen.is_registered() => {}
                Err(_) => return Some(Err(CallError::StreamEnded)),
            }
        }
    }
}

impl Dispatcher {
    /// The next answer of a leg, while its prefill worker is kept an eye on.
    async fn next_of(&self, leg: &mut DecodeLeg) -> Next {
        while let Some(prefill) = &mut leg.prefill {
            tokio::select! {
                answer = self.next(&mut leg.responses, &leg.chosen) => return Next::Answer(answer),
                progress = prefill.next() => match progress {
                    Progress::Going => {}
                    // Without the blocks, the decode worker would wait for them in vain.
                    Progress::Failed if !leg.started => return Next::PrefillFailed,
                    Progress::Done | Progress::Failed => leg.prefill = None,
                },
            }
        }
        Next::Answer(self.next(&mut leg.responses, &leg.chosen).await)
    }
}

/// A sequence that is being generated.
struct Generation {
    job: Job,
    leg: Option<DecodeLeg>,
    /// Workers that were lost while they served this request, or did not take it.
    lost: Vec<u64>,
    /// What the last worker said that did not take it.
    refused: Option<WorkerFailure>,
    /// Times that the request went on elsewhere after it had begun.
    moves: u32,
    finished: bool,
}

/// What has to be done.
struct Job {
    dispatcher: Dispatcher,
    labels: ModelLabels,
    model: Arc<Model>,
    /// What the next worker would have to do: grows by what was generated so far.
    request: EngineRequest,
    origin: Origin,
    /// Whether no prefill worker is asked any more.
    alone: bool,
}

/// A worker at work. Dropping it stops the worker.
struct DecodeLeg {
    responses: Responses,
    chosen: Chosen,
    started: bool,
    /// A prefill worker that was started at the same time.
    prefill: Option<JoinedPrefill>,
}

/// Who computes a prompt, if not the decode worker.
enum RemotePrefill {
    Nobody,
    /// A prefill worker has, and hands this over. It is of use once: who reads the blocks frees
    /// them.
    Done(Value),
    /// A prefill worker does, while the decode worker waits for the blocks.
    Joined(Box<JoinedPrefill>),
}

/// What comes next of a leg.
enum Next {
    Answer(Option<Result<Bytes, CallError>>),
    PrefillFailed,
}

impl Generation {
    async fn next(&mut self) -> Option<Result<EngineOutput, FrontendError>> {
        if self.finished {
            return None;
        }
        loop {
            if self.leg.is_none() {
                match self.start_leg().await {
                    Ok(leg) => self.leg = Some(leg),
                    Err(error) => return Some(self.fail(error)),
                }
            }
            let leg = self.leg.as_mut()?;
            let error = match self.job.dispatcher.next_of(leg).await {
                Next::Answer(Some(Ok(bytes))) => match self.receive(&bytes).transpose() {
                    Some(output) => return Some(output),
                    None => continue,
                },
                Next::PrefillFailed => {
                    self.leg = None;
                    self.job.alone = true;
                    if let Err(error) = self.job.without_prefill(Fallback::call_failed) {
                        return Some(self.fail(error));
                    }
                    continue;
                }
                Next::Answer(Some(Err(error))) => error,
                Next::Answer(None) => CallError::StreamEnded,
            };
            let worker = leg.chosen.instance.instance_id;
            self.leg = None;
            self.lose(worker, &error);
            if let Err(error) = self.go_on() {
                return Some(self.fail(error));
            }
        }
    }

    /// What the worker says; nothing if it does not take the request and another may.
    fn receive(&mut self, bytes: &Bytes) -> Result<Option<EngineOutput>, FrontendError> {
        let annotated = match compact::decode(bytes) {
            Ok(annotated) => annotated,
            Err(error) => {
                return self.fail(FrontendError::Worker(WorkerFailure {
                    kind: ErrorKind::Upstream { retryable: false },
                    message: format!("undecodable output: {error}"),
                }));
            }
        };
        if let Some(failure) = annotated.failure() {
            return match self.pass_on(failure) {
                None => Ok(None),
                Some(failure) => self.fail(FrontendError::Worker(failure)),
            };
        }
        let output = annotated.data.unwrap_or_default();
        if let Some(leg) = &mut self.leg
            && !output.token_ids.is_empty()
            && !std::mem::replace(&mut leg.started, true)
        {
            leg.chosen.prefill_completed();
            self.refused = None;
        }
        if output.finish_reason.is_some() {
            self.finished = true;
            self.leg = None;
        } else {
            self.remember(&output);
        }
        Ok(Some(output))
    }

    /// Lets another worker be asked if this one is too busy to begin; else it is a failure.
    fn pass_on(&mut self, failure: WorkerFailure) -> Option<WorkerFailure> {
        match &self.leg {
            Some(leg) if !leg.started && failure.kind == ErrorKind::Overloaded => {
                self.lost.push(leg.chosen.instance.instance_id);
            }
            _ => return Some(failure),
        }
        self.leg = None;
        self.refused = Some(failure);
        None
    }

    /// Adds what was generated to the prompt, so that another worker could go on from here.
    fn remember(&mut self, output: &EngineOutput) {
        self.job.request.token_ids.extend(&output.token_ids);
        let count = u32::try_from(output.token_ids.len()).unwrap_or(u32::MAX);
        let generated = &mut self.job.request.generated_tokens;
        *generated = Some(generated.unwrap_or(0).saturating_add(count));
        let stop = &mut self.job.request.stop_conditions;
        stop.max_tokens = stop.max_tokens.map(|max| max.saturating_sub(count));
        stop.min_tokens = stop.min_tokens.map(|min| min.saturating_sub(count));
    }

    fn fail<T>(&mut self, error: FrontendError) -> Result<T, FrontendError> {
        self.finished = true;
        self.leg = None;
        Err(error)
    }

    /// Leaves `worker` alone from now on.
    fn lose(&mut self, worker: u64, error: &CallError) {
        warn!(request_id = %self.job.origin.request_id, worker, %error, "lost a worker");
        self.job.model.decode.inhibit(worker);
        self.lost.push(worker);
    }

    /// Counts that the request goes on elsewhere; an error if it may not any more.
    fn go_on(&mut self) -> Result<(), FrontendError> {
        if self.moves >= self.job.dispatcher.migration_limit {
            return Err(FrontendError::WorkerLost);
        }
        self.moves += 1;
        let migrations = &self.job.dispatcher.metrics.migrations;
        migrations.get_or_create(&self.job.labels).inc();
        Ok(())
    }

    async fn start_leg(&mut self) -> Result<DecodeLeg, FrontendError> {
        let prompt = self.job.model.prompt(&self.job.request);
        let mut remote = self.job.remote_prefill(&prompt).await?;
        loop {
            let choice = WorkerChoice {
                request_id: &self.job.origin.request_id,
                prompt: &prompt,
                remote_prefill: !matches!(remote, RemotePrefill::Nobody),
                excluded: &self.lost,
            };
            let model = &self.job.model;
            let can = |instance: &Instance| model.is_on(instance);
            let chosen = model.decode.choose_among(choice, &can).map_err(|none| {
                let busy = self.refused.take().map(FrontendError::Worker);
                busy.unwrap_or_else(|| none.error(&model.card.display_name))
            })?;
            self.job.request.disaggregated_params = None;
            self.job.request.bootstrap_info = None;
            let prefill = match remote {
                RemotePrefill::Nobody => None,
                RemotePrefill::Done(params) => {
                    self.job.request.disaggregated_params = Some(params);
                    None
                }
                RemotePrefill::Joined(prefill) => {
                    self.job.request.bootstrap_info = Some(prefill.info.clone());
                    Some(*prefill)
                }
            };
            let was_remote = prefill.is_some() || self.job.request.disaggregated_params.is_some();
            match self.job.call(&chosen, &self.job.request).await {
                Ok(responses) => {
                    return Ok(DecodeLeg {
                        responses,
                        chosen,
                        started: false,
                        prefill,
                    });
                }
                Err(CallError::Refused(message)) => {
                    return Err(FrontendError::Worker(WorkerFailure {
                        kind: ErrorKind::Upstream { retryable: false },
                        message,
                    }));
                }
                Err(error @ CallError::Local(_)) => {
                    return Err(FrontendError::Internal(error.to_string()));
                }
                // Nothing has begun, so that another worker may be asked as long as there is one.
                Err(error @ (CallError::Unreachable { .. } | CallError::StreamEnded)) => {
                    let worker = chosen.instance.instance_id;
                    drop(chosen);
                    self.lose(worker, &error);
                    // The lost worker may have read the blocks, and with that freed them.
                    remote = match was_remote {
                        true => self.job.remote_prefill(&prompt).await?,
                        false => RemotePrefill::Nobody,
                    };
                }
            }
        }
    }
}

impl Job {
    /// Lets a prefill worker compute the prompt, unless the decode worker shall do it.
    async fn remote_prefill(&self, prompt: &Prompt) -> Result<RemotePrefill, FrontendError> {
        let policy = &self.dispatcher.prefill_policy;
        let pool = self.model.prefill.load_full();
        if self.alone || pool.is_none() && !policy.enforced {
            return Ok(RemotePrefill::Nobody);
        }
        let metrics = &self.dispatcher.metrics;
        if policy.is_short(self.model.decode.least_uncached(prompt)) {
            metrics.local_prefills.get_or_create(&self.labels).inc();
            return Ok(RemotePrefill::Nobody);
        }
        let computed = match pool {
            Some(pool) => self.prefill_leg(&pool, prompt).await,
            None => Err(Fallback::no_worker),
        };
        match computed {
            Ok(remote) => {
                metrics.remote_prefills.get_or_create(&self.labels).inc();
                Ok(remote)
            }
            Err(reason) => {
                self.without_prefill(reason)?;
                Ok(RemotePrefill::Nobody)
            }
        }
    }

    /// Leaves the prompt to the decode worker, if that is allowed.
    fn without_prefill(&self, reason: Fallback) -> Result<(), FrontendError> {
        let enforced = self.dispatcher.prefill_policy.enforced;
        warn!(
            request_id = %self.origin.request_id,
            ?reason,
            enforced,
            "no prefill worker computes the prompt, it is the decode worker's"
        );
        let fallbacks = &self.dispatcher.metrics.prefill_fallbacks;
        fallbacks.get_or_create(&FallbackLabels { reason }).inc();
        if enforced {
            let model = self.model.card.display_name.clone();
            return Err(FrontendError::NoPrefill(model));
        }
        Ok(())
    }

    async fn prefill_leg(
        &self,
        pool: &Arc<WorkerPool>,
        prompt: &Prompt,
    ) -> Result<RemotePrefill, Fallback> {
        let choice = WorkerChoice {
            request_id: &self.origin.request_id,
            prompt,
            remote_prefill: false,
            excluded: &[],
        };
        let can = |instance: &Instance| self.model.is_on(instance);
        let chosen = pool.choose_among(choice, &can);
        let chosen = chosen.map_err(|no_choice| match no_choice {
            NoChoice::Nobody => Fallback::no_worker,
            NoChoice::AllBusy => Fallback::busy,
        })?;
        if let Some(here) = self.model.decode.least_backlog(prompt)
            && self
                .dispatcher
                .prefill_policy
                .passes_over(&chosen.backlog(), &here)
        {
            return Err(Fallback::queue);
        }
        let worker = chosen.instance.instance_id;
        let lost = |error: CallError| {
            debug!(worker, %error, "prefill worker does not answer");
            pool.inhibit(worker);
            Fallback::call_failed
        };
        if let Some(endpoint) = pool.bootstrap(worker) {
            let info = crate::joined_prefill::meeting(&endpoint);
            let request = EngineRequest {
                bootstrap_info: Some(info.clone()),
                ..self.request.clone()
            };
            let responses = self.call(&chosen, &request).await.map_err(lost)?;
            let joined = JoinedPrefill::new(info, responses, chosen);
            return Ok(RemotePrefill::Joined(Box::new(joined)));
        }
        let mut responses = self.call(&chosen, &self.request).await.map_err(lost)?;
        let first = self
            .dispatcher
            .next(&mut responses, &chosen)
            .await
            .unwrap_or(Err(CallError::StreamEnded))
            .map_err(lost)?;
        chosen.prefill_completed();
        compact::decode(&first)
            .map_err(|_| Fallback::no_params)?
            .data
            .and_then(|output| output.disaggregated_params)
            .map(RemotePrefill::Done)
            .ok_or(Fallback::no_params)
    }

    async fn call(&self, chosen: &Chosen, request: &EngineRequest) -> Result<Responses, CallError> {
        let request = EngineRequest {
            estimated_prefix_hit_num_blocks: Some(chosen.overlap_blocks),
            dp_rank: Some(chosen.dp_rank),
            kv_peer: chosen.kv_peer.clone(),
            ..request.clone()
        };
        let body = serde_json::to_vec(&request).expect("engine requests have string keys only");
        let request = Request {
            encoding: Encoding::Compact,
            traceparent: self.origin.traceparent.clone(),
            ..Request::new(&self.origin.request_id, body)
        };
        self.dispatcher.plane.call(&chosen.instance, request).await
    }
}
