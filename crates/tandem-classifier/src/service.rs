//! The classifier that runs encoders on its own threads.
//!
//! A request becomes a job. A compute thread takes the jobs at the head of the line, moves each by
//! one step (a piece of text tokenized, one window), all windows in one pass, and puts those that
//! are not done to the end of the line. A short text thus never waits for more than one step of a
//! long one, and a deadline is noticed between two steps.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;

use crate::encoder::Workspace;
use crate::error::LoadError;
use crate::model::{Model, Window};
use crate::pii::{Recognizers, merge};
use crate::progress::Progress;
use crate::queue::Queue;
use crate::{Analysis, Checkpoints, Classifier, ClassifierError, Heads, composite, nano};

/// How a classifier uses the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Compute threads.
    pub threads: usize,
    /// Most requests at a time, waiting and in work together; more are refused as overloaded.
    pub queue: usize,
    /// How long a request may take, waiting included.
    pub timeout: Duration,
    /// Longest text in bytes.
    pub max_text_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threads: 1,
            queue: 256,
            timeout: Duration::from_secs(5),
            max_text_bytes: 4 * 1024 * 1024,
        }
    }
}

/// Operating points that the model card recommends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Probability from which a text counts as a jailbreak: 2 % false positives.
    pub jailbreak: f32,
    /// Cosine from which one cached answer serves two questions: best F1.
    pub cache: f32,
}

/// Encoders, the recognizers of personal data, and the threads that run them.
pub struct EncoderClassifier {
    name: String,
    heads: Heads,
    thresholds: Option<Thresholds>,
    settings: Settings,
    queue: Arc<Queue<Job>>,
}

/// What a thread needs besides the queue.
struct Engine {
    models: Vec<Model>,
    recognizers: Recognizers,
    threads: usize,
}

/// One request.
struct Job {
    text: Arc<str>,
    heads: Heads,
    deadline: Instant,
    reply: oneshot::Sender<Result<Analysis, ClassifierError>>,
    /// Per network that is needed, its index and how far the text has come.
    parts: Vec<(usize, Progress)>,
}

/// Jobs whose windows go through a network together.
const BATCH_JOBS: usize = 32;
/// Tokens that go through a network together, unless one window alone has more.
const BATCH_TOKENS: usize = 1024;

impl EncoderClassifier {
    /// Loads `tandem-nano-encoder` from its directory.
    pub fn nano(dir: &Path, settings: Settings) -> Result<Self, LoadError> {
        let (model, thresholds) = nano::load(dir)?;
        let name = dir.file_name().unwrap_or(dir.as_os_str());
        let name = name.to_string_lossy().into_owned();
        Self::start(name, vec![model], Some(thresholds), settings)
    }

    /// Loads checkpoints with one head each.
    pub fn composite(checkpoints: &Checkpoints, settings: Settings) -> Result<Self, LoadError> {
        let models = composite::load(checkpoints)?;
        Self::start("composite".into(), models, None, settings)
    }

    /// Loads a directory that holds a nano encoder, and refuses any other.
    pub fn load(dir: &Path, settings: Settings) -> Result<Self, LoadError> {
        if nano::is_nano(dir)? {
            return Self::nano(dir, settings);
        }
        let reason = "it says neither which head it has nor that it is a nano encoder";
        Err(LoadError::unsupported(&dir.join("config.json"), reason))
    }

    /// The operating points of the model card, if there is one.
    pub fn thresholds(&self) -> Option<Thresholds> {
        self.thresholds
    }

    /// The heads that it can answer. Personal data is always among them: the recognizers need
    /// no network.
    pub fn heads(&self) -> Heads {
        self.heads
    }

    fn start(
        name: String,
        models: Vec<Model>,
        thresholds: Option<Thresholds>,
        settings: Settings,
    ) -> Result<Self, LoadError> {
        let recognizers = Heads {
            pii: true,
            ..Heads::default()
        };
        let heads = models
            .iter()
            .fold(recognizers, |heads, model| heads.union(model.heads()));
        let threads = settings.threads.max(1);
        let engine = Arc::new(Engine {
            models,
            recognizers: Recognizers::new(),
            threads,
        });
        let queue = Arc::new(Queue::new(settings.queue.max(1)));
        let classifier = Self {
            name,
            heads,
            thresholds,
            settings,
            queue: Arc::clone(&queue),
        };
        for index in 0..threads {
            let (engine, queue) = (Arc::clone(&engine), Arc::clone(&queue));
            // Ends when the classifier is dropped, which closes the queue.
            std::thread::Builder::new()
                .name(format!("classifier-{index}"))
                .spawn(move || engine.run(&queue))
                .map_err(|source| LoadError::Thread { source })?;
        }
        Ok(classifier)
    }

    fn submit(
        &self,
        text: Arc<str>,
        heads: Heads,
    ) -> Result<oneshot::Receiver<Result<Analysis, ClassifierError>>, ClassifierError> {
        if text.len() > self.settings.max_text_bytes {
            let limit = self.settings.max_text_bytes;
            let reason = format!("text of {} bytes exceeds {limit}", text.len());
            return Err(ClassifierError::Failed(reason));
        }
        let (reply, answer) = oneshot::channel();
        let job = Job {
            text,
            heads,
            deadline: Instant::now() + self.settings.timeout,
            reply,
            parts: Vec::new(),
        };
        match self.queue.push(job) {
            Ok(()) => Ok(answer),
            Err(_) => Err(ClassifierError::Overloaded),
        }
    }
}

impl Drop for EncoderClassifier {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Classifier for EncoderClassifier {
    fn analyze(
        &self,
        text: Arc<str>,
        heads: Heads,
    ) -> BoxFuture<'_, Result<Analysis, ClassifierError>> {
        if heads.is_empty() {
            return futures::future::ready(Ok(Analysis::default())).boxed();
        }
        match self.submit(text, heads) {
            Err(error) => futures::future::ready(Err(error)).boxed(),
            Ok(answer) => async {
                answer.await.unwrap_or_else(|_| {
                    Err(ClassifierError::Failed("the compute thread is gone".into()))
                })
            }
            .boxed(),
        }
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Engine {
    fn run(&self, queue: &Queue<Job>) {
        let mut workspace = Workspace::default();
        while let Some(jobs) = queue.take(BATCH_JOBS, self.threads) {
            let taken = jobs.len();
            // A job that panics takes down its batch, not the thread: dropping the jobs answers
            // their callers.
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
        let mut open = Vec::with_capacity(jobs.len());
        for mut job in jobs {
            if job.reply.is_canceled() {
                continue;
            }
            if Instant::now() >= job.deadline {
                job.answer(Err(ClassifierError::Timeout));
                continue;
            }
            if job.parts.is_empty() {
                job.parts = self.parts(job.heads);
            }
            open.push(job);
        }
        for (index, model) in self.models.iter().enumerate() {
            open = step(index, model, open, workspace);
        }
        let (done, unfinished) = open
            .into_iter()
            .partition(|job| job.parts.iter().all(|(_, progress)| progress.is_done()));
        for job in done {
            self.finish(job);
        }
        unfinished
    }

    /// The networks that answer the heads.
    fn parts(&self, wanted: Heads) -> Vec<(usize, Progress)> {
        let parts = self.models.iter().enumerate().filter_map(|(index, model)| {
            let heads = model.heads().intersection(wanted);
            (!heads.is_empty()).then(|| (index, Progress::new(heads)))
        });
        parts.collect()
    }

    fn finish(&self, mut job: Job) {
        let mut analysis = Analysis::default();
        let mut spans = Vec::new();
        for (index, progress) in std::mem::take(&mut job.parts) {
            let model = &self.models[index];
            spans.extend(
                progress
                    .finish(model, &job.text, &mut analysis)
                    .into_iter()
                    .flatten(),
            );
        }
        if job.heads.pii {
            let findings = self.recognizers.find(&job.text);
            analysis.pii = Some(merge(&job.text, spans, &findings));
        }
        job.answer(Ok(analysis));
    }
}

impl Job {
    fn answer(self, answer: Result<Analysis, ClassifierError>) {
        // The caller may have gone away, which is no error.
        let _gone = self.reply.send(answer);
    }

    fn part(&mut self, index: usize) -> Option<(&str, &mut Progress)> {
        let (_, progress) = self.parts.iter_mut().find(|(model, _)| *model == index)?;
        Some((&self.text, progress))
    }
}

/// Moves every job that needs a network by one window of it. Jobs that fail are answered.
fn step(index: usize, model: &Model, jobs: Vec<Job>, workspace: &mut Workspace) -> Vec<Job> {
    let mut open = Vec::with_capacity(jobs.len());
    let mut failed = None;
    for mut job in jobs {
        let prepared = match job.part(index) {
            Some((text, progress)) if !progress.is_done() => progress.prepare(model, text),
            _ => Ok(false),
        };
        match prepared {
            Ok(_) => open.push(job),
            Err(error) => job.answer(Err(ClassifierError::Failed(error.to_string()))),
        }
    }
    let mut ready: Vec<usize> = (0..open.len()).collect();
    ready.retain(|slot| {
        open[*slot].part(index).is_some_and(|(text, progress)| {
            !progress.is_done() && progress.window(model, text).is_some()
        })
    });
    let mut rest = ready.as_slice();
    while !rest.is_empty() && failed.is_none() {
        let mut windows: Vec<Window<'_>> = Vec::new();
        let mut tokens = 0;
        for slot in rest {
            let (_, progress) = open[*slot]
                .parts
                .iter()
                .find(|(model, _)| *model == index)
                .expect("only jobs with this part are ready");
            let window = progress
                .window(model, &open[*slot].text)
                .expect("only jobs with a window are ready");
            if !windows.is_empty() && tokens + window.tokens.len() > BATCH_TOKENS {
                break;
            }
            tokens += window.tokens.len() + 2;
            windows.push(window);
        }
        let (batch, later) = rest.split_at(windows.len());
        match model.answer(&windows, workspace) {
            Ok(answers) => {
                for (slot, answer) in batch.iter().zip(answers) {
                    if let Some((text, progress)) = open[*slot].part(index) {
                        progress.absorb(model, text, answer);
                    }
                }
            }
            Err(error) => failed = Some(error.to_string()),
        }
        rest = later;
    }
    if let Some(reason) = failed {
        for job in open.drain(..) {
            job.answer(Err(ClassifierError::Failed(reason.clone())));
        }
    }
    open
}
