//! Choosing a worker for a request that somebody else sends there: a proxy, over HTTP.

use std::cmp::Reverse;
use std::net::SocketAddr;
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
use crate::server_pool;
use crate::worker_pool::{Chosen, WorkerChoice, WorkerPool};

/// Chooses workers as a frontend would, among those that serve the OpenAI API themselves.
pub struct Picker {
    source: Source,
}

/// Who there is to choose from.
#[derive(Clone)]
enum Source {
    /// Workers that register, with their models.
    Models {
        registry: Arc<ModelRegistry>,
        max_local_prefill: usize,
    },
    /// Servers that register nowhere.
    Servers(Arc<WorkerPool>),
}

/// What a request makes the chosen worker do.
struct Demand {
    pool: Arc<WorkerPool>,
    /// Name of the model.
    model: String,
    /// The model, if it is one of a registry: not all workers may have it.
    registered: Option<Arc<Model>>,
    /// Longest first; at least one.
    prompts: Vec<Demanded>,
}

/// A prompt to generate from.
#[derive(Clone)]
struct Demanded {
    prompt: Arc<Prompt>,
    /// Whether a prefill worker will compute it.
    remote_prefill: bool,
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
    /// Whether the worker could not serve: what comes as an answer is not its own.
    failed: bool,
}

/// One of the sequences that a request makes a worker generate.
struct Sequence {
    demanded: Demanded,
    /// What counts on the worker; nothing where that is not one of ours.
    chosen: Option<Chosen>,
}

impl Picker {
    /// Starts to follow the models in discovery.
    pub fn start(args: &RoutingArgs, planes: &Planes, lifecycle: &Lifecycle) -> Self {
        Self {
            source: Source::Models {
                registry: ModelRegistry::start(args, planes, lifecycle),
                max_local_prefill: args.max_local_prefill,
            },
        }
    }

    /// Starts to follow the health of servers that register nowhere. What they have cached is
    /// guessed from where similar prompts went before.
    pub fn of_servers(args: &RoutingArgs, servers: &[SocketAddr], lifecycle: &Lifecycle) -> Self {
        Self {
            source: Source::Servers(server_pool::start(args, servers, lifecycle)),
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
        let source = self.source.clone();
        // A long prompt takes milliseconds.
        let reading = tokio::task::spawn_blocking(move || source.demand(form, &body));
        let demand = reading
            .await
            .map_err(|error| FrontendError::Internal(error.to_string()))??;
        demand.choose(&request, allowed)
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
        let found = self.source.pools().into_iter().filter_map(|pool| {
            let instance = pool.first_choice(choice, &eligible).ok()?;
            Some(Picked::on(&instance, &pool, ""))
        });
        found.choose(&mut rand::rng())
    }

    /// Whether a worker can be picked.
    pub fn is_ready(&self) -> bool {
        self.source.pools().iter().any(|pool| {
            let instances = pool.instances().current();
            instances.values().any(|one| address(one).is_some())
        })
    }
}

impl Source {
    /// Those that answer.
    fn pools(&self) -> Vec<Arc<WorkerPool>> {
        match self {
            Self::Models { registry, .. } => {
                let models = registry.models().into_iter();
                models.map(|model| Arc::clone(&model.decode)).collect()
            }
            Self::Servers(pool) => vec![Arc::clone(pool)],
        }
    }

    fn demand(&self, form: Form, body: &[u8]) -> Result<Demand, FrontendError> {
        match self {
            Self::Models {
                registry,
                max_local_prefill,
            } => demand(registry, *max_local_prefill, form, body),
            Self::Servers(pool) => {
                let (model, prompt) = server_pool::read(body, pool.block_size())?;
                Ok(Demand {
                    pool: Arc::clone(pool),
                    model,
                    registered: None,
                    prompts: vec![Demanded {
                        prompt: Arc::new(prompt),
                        remote_prefill: false,
                    }],
                })
            }
        }
    }
}

impl Demand {
    /// The worker of the longest prompt takes all of them: they come in one request.
    fn choose(
        self,
        request: &PickRequest<'_>,
        allowed: &dyn Fn(&str) -> bool,
    ) -> Result<Picked, FrontendError> {
        let Self {
            pool,
            model,
            registered,
            prompts,
        } = self;
        let eligible = |instance: &Instance| {
            let can = registered
                .as_ref()
                .is_none_or(|model| model.is_on(instance));
            can && address(instance).is_some_and(allowed)
        };
        let mut prompts = prompts.into_iter();
        let longest = prompts.next().expect("a request has at least one prompt");
        let choice = longest.choice(request.request_id);
        let chosen = pool.choose_among(choice, &eligible);
        let chosen = chosen.map_err(|no_choice| no_choice.error(&model))?;
        let mut picked = Picked::on(&chosen.instance, &pool, request.request_id);
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
        picked.sequences.push(Sequence {
            demanded: longest.clone(),
            chosen: Some(chosen),
        });
        for demanded in prompts {
            picked.add(demanded);
        }
        Ok(picked)
    }
}

impl Demanded {
    fn choice<'a>(&'a self, request_id: &'a str) -> WorkerChoice<'a> {
        WorkerChoice {
            request_id,
            prompt: &self.prompt,
            remote_prefill: self.remote_prefill,
            excluded: &[],
        }
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
            failed: false,
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
        if !self.failed && !std::mem::replace(&mut self.prefilled, true) {
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
        for sequence in std::mem::take(&mut self.sequences) {
            drop(sequence.chosen);
            self.add(sequence.demanded);
        }
        if std::mem::take(&mut self.prefilled) {
            self.prefill_completed();
        }
    }

    /// Leaves the worker alone for a while: it did not answer, or could not serve.
    pub fn failed(&mut self) {
        self.failed = true;
        if let Some(instance_id) = self.instance_id {
            self.pool.inhibit(instance_id);
        }
    }

    /// Counts one more sequence on the worker.
    fn add(&mut self, demanded: Demanded) {
        let choice = demanded.choice(&self.request_id);
        let here = |instance: &Instance| self.instance_id == Some(instance.instance_id);
        let chosen = self.pool.choose_among(choice, &here).ok();
        self.sequences.push(Sequence { demanded, chosen });
    }
}

/// Where the worker serves the OpenAI API, if it does.
fn address(instance: &Instance) -> Option<&str> {
    instance.http.as_deref()
}

/// What a body makes a worker of its model do.
fn demand(
    registry: &ModelRegistry,
    max_local_prefill: usize,
    form: Form,
    body: &[u8],
) -> Result<Demand, FrontendError> {
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
    let pool = Arc::clone(&model.decode);
    let prefill = model.prefill_workers().is_some();
    let mut prompts = Vec::new();
    for one in &prepared {
        let prompt = model.prompt(&one.engine);
        let demanded = Demanded {
            remote_prefill: prefill && pool.least_uncached(&prompt) > max_local_prefill,
            prompt: Arc::new(prompt),
        };
        prompts.extend((0..choices).map(|_| demanded.clone()));
    }
    prompts.sort_by_key(|one| Reverse(one.prompt.tokens));
    Ok(Demand {
        pool,
        model: model.card.display_name.clone(),
        registered: Some(model),
        prompts,
    })
}
