//! The classifier that runs encoders on its own threads.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;

use crate::engine::{Engine, Job};
use crate::error::LoadError;
use crate::model::Model;
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
        let threads = settings.threads.max(1);
        let engine = Arc::new(Engine::new(models, threads));
        let queue = Arc::new(Queue::new(settings.queue.max(1)));
        let classifier = Self {
            name,
            heads: engine.heads(),
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
        let deadline = Instant::now() + self.settings.timeout;
        let job = Job::new(text, heads, deadline, reply);
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
