//! Asks the servers of models how busy they are, for decisions that are aware of the load.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::future::join_all;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use rand::RngExt;
use tandem_protocol::prefix::PrefixFilter;
use tandem_protocol::serving_load::ServingLoad;
use tandem_runtime::tls::ClientConfig;
use tandem_semantic_router::config::{Address, ModelConfig};
use tandem_semantic_router::{LoadView, LoadViews, Router};
use tracing::debug;

use crate::proxy::{GatewayError, HttpClient, address_of, http_client, uri};

/// Time between two rounds, give or take a tenth: routers that start together should not ask
/// together for ever.
const INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for an answer. A server that takes longer is too busy for its view to help.
const TIMEOUT: Duration = Duration::from_millis(500);
/// Longest pause after failures, which is also the one after an answer that is none.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Largest answer: some hundred models.
const MAX_ANSWER: usize = 4 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// Asks servers, and tells the router's statistics what they answer.
pub struct LoadPoller {
    router: Arc<ArcSwap<Router>>,
    client: HttpClient,
    /// Serves the models that name no server.
    fallback: Option<Address>,
    polls: Family<ResultLabel, Counter>,
    servers: HashMap<Address, Server>,
}

/// What is known of one server.
#[derive(Debug, Default)]
struct Server {
    version: Option<String>,
    prefixes: HashMap<String, PrefixFilter>,
    /// What it told last, and when.
    told: Option<(ServingLoad, Instant)>,
    failures: u32,
    next: Option<Instant>,
}

/// Why a server told nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Silence {
    /// It does not answer.
    Failed,
    /// It answers, but not this question: it is no frontend.
    Unsupported,
}

impl LoadPoller {
    /// A poller for the servers that the configuration names, and for `upstream`, which serves the
    /// models that name none.
    ///
    /// # Errors
    /// The upstream is not an HTTP address.
    pub fn new(
        router: Arc<ArcSwap<Router>>,
        upstream: Option<&Uri>,
        trust: &ClientConfig,
        registry: &mut Registry,
    ) -> Result<Self, GatewayError> {
        let polls = Family::default();
        registry.register(
            "tandem_gateway_load_polls",
            "Questions to servers for their load, by result",
            polls.clone(),
        );
        Ok(Self {
            router,
            client: http_client(TIMEOUT, trust),
            fallback: upstream.map(address_of).transpose()?,
            polls,
            servers: HashMap::new(),
        })
    }

    /// Asks until it is dropped. Nobody is asked while no decision is aware of the load.
    pub async fn run(mut self) {
        loop {
            self.round().await;
            let pause = INTERVAL.mul_f64(rand::rng().random_range(0.9..1.1));
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks everybody whose turn it is once.
    pub async fn round(&mut self) {
        let router = self.router.load_full();
        let config = router.config();
        let models: Vec<(&ModelConfig, Vec<Address>)> = config
            .load_aware_models()
            .map(|model| (model, self.addresses(model)))
            .collect();
        let wanted = |address: &Address| models.iter().any(|(_, all)| all.contains(address));
        self.servers.retain(|address, _| wanted(address));
        for address in models.iter().flat_map(|(_, all)| all) {
            self.servers.entry(address.clone()).or_default();
        }
        let now = Instant::now();
        let due = self.servers.iter_mut();
        let due = due.filter(|(_, server)| server.next.is_none_or(|next| next <= now));
        let (client, polls) = (&self.client, &self.polls);
        let asked = due.map(async |(address, server)| {
            let answer = ask(client, address, server.version.as_deref()).await;
            let result = match &answer {
                Ok(_) => "ok",
                Err(Silence::Failed) => "failed",
                Err(Silence::Unsupported) => "unsupported",
            };
            polls.get_or_create(&ResultLabel { result }).inc();
            server.take(answer, Instant::now());
        });
        if join_all(asked).await.is_empty() {
            return;
        }
        let views = models.into_iter().map(|(model, addresses)| {
            let served = model.upstream_name.as_ref().unwrap_or(&model.name);
            let servers = addresses.iter().filter_map(|one| self.servers.get(one));
            let views = servers.filter_map(|server| server.view(served));
            (model.name.clone(), views.collect::<Vec<_>>())
        });
        let told = views.filter(|(_, views)| !views.is_empty());
        router.statistics().tell_loads(told.collect::<LoadViews>());
    }

    fn addresses(&self, model: &ModelConfig) -> Vec<Address> {
        let used = model.backends.iter().filter(|backend| backend.weight > 0.0);
        let own: Vec<Address> = used.map(|backend| backend.address.clone()).collect();
        if own.is_empty() {
            return self.fallback.iter().cloned().collect();
        }
        own
    }
}

impl Server {
    fn take(&mut self, answer: Result<ServingLoad, Silence>, now: Instant) {
        match answer {
            Ok(mut load) => {
                self.version = Some(load.version.clone());
                self.prefixes
                    .retain(|name, _| load.models.contains_key(name));
                for (name, model) in &mut load.models {
                    if let Some(prefixes) = model.prefixes.take() {
                        self.prefixes.insert(name.clone(), prefixes);
                    }
                }
                self.told = Some((load, now));
                (self.failures, self.next) = (0, None);
            }
            Err(Silence::Failed) => {
                let pause = INTERVAL * 2_u32.saturating_pow(self.failures.min(8));
                self.failures += 1;
                self.next = Some(now + pause.min(LONGEST_PAUSE));
            }
            Err(Silence::Unsupported) => {
                self.told = None;
                self.next = Some(now + LONGEST_PAUSE);
            }
        }
    }

    fn view(&self, model: &str) -> Option<LoadView> {
        let (load, at) = self.told.as_ref()?;
        let prefixes = self.prefixes.get(model).cloned();
        Some(LoadView {
            load: load.models.get(model)?.clone(),
            prefixes: prefixes.unwrap_or_default(),
            at: *at,
        })
    }
}

async fn ask(
    client: &HttpClient,
    address: &Address,
    since: Option<&str>,
) -> Result<ServingLoad, Silence> {
    let path = since.map_or("/load".to_owned(), |since| format!("/load?since={since}"));
    let mut request = Request::new(Full::new(Bytes::new()));
    *request.uri_mut() = uri(address, &path);
    let answered = async {
        let answer = client.request(request).await.map_err(|error| {
            debug!(server = %address, %error, "failed to ask for the load");
            Silence::Failed
        })?;
        match answer.status() {
            StatusCode::OK => {}
            status if status.is_server_error() => return Err(Silence::Failed),
            _ => return Err(Silence::Unsupported),
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|_| Silence::Failed)?.to_bytes();
        serde_json::from_slice(&body).map_err(|_| Silence::Unsupported)
    };
    let answered = tokio::time::timeout(TIMEOUT, answered).await;
    answered.unwrap_or(Err(Silence::Failed))
}
