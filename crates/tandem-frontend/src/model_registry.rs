//! Which models are served, kept up to date from the model cards in discovery.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use futures::StreamExt;
use parking_lot::Mutex;
use tandem_kv_router::Prompt;
use tandem_protocol::engine::EngineRequest;
use tandem_protocol::kv::HashScope;
use tandem_protocol::openai::model::{Model as ListedModel, ModelList};
use tandem_runtime::component::MODEL_CARD_ROOT;
use tandem_runtime::discovery::DiscoveryEvent;
use tandem_runtime::{EndpointId, Instance, Lifecycle};
use tandem_tokenizer::model_card::{DisaggregatedEndpoint, ModelType};
use tandem_tokenizer::{ChatTemplate, Error, ModelCard, Tokenizer};
use tracing::{info, warn};

use crate::answer::unix_seconds;
use crate::config::RoutingArgs;
use crate::error::FrontendError;
use crate::served_prefixes::ServedPrefixes;
use crate::server::Planes;
use crate::worker_pool::{PoolFactory, WorkerPool};

/// A model that can be asked for.
pub(crate) struct Model {
    /// What its workers published.
    pub card: ModelCard,
    /// Tokens that end an answer.
    pub eos_token_ids: Vec<u32>,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// Its chat template, if it has one.
    pub template: Option<ChatTemplate>,
    /// Workers that answer.
    pub decode: Arc<WorkerPool>,
    /// Workers that only compute prompts. They come and go; the pool stays when the last one has
    /// gone, so that prompts which miss them are noticed.
    pub prefill: ArcSwapOption<WorkerPool>,
    /// The prompts that its workers should have cached.
    pub prefixes: Mutex<ServedPrefixes>,
    /// The workers that have the adapter, if it is one; others of the pools do not know it.
    holders: Option<ArcSwap<HashSet<u64>>>,
    created: u64,
}

impl Model {
    /// The prompt of a request as the workers' caches see it.
    pub(crate) fn prompt(&self, request: &EngineRequest) -> Prompt {
        let scope = HashScope {
            lora: self.card.lora.as_ref().map(|lora| &*lora.name),
            cache_salt: request.cache_salt.as_deref(),
        };
        Prompt::new(&request.token_ids, self.decode.block_size(), scope)
    }

    /// Whether a worker of its pools can answer for it.
    pub(crate) fn is_on(&self, instance: &Instance) -> bool {
        let holders = self.holders.as_ref().map(ArcSwap::load);
        holders.is_none_or(|holders| holders.contains(&instance.instance_id))
    }

    /// Its workers.
    fn pools(&self) -> impl Iterator<Item = Arc<WorkerPool>> {
        let pools = [Some(Arc::clone(&self.decode)), self.prefill.load_full()];
        pools.into_iter().flatten()
    }

    /// Whether the same workers answer for `other`.
    fn shares_workers(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.decode, &other.decode)
    }

    /// The workers that only compute prompts, if there are any now.
    pub(crate) fn prefill_workers(&self) -> Option<Arc<WorkerPool>> {
        let pool = self.prefill.load_full();
        pool.filter(|pool| !pool.instances().current().is_empty())
    }
}

type Models = BTreeMap<String, Arc<Model>>;

/// The models that are served now.
#[derive(Default)]
pub(crate) struct ModelRegistry {
    models: ArcSwap<Models>,
}

impl ModelRegistry {
    /// Follows the model cards in discovery, of one namespace or of all, until `lifecycle` stops.
    pub(crate) fn start(args: &RoutingArgs, planes: &Planes, lifecycle: &Lifecycle) -> Arc<Self> {
        let registry = Arc::new(Self::default());
        let prefix = match &planes.namespace {
            Some(namespace) => format!("{MODEL_CARD_ROOT}/{namespace}/"),
            None => format!("{MODEL_CARD_ROOT}/"),
        };
        let mut events = planes.discovery.watch(&prefix);
        let follower = Follower {
            registry: Arc::clone(&registry),
            pools: PoolFactory::new(args, planes, lifecycle),
            cards: BTreeMap::new(),
        };
        lifecycle.spawn(async move {
            let mut follower = follower;
            while let Some(event) = events.next().await {
                follower.apply(event).await;
            }
        });
        registry
    }

    /// The model `name`.
    ///
    /// # Errors
    /// There is no such model, or no model at all.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Model>, FrontendError> {
        let models = self.models.load();
        if let Some(model) = models.get(name) {
            return Ok(Arc::clone(model));
        }
        if models.is_empty() {
            return Err(FrontendError::NoWorkers(name.to_owned()));
        }
        Err(FrontendError::UnknownModel {
            model: name.to_owned(),
            available: models
                .keys()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    /// The answer of `GET /v1/models`.
    pub(crate) fn list(&self) -> ModelList {
        let models = self.models.load();
        let base = |model: &Model| {
            let adapted = model.card.lora.is_some();
            let mut others = models.iter().filter(|(_, other)| {
                adapted && other.card.lora.is_none() && other.shares_workers(model)
            });
            Some(others.next()?.0.clone())
        };
        let listed = models.iter().map(|(name, model)| ListedModel {
            context_window: Some(model.card.context_length),
            parent: base(model),
            ..ListedModel::new(name, model.created)
        });
        ModelList::new(listed.collect())
    }

    /// The models that are served now.
    pub(crate) fn models(&self) -> Vec<Arc<Model>> {
        self.models.load().values().cloned().collect()
    }

    /// The pools of all models.
    pub(crate) fn pools(&self) -> Vec<Arc<WorkerPool>> {
        let models = self.models.load();
        let mut pools: Vec<Arc<WorkerPool>> = Vec::new();
        for pool in models.values().flat_map(|model| model.pools()) {
            if !pools.iter().any(|known| Arc::ptr_eq(known, &pool)) {
                pools.push(pool);
            }
        }
        pools
    }
}

/// Applies card changes to the registry. Only one task does, so there is nothing to lock.
struct Follower {
    registry: Arc<ModelRegistry>,
    pools: PoolFactory,
    cards: BTreeMap<String, (EndpointId, ModelCard)>,
}

impl Follower {
    async fn apply(&mut self, event: DiscoveryEvent) {
        let name = match event {
            DiscoveryEvent::Put { key, value } => {
                let Some((endpoint, _)) = EndpointId::from_key(&key) else {
                    return;
                };
                match serde_json::from_slice::<ModelCard>(&value) {
                    Ok(card) => {
                        let name = card.display_name.clone();
                        self.cards.insert(key, (endpoint, card));
                        name
                    }
                    Err(error) => {
                        warn!(%key, %error, "skipped a model card that does not decode");
                        return;
                    }
                }
            }
            DiscoveryEvent::Delete { key } => match self.cards.remove(&key) {
                Some((_, card)) => card.display_name,
                None => return,
            },
        };
        self.refresh(&name).await;
    }

    /// Brings one model in line with the cards that name it.
    async fn refresh(&self, name: &str) {
        let decode = self.card_of(name, false);
        let known = self.registry.models.load().get(name).cloned();
        let model = match (decode, known) {
            (None, None) => return,
            (None, Some(model)) => {
                self.remove(name, &model);
                return;
            }
            (Some(_), Some(model)) => model,
            (Some((endpoint, card)), None) => {
                let Some(model) = self.load(endpoint, card).await else {
                    return;
                };
                info!(model_name = name, namespace = %model.decode.endpoint().namespace, "added model");
                self.update(|models| models.insert(name.to_owned(), Arc::clone(&model)));
                model
            }
        };
        if let Some((endpoint, card)) = self.card_of(name, true) {
            self.add_prefill(&model, &endpoint, &card);
        }
        if let Some(holders) = &model.holders {
            holders.store(Arc::new(self.publishers(name)));
        }
        if let Some(pool) = model.prefill.load_full() {
            pool.set_bootstraps(self.bootstraps(pool.endpoint()));
        }
        for pool in model.pools() {
            pool.set_kv_peers(self.kv_peers(pool.endpoint()));
        }
    }

    /// The instances that have published a card of a model.
    fn publishers(&self, name: &str) -> HashSet<u64> {
        let cards = self.cards.iter();
        let cards = cards.filter(|(_, (_, card))| card.display_name == name);
        cards
            .filter_map(|(key, _)| Some(EndpointId::from_key(key)?.1))
            .collect()
    }

    /// What the cards of an endpoint's workers say, by instance.
    fn of_workers<T>(
        &self,
        endpoint: &EndpointId,
        read: impl Fn(&ModelCard) -> Option<T>,
    ) -> HashMap<u64, T> {
        let cards = self.cards.iter().filter(|(_, (of, _))| of == endpoint);
        cards
            .filter_map(|(key, (_, card))| Some((EndpointId::from_key(key)?.1, read(card)?)))
            .collect()
    }

    /// Where the prefill workers of an endpoint are met.
    fn bootstraps(&self, endpoint: &EndpointId) -> HashMap<u64, DisaggregatedEndpoint> {
        self.of_workers(endpoint, |card| {
            let prefill = card.model_type.contains(ModelType::PREFILL);
            let met = card.runtime_config.disaggregated_endpoint.clone();
            met.filter(|_| prefill)
        })
    }

    /// Where the workers of an endpoint give their KV blocks away.
    fn kv_peers(&self, endpoint: &EndpointId) -> HashMap<u64, String> {
        self.of_workers(endpoint, |card| card.runtime_config.kv_peer_address.clone())
    }

    fn add_prefill(&self, model: &Model, endpoint: &EndpointId, card: &ModelCard) {
        let known = model.prefill.load_full();
        if known
            .as_ref()
            .is_some_and(|pool| pool.endpoint() == endpoint)
        {
            return;
        }
        info!(model_name = %card.display_name, %endpoint, "prefill workers joined");
        model.prefill.store(Some(self.pool(endpoint, card)));
        if let Some(gone) = known {
            self.leave(&gone);
        }
    }

    /// The pool of an endpoint: that of another model, if one is an adapter of the other.
    fn pool(&self, endpoint: &EndpointId, card: &ModelCard) -> Arc<WorkerPool> {
        let models = self.registry.models();
        // Others of that endpoint may be on their way out, and of another kind.
        let relatives = models
            .iter()
            .filter(|model| model.card.lora.is_some() || card.lora.is_some());
        let mut pools = relatives.flat_map(|model| model.pools());
        let known = pools.find(|pool| pool.endpoint() == endpoint && pool.is_of(card.into()));
        known.unwrap_or_else(|| self.pools.start(endpoint, card.into()))
    }

    /// Stops a pool that a model no longer needs, unless another one does.
    fn leave(&self, pool: &Arc<WorkerPool>) {
        let pools = self.registry.pools();
        if !pools.iter().any(|needed| Arc::ptr_eq(needed, pool)) {
            pool.stop();
        }
    }

    fn card_of(&self, name: &str, prefill: bool) -> Option<(EndpointId, ModelCard)> {
        self.cards
            .values()
            .find(|(_, card)| {
                card.display_name == name && card.model_type.contains(ModelType::PREFILL) == prefill
            })
            .cloned()
    }

    async fn load(&self, endpoint: EndpointId, card: ModelCard) -> Option<Arc<Model>> {
        let name = card.display_name.clone();
        let files = card.clone();
        let loaded = tokio::task::spawn_blocking(move || load_text_path(&files)).await;
        let TextPath {
            tokenizer,
            template,
            eos_token_ids,
        } = match loaded {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(error)) => {
                warn!(model_name = %name, error, "cannot serve a model");
                return None;
            }
            Err(error) => {
                warn!(model_name = %name, %error, "loading a model's tokenizer crashed");
                return None;
            }
        };
        let decode = self.pool(&endpoint, &card);
        let holders = card
            .lora
            .as_ref()
            .map(|_| ArcSwap::from_pointee(self.publishers(&name)));
        Some(Arc::new(Model {
            card,
            eos_token_ids,
            tokenizer: Arc::new(tokenizer),
            template,
            decode,
            prefill: ArcSwapOption::empty(),
            prefixes: Mutex::default(),
            holders,
            created: unix_seconds(),
        }))
    }

    fn remove(&self, name: &str, model: &Model) {
        info!(model_name = name, "removed model: its last worker is gone");
        self.update(|models| models.remove(name));
        for pool in model.pools() {
            self.leave(&pool);
        }
    }

    fn update<T>(&self, change: impl FnOnce(&mut Models) -> T) {
        let mut models = Models::clone(&self.registry.models.load());
        change(&mut models);
        self.registry.models.store(Arc::new(models));
    }
}

/// What turns text into tokens and back.
struct TextPath {
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    eos_token_ids: Vec<u32>,
}

/// Reads a model's text files; a model without a chat template can still complete text.
fn load_text_path(card: &ModelCard) -> Result<TextPath, String> {
    let directory = card.directory().ok_or("the model card names no files")?;
    let tokenizer = Tokenizer::from_dir(&directory).map_err(|error| error.to_string())?;
    let template = match ChatTemplate::from_dir(&directory) {
        Ok(template) => Some(template),
        Err(Error::NoChatTemplate { .. }) => None,
        Err(error) => return Err(error.to_string()),
    };
    let eos_token_ids = card.eos_token_ids().map_err(|error| error.to_string())?;
    Ok(TextPath {
        tokenizer,
        template,
        eos_token_ids,
    })
}
