//! Choosing a worker for a request that somebody else sends there: a proxy, over HTTP.

use std::cmp::Reverse;
use std::sync::Arc;

use bytes::Bytes;
use rand::seq::IteratorRandom;
use tandem_kv_router::Prompt;
use tandem_protocol::openai::chat::ChatRequest;
use tandem_protocol::openai::completion::CompletionRequest;
use tandem_runtime::{Instance, Lifecycle};

use crate::answer::Form;
use crate::config::RoutingArgs;
use crate::error::FrontendError;
use crate::model_registry::{Model, ModelRegistry};
use crate::preprocess;
use crate::server::Planes;
use crate::worker_pool::{Chosen, WorkerChoice, WorkerPool};

/// Chooses workers as a frontend would, among those that serve the OpenAI API themselves.
pub struct Picker {
    registry: Arc<ModelRegistry>,
    max_local_prefill: usize,
}

/// A request that needs a worker.
#[derive(Debug, Clone)]
pub struct PickRequest<'a> {
    /// Which API it is for.
    pub form: Form,
    /// Its body.
    pub body: Bytes,
    /// For the logs.
    pub request_id: &'a str,
    /// How many other workers to name, in case the first does not answer.
    pub fallbacks: usize,
}

/// A chosen worker. Dropping it says that the request has ended.
pub struct Picked {
    endpoint: String,
    fallbacks: Vec<String>,
    /// `None` once somebody answers who is not one of ours.
    instance_id: Option<u64>,
    pool: Arc<WorkerPool>,
    request_id: String,
    sequences: Vec<Sequence>,
    prefilled: bool,
}

/// One of the sequences that a request makes a worker generate.
struct Sequence {
    prompt: Arc<Prompt>,
    remote_prefill: bool,
    /// What counts on the worker; nothing where that is not one of ours.
    chosen: Option<Chosen>,
}

impl Picker {
    /// Starts to follow the models in discovery.
    pub fn start(args: &RoutingArgs, planes: &Planes, lifecycle: &Lifecycle) -> Self {
        Self {
            registry: ModelRegistry::start(args, planes, lifecycle),
            max_local_prefill: args.max_local_prefill,
        }
    }

    /// Chooses a worker for a prompt, among those whose address is `allowed`.
    ///
    /// # Errors
    /// A frontend would refuse the request, or there is no such worker, or all of them are busy.
    pub async fn pick(
        &self,
        request: PickRequest<'_>,
        allowed: &(dyn Fn(&str) -> bool + Send + Sync),
    ) -> Result<Picked, FrontendError> {
        let (form, body) = (request.form, request.body.clone());
        let registry = Arc::clone(&self.registry);
        // A long prompt takes milliseconds.
        let reading = tokio::task::spawn_blocking(move || read(&registry, form, &body));
        let (model, prompts) = reading
            .await
            .map_err(|error| FrontendError::Internal(error.to_string()))??;
        self.choose(&model, prompts, &request, allowed)
    }

    /// Chooses any worker whose address is `allowed`, for a request that holds no prompt; `None` if
    /// there is no such worker.
    pub fn pick_any(&self, allowed: &dyn Fn(&str) -> bool) -> Option<Picked> {
        let prompt = Prompt::default();
        let choice = WorkerChoice {
            request_id: "",
            prompt: &prompt,
            remote_prefill: false,
            excluded: &[],
        };
        let eligible = |instance: &Instance| address(instance).is_some_and(allowed);
        let models = self.registry.models().into_iter();
        let found = models.filter_map(|model| {
            let instance = model.decode.first_choice(choice, &eligible).ok()?;
            Some(Picked::on(&instance, &model.decode, ""))
        });
        found.choose(&mut rand::rng())
    }

    /// Whether a worker can be picked.
    pub fn is_ready(&self) -> bool {
        let mut models = self.registry.models().into_iter();
        models.any(|model| {
            let instances = model.decode.instances().current();
            instances.values().any(|one| address(one).is_some())
        })
    }

    /// The worker of the longest prompt takes all of them: they come in one request.
    fn choose(
        &self,
        model: &Model,
        prompts: Vec<Arc<Prompt>>,
        request: &PickRequest<'_>,
        allowed: &dyn Fn(&str) -> bool,
    ) -> Result<Picked, FrontendError> {
        let (pool, name) = (&model.decode, &model.card.display_name);
        let eligible = |instance: &Instance| address(instance).is_some_and(allowed);
        let prefill = model.prefill.load().is_some();
        let remote =
            |prompt: &Prompt| prefill && pool.least_uncached(prompt) > self.max_local_prefill;
        let mut prompts = prompts.into_iter();
        let longest = prompts.next().unwrap_or_default();
        let choice = WorkerChoice {
            request_id: request.request_id,
            prompt: &longest,
            remote_prefill: remote(&longest),
            excluded: &[],
        };
        let chosen = pool.choose_among(choice, &eligible);
        let chosen = chosen.map_err(|no_choice| no_choice.error(name))?;
        let mut picked = Picked::on(&chosen.instance, pool, request.request_id);
        let mut excluded = vec![chosen.instance.instance_id];
        while picked.fallbacks.len() < request.fallbacks {
            let choice = WorkerChoice {
                excluded: &excluded,
                ..choice
            };
            let Ok(next) = pool.first_choice(choice, &eligible) else {
                break;
            };
            excluded.push(next.instance_id);
            picked.fallbacks.extend(next.http);
        }
        let remote_prefill = choice.remote_prefill;
        picked.sequences.push(Sequence {
            prompt: longest,
            remote_prefill,
            chosen: Some(chosen),
        });
        for prompt in prompts {
            let remote_prefill = remote(&prompt);
            picked.add(prompt, remote_prefill);
        }
        Ok(picked)
    }
}

impl Picked {
    /// A request on `instance` that makes it generate nothing yet.
    fn on(instance: &Instance, pool: &Arc<WorkerPool>, request_id: &str) -> Self {
        Self {
            endpoint: instance.http.clone().unwrap_or_default(),
            fallbacks: Vec::new(),
            instance_id: Some(instance.instance_id),
            pool: Arc::clone(pool),
            request_id: request_id.to_owned(),
            sequences: Vec::new(),
            prefilled: false,
        }
    }

    /// The worker's address, `ip:port`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Addresses of the next best workers, best first.
    pub fn fallbacks(&self) -> &[String] {
        &self.fallbacks
    }

    /// Notes that the worker has computed the prompt. May be said more than once.
    pub fn prefill_completed(&mut self) {
        if !std::mem::replace(&mut self.prefilled, true) {
            let chosen = self.sequences.iter().flat_map(|one| &one.chosen);
            chosen.for_each(Chosen::prefill_completed);
        }
    }

    /// Notes who answers, if that is another worker than the chosen one.
    pub fn served_by(&mut self, endpoint: &str) {
        if endpoint == self.endpoint {
            return;
        }
        let instances = self.pool.instances().current();
        let serving = instances
            .values()
            .find(|one| address(one) == Some(endpoint));
        endpoint.clone_into(&mut self.endpoint);
        self.instance_id = serving.map(|instance| instance.instance_id);
        for Sequence {
            prompt,
            remote_prefill,
            ..
        } in std::mem::take(&mut self.sequences)
        {
            self.add(prompt, remote_prefill);
        }
        if std::mem::take(&mut self.prefilled) {
            self.prefill_completed();
        }
    }

    /// Leaves the worker alone for a while: it did not answer, or could not serve.
    pub fn failed(&self) {
        if let Some(instance_id) = self.instance_id {
            self.pool.inhibit(instance_id);
        }
    }

    /// Counts one more sequence on the worker.
    fn add(&mut self, prompt: Arc<Prompt>, remote_prefill: bool) {
        let choice = WorkerChoice {
            request_id: &self.request_id,
            prompt: &prompt,
            remote_prefill,
            excluded: &[],
        };
        let here = |instance: &Instance| self.instance_id == Some(instance.instance_id);
        let chosen = self.pool.choose_among(choice, &here).ok();
        self.sequences.push(Sequence {
            prompt,
            remote_prefill,
            chosen,
        });
    }
}

/// Where the worker serves the OpenAI API, if it does.
fn address(instance: &Instance) -> Option<&str> {
    instance.http.as_deref()
}

/// The model that a body asks for, and the prompt of every sequence to generate, longest first.
fn read(
    registry: &ModelRegistry,
    form: Form,
    body: &[u8],
) -> Result<(Arc<Model>, Vec<Arc<Prompt>>), FrontendError> {
    let (model, prepared, choices) = match form {
        Form::Chat => {
            let request = ChatRequest::from_body(body)?;
            let model = registry.get(&request.model)?;
            let prepared = vec![preprocess::chat(&model, &request)?];
            (model, prepared, request.sampling.choices())
        }
        Form::Completion => {
            let request = CompletionRequest::from_body(body)?;
            let model = registry.get(&request.model)?;
            let prepared = preprocess::completion(&model, &request)?;
            (model, prepared, request.sampling.choices())
        }
    };
    let mut prompts = Vec::new();
    for one in &prepared {
        let prompt = Arc::new(model.prompt(&one.engine.token_ids));
        prompts.extend((0..choices).map(|_| Arc::clone(&prompt)));
    }
    prompts.sort_by_key(|prompt| Reverse(prompt.tokens));
    Ok((model, prompts))
}
