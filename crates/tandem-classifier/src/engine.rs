//! What a compute thread does.
//!
//! A request is a job. A thread takes the jobs at the head of the line, moves each by one step (a
//! piece of text tokenized, one window), all windows in one pass, and puts those that are not
//! done to the end of the line. A short text thus never waits for more than one step of a long
//! one, and a deadline is noticed between two steps.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use futures::channel::oneshot;

use crate::encoder::Workspace;
use crate::model::{Answer, Model, Window};
use crate::pii::{Recognizers, merge};
use crate::progress::Progress;
use crate::queue::Queue;
use crate::{Analysis, ClassifierError, Heads};

/// Networks and recognizers; shared by the threads.
#[derive(Debug)]
pub(crate) struct Engine {
    models: Vec<Model>,
    recognizers: Recognizers,
    threads: usize,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Job {
    text: Arc<str>,
    heads: Heads,
    deadline: Instant,
    reply: oneshot::Sender<Result<Analysis, ClassifierError>>,
    /// Per network, how far the text has come; empty before the first turn.
    parts: Vec<Option<Progress>>,
    failure: Option<String>,
}

/// Jobs whose windows go through a network together.
const BATCH_JOBS: usize = 32;
/// Tokens that go through a network together, unless one window alone has more.
const BATCH_TOKENS: usize = 1024;

impl Engine {
    pub(crate) fn new(models: Vec<Model>, threads: usize) -> Self {
        Self {
            models,
            recognizers: Recognizers::new(),
            threads,
        }
    }

    /// The heads that can be answered; the recognizers need no network.
    pub(crate) fn heads(&self) -> Heads {
        let recognizers = Heads {
            pii: true,
            ..Heads::default()
        };
        let models = self.models.iter();
        models.fold(recognizers, |heads, model| heads.union(model.heads()))
    }

    /// Works until the queue is closed.
    pub(crate) fn run(&self, queue: &Queue<Job>) {
        let mut workspace = Workspace::default();
        while let Some(jobs) = queue.take(BATCH_JOBS, self.threads) {
            let taken = jobs.len();
            // A job that panics takes down its batch, not the thread: callers whose job is
            // dropped get an error.
            let turn = AssertUnwindSafe(|| self.turn(jobs, &mut workspace));
            let unfinished = catch_unwind(turn).unwrap_or_else(|_| {
                tracing::error!("classification panicked");
                Vec::new()
            });
            queue.end_turn(taken, unfinished);
        }
    }

    /// Moves each job by one step and returns those that are not done.
    fn turn(&self, jobs: Vec<Job>, workspace: &mut Workspace) -> Vec<Job> {
        let now = Instant::now();
        let mut jobs: Vec<Job> = jobs
            .into_iter()
            .filter_map(|job| job.in_time(now))
            .collect();
        for job in jobs.iter_mut().filter(|job| job.parts.is_empty()) {
            job.parts = self.parts(job.heads);
        }
        for index in 0..self.models.len() {
            self.step(index, &mut jobs, workspace);
        }
        let mut unfinished = Vec::new();
        for job in jobs {
            if job.is_done() {
                self.finish(job);
            } else {
                unfinished.push(job);
            }
        }
        unfinished
    }

    /// The networks that the heads need.
    fn parts(&self, wanted: Heads) -> Vec<Option<Progress>> {
        let parts = self.models.iter().map(|model| {
            let heads = model.heads().intersection(wanted);
            (!heads.is_empty()).then(|| Progress::new(heads))
        });
        parts.collect()
    }

    /// Moves every job by one window of one network.
    fn step(&self, index: usize, jobs: &mut [Job], workspace: &mut Workspace) {
        let model = &self.models[index];
        let mut ready = Vec::new();
        for (slot, job) in jobs.iter_mut().enumerate() {
            if job.prepare(index, model) {
                ready.push(slot);
            }
        }
        let mut rest = ready.as_slice();
        while !rest.is_empty() {
            let windows = batch(
                rest.iter()
                    .filter_map(|slot| jobs[*slot].window(index, model)),
            );
            let (now, later) = rest.split_at(windows.len().max(1));
            let answers = model.answer(&windows, workspace);
            for (slot, answer) in now.iter().zip(answers) {
                jobs[*slot].absorb(index, model, answer);
            }
            rest = later;
        }
    }

    fn finish(&self, mut job: Job) {
        if let Some(reason) = job.failure.take() {
            return job.answer(Err(ClassifierError::Failed(reason)));
        }
        let mut analysis = Analysis::default();
        let mut spans = Vec::new();
        for (model, progress) in self.models.iter().zip(std::mem::take(&mut job.parts)) {
            if let Some(progress) = progress {
                let found = progress.finish(model, &job.text, &mut analysis);
                spans.extend(found.into_iter().flatten());
            }
        }
        if job.heads.pii {
            let findings = self.recognizers.find(&job.text);
            analysis.pii = Some(merge(&job.text, spans, &findings));
        }
        job.answer(Ok(analysis));
    }
}

/// As many windows as go through a network together.
fn batch<'a>(windows: impl Iterator<Item = Window<'a>>) -> Vec<Window<'a>> {
    let mut batch = Vec::new();
    let mut tokens = 0;
    for window in windows {
        tokens += window.tokens.len() + 2;
        if !batch.is_empty() && tokens > BATCH_TOKENS {
            break;
        }
        batch.push(window);
    }
    batch
}

impl Job {
    pub(crate) fn new(
        text: Arc<str>,
        heads: Heads,
        deadline: Instant,
        reply: oneshot::Sender<Result<Analysis, ClassifierError>>,
    ) -> Self {
        Self {
            text,
            heads,
            deadline,
            reply,
            parts: Vec::new(),
            failure: None,
        }
    }

    /// Drops the job if nobody waits for it, and answers it if its time is over.
    fn in_time(self, now: Instant) -> Option<Self> {
        if self.reply.is_canceled() {
            return None;
        }
        if now >= self.deadline {
            self.answer(Err(ClassifierError::Timeout));
            return None;
        }
        Some(self)
    }

    fn is_done(&self) -> bool {
        let mut parts = self.parts.iter().flatten();
        self.failure.is_some() || parts.all(Progress::is_done)
    }

    /// Whether the next window for a network is there.
    fn prepare(&mut self, index: usize, model: &Model) -> bool {
        if self.failure.is_some() {
            return false;
        }
        let Some(progress) = self.parts[index].as_mut().filter(|part| !part.is_done()) else {
            return false;
        };
        progress.prepare(model, &self.text).unwrap_or_else(|error| {
            self.failure = Some(error.to_string());
            false
        })
    }

    fn window(&self, index: usize, model: &Model) -> Option<Window<'_>> {
        self.parts[index].as_ref()?.window(model, &self.text)
    }

    fn absorb(&mut self, index: usize, model: &Model, answer: Result<Answer, tokenizers::Error>) {
        match (answer, &mut self.parts[index]) {
            (Ok(answer), Some(progress)) => progress.absorb(model, &self.text, answer),
            (Ok(_), None) => {}
            (Err(error), _) => self.failure = Some(error.to_string()),
        }
    }

    fn answer(self, answer: Result<Analysis, ClassifierError>) {
        // The caller may have gone away, which is no error.
        let _gone = self.reply.send(answer);
    }
}
