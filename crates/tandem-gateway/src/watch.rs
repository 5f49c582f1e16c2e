//! Counting an answer while it passes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use tandem_semantic_router::config::Pricing;
use tandem_semantic_router::{AnswerScanner, ModelStatistics, Recording, Router};
use tracing::{Span, info};

use crate::metrics::{InFlight, model_label, serving};
use crate::proxy::Grant;
use crate::trace::{self, Spans};
use crate::usage::{BYTES_PER_TOKEN, UsageReader};

/// An answer of the upstream, from the request on.
#[derive(Debug)]
pub(crate) struct Watch {
    in_flight: InFlight,
    /// Name of the model, for log lines.
    model: String,
    /// What selection learns from.
    observed: Observed,
    pricing: Option<Pricing>,
    request_id: String,
    started: Instant,
    /// When the first piece of the answer came.
    first: Option<Instant>,
    stream: bool,
    state: State,
    /// Where the answer goes to be given again.
    recording: Option<Box<Recording>>,
    spans: Spans,
    /// Ends with the answer.
    upstream: Span,
    account: Option<Box<Account>>,
}

/// Whose tokens these are.
#[derive(Debug)]
struct Account {
    grant: Grant,
    /// About as many as the prompt has, until the answer tells.
    tokens: u64,
}

/// The model's statistics, where the request counts as in flight until this is dropped.
#[derive(Debug)]
struct Observed {
    statistics: Arc<ModelStatistics>,
    /// A metric label: models that are not configured share one, so that clients cannot make the
    /// statistics grow.
    label: String,
}

impl Observed {
    fn start(statistics: Arc<ModelStatistics>, label: String) -> Self {
        statistics.started(&label);
        Self { statistics, label }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.statistics.finished(&self.label);
    }
}

/// How far the answer has come.
#[derive(Debug)]
enum State {
    /// Not begun.
    Awaited,
    /// It passes.
    Passing(UsageReader),
    /// Nothing more is counted.
    Done,
}

impl Watch {
    /// Begins when the request is sent on to `model`.
    pub(crate) fn new(
        in_flight: InFlight,
        router: &Router,
        model: &str,
        request_id: &str,
        spans: Spans,
    ) -> Self {
        Self {
            in_flight,
            model: model.to_owned(),
            observed: Observed::start(Arc::clone(router.statistics()), model_label(router, model)),
            pricing: serving(router, model).and_then(|model| model.pricing.clone()),
            request_id: request_id.to_owned(),
            started: Instant::now(),
            first: None,
            stream: false,
            state: State::Awaited,
            recording: None,
            upstream: spans.upstream(model),
            spans,
            account: None,
        }
    }

    /// Charges the tokens to whoever sent the request, whose body has `bytes`.
    pub(crate) fn charge_to(&mut self, grant: Option<Grant>, bytes: usize) {
        self.account = grant.map(|grant| {
            let tokens = bytes as u64 / BYTES_PER_TOKEN;
            Box::new(Account { grant, tokens })
        });
    }

    /// Passes the answer on to `recording`, too.
    pub(crate) fn record(mut self, recording: Option<Box<Recording>>) -> Self {
        self.recording = recording;
        self
    }

    /// The model's metric label.
    pub(crate) fn label(&self) -> &str {
        &self.observed.label
    }

    pub(crate) fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The answer's headers are there.
    pub(crate) fn begin(&mut self, status: StatusCode, stream: bool) {
        self.stream = stream;
        self.recording = self.recording.take().filter(|_| status.is_success());
        trace::answered(&self.upstream, status);
        let reason = match status.as_u16() {
            400..=499 => "upstream_4xx",
            500.. => "upstream_5xx",
            _ => {
                self.state = match status.is_success() {
                    true => State::Passing(UsageReader::new(stream)),
                    false => State::Done,
                };
                return;
            }
        };
        self.state = State::Done;
        if let Some(account) = &mut self.account {
            account.tokens = 0;
        }
        let metrics = self.in_flight.metrics();
        metrics.failed(self.label().to_owned(), reason);
    }

    /// A piece of the answer passes.
    pub(crate) fn piece(&mut self, piece: &[u8]) {
        if self.first.is_none() {
            let after = self.started.elapsed();
            self.first = Some(Instant::now());
            let metrics = self.in_flight.metrics();
            metrics.first_byte(self.label(), after);
            if matches!(self.state, State::Passing(_)) {
                let statistics = &self.observed.statistics;
                statistics.observe_ttft(self.label(), after);
            }
        }
        if let State::Passing(usage) = &mut self.state {
            usage.read(piece);
        }
        let recording = self.recording.take();
        self.recording = recording.and_then(|recording| recording.piece(piece));
    }

    /// The upstream failed, and that was counted elsewhere: nothing of the answer counts.
    pub(crate) fn broken(&mut self) {
        self.account = None;
        self.recording = None;
        self.state = State::Done;
    }

    /// The answer was looked at, to its end or until it was withheld, before it is complete. An
    /// answer that was withheld counts as refused. If the findings have changed it, it is not what
    /// the model said: who keeps answers must not keep that one.
    pub(crate) fn scanned(&mut self, scanner: &AnswerScanner) {
        if matches!(self.state, State::Done) {
            return;
        }
        let findings = scanner.findings();
        // What was said of this answer would have to be said again.
        if !findings.is_clean() {
            self.recording = None;
        }
        let metrics = self.in_flight.metrics();
        metrics.scanned(self.label(), scanner.decision(), findings);
        if findings.blocked.is_some() {
            self.state = State::Done;
        }
    }

    /// The answer is complete. Counts once, however often it is said.
    pub(crate) fn complete(&mut self) {
        let State::Passing(usage) = std::mem::replace(&mut self.state, State::Done) else {
            return;
        };
        if let Some(recording) = self.recording.take() {
            recording.complete();
        }
        let estimate = usage.estimate();
        let usage = usage.finish();
        if let Some(account) = &mut self.account {
            let told = usage.map(|usage| usage.total_tokens.into());
            account.tokens = told.unwrap_or(account.tokens + estimate);
        }
        let after = self.started.elapsed();
        let metrics = self.in_flight.metrics();
        metrics.completed(self.label(), after, usage);
        let Some(usage) = usage else {
            return;
        };
        if let Some(time) = self.per_token(after, usage.completion_tokens) {
            metrics.token_time(self.label(), time);
            let statistics = &self.observed.statistics;
            statistics.observe_tpot(self.label(), time);
        }
        let (cost, currency) = match &self.pricing {
            Some(pricing) => {
                let (prompt, completion) = (usage.prompt_tokens, usage.completion_tokens);
                let cost = pricing.cost(prompt.into(), completion.into());
                metrics.cost(self.label(), &pricing.currency, cost);
                (cost, pricing.currency.as_str())
            }
            None => (0.0, "unknown"),
        };
        let pricing = self.pricing.is_none().then_some("not_configured");
        self.spans.log(|| {
            info!(
                event = "llm_usage",
                request_id = self.request_id,
                model = self.model,
                prompt_tokens = usage.prompt_tokens,
                completion_tokens = usage.completion_tokens,
                total_tokens = usage.total_tokens,
                completion_latency_ms = after.as_secs_f64() * 1e3,
                cost,
                currency,
                pricing,
                "llm_usage"
            );
        });
    }

    /// Time per token: of a stream, between its first piece and its end.
    fn per_token(&self, total: Duration, tokens: u32) -> Option<Duration> {
        match self.first {
            Some(first) if self.stream => {
                let rest = tokens.checked_sub(1).filter(|rest| *rest > 0)?;
                Some(first.elapsed() / rest)
            }
            _ => (tokens > 0).then(|| total / tokens),
        }
    }
}

impl Drop for Watch {
    /// Who drops an answer before its end is a client that has left.
    fn drop(&mut self) {
        if let (Some(account), State::Passing(usage)) = (&mut self.account, &self.state) {
            account.tokens += usage.estimate();
        }
        if let Some(account) = &self.account {
            account.grant.charge(account.tokens);
        }
        if !matches!(self.state, State::Done) {
            let metrics = self.in_flight.metrics();
            metrics.failed(self.label().to_owned(), "cancellation");
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;
    use tandem_semantic_router::RouterConfig;
    use tandem_semantic_router::testing::FixedClassifier;

    use super::*;
    use crate::metrics::{GatewayMetrics, OTHER};

    #[test]
    fn clients_cannot_make_the_statistics_grow() {
        let config = RouterConfig::parse("default_model: m\nmodel_config: {m: {}}", &|_| None);
        let config = config.unwrap().config;
        let router = Router::new(config, Arc::new(FixedClassifier::default()));
        let metrics = Arc::new(GatewayMetrics::register(&mut Registry::default()));
        let spans = Spans::new(Span::none(), None);
        let watch = |model| Watch::new(metrics.enter(), &router, model, "r", spans.clone());
        let _running = ["m", "made up", "made up as well"].map(watch);
        let inflight = |model| router.statistics().inflight(model);
        let counted = ["m", "made up", "made up as well", OTHER].map(inflight);
        assert_eq!(counted, [1, 0, 0, 2]);
    }
}
