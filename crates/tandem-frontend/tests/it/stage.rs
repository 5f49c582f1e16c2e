//! A frontend, and workers that do what a test says.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tandem_frontend::{Frontend, FrontendArgs, Picker, Planes};
use tandem_protocol::engine::{Annotated, EngineOutput, EngineRequest, FinishReason};
use tandem_protocol::kv::{
    HashScope, KvEvent, KvEventData, RouterEvent, StoredBlock, StoredBlocks, hash_blocks,
    hash_sequence,
};
use tandem_runtime::discovery::MemoryDiscovery;
use tandem_runtime::http::HttpOptions;
use tandem_runtime::messaging::MemoryMessaging;
use tandem_runtime::request_plane::{Handler, MemoryRequestPlane, Request, ServedEndpoint};
use tandem_runtime::{Discovery, EndpointId, Instance, Lifecycle, Messaging, RequestPlane};
use tandem_tokenizer::ModelCard;
use tandem_tokenizer::model_card::{CardSettings, DisaggregatedEndpoint, ModelType, RuntimeConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) const MODEL: &str = "tandem-nano-chat";

/// What no client may see, whoever says it.
pub(crate) const INTERNALS: &str = "panicked at /srv/engine/src/step.rs:17:5: \
    connection to 10.1.2.3:4567 lost\nstack backtrace:\n   0: std::panicking::begin_panic";

/// What a worker does with every request.
#[derive(Debug, Clone)]
pub(crate) enum Script {
    /// Generates these tokens and finishes.
    Finish(Vec<u32>),
    /// Generates these tokens and then nothing, until it is killed.
    Hang(Vec<u32>),
    /// Answers with these bytes.
    Say(Vec<Bytes>),
    /// Says these bytes and then panics.
    Panic(Vec<Bytes>),
    /// Computes the prompt and answers with these parameters.
    Prefill(Value),
    /// Should compute the prompt, but answers with these bytes.
    FailPrefill(Bytes),
    /// Computes prompts in this time for each token.
    SlowPrefill(Duration),
    /// Is met by decode workers while it computes the prompt, and answers with these bytes.
    Meet(Vec<Bytes>),
}

/// A worker that does what it was told, and remembers what it was asked.
#[derive(Clone)]
pub(crate) struct Actor {
    script: Script,
    requests: Arc<Mutex<Vec<EngineRequest>>>,
    held: watch::Sender<bool>,
}

impl Actor {
    /// Answers nothing until [`Actor::go_on`].
    pub(crate) fn hold(&self) {
        self.held.send_replace(true);
    }

    /// Answers again.
    pub(crate) fn go_on(&self) {
        self.held.send_replace(false);
    }

    pub(crate) fn requests(&self) -> Vec<EngineRequest> {
        self.requests.lock().clone()
    }
}

impl Handler for Actor {
    fn handle(&self, request: Request) -> BoxStream<'static, Bytes> {
        let request: EngineRequest = serde_json::from_slice(&request.body).unwrap();
        let answer = self.answer(&request);
        self.requests.lock().push(request);
        let mut held = self.held.subscribe();
        let answer = async move {
            held.wait_for(|held| !held).await.ok();
            answer
        };
        answer.flatten_stream().boxed()
    }
}

impl Actor {
    fn answer(&self, request: &EngineRequest) -> BoxStream<'static, Bytes> {
        match &self.script {
            Script::Finish(tokens) => {
                let mut outputs: Vec<_> = tokens.iter().copied().map(token).collect();
                outputs.last_mut().unwrap().finish_reason = Some(FinishReason::Length);
                stream::iter(outputs).map(json_of).boxed()
            }
            Script::Hang(tokens) => stream::iter(tokens.clone())
                .map(|one| json_of(token(one)))
                .chain(stream::pending())
                .boxed(),
            Script::Say(answers) | Script::Meet(answers) => stream::iter(answers.clone()).boxed(),
            Script::Panic(answers) => {
                let panic = stream::once(async { panic!("{INTERNALS}") });
                stream::iter(answers.clone()).chain(panic).boxed()
            }
            Script::Prefill(params) => stream::iter([prefilled(params)]).boxed(),
            Script::FailPrefill(answer) => stream::iter([answer.clone()]).boxed(),
            Script::SlowPrefill(each) => {
                let time = *each * u32::try_from(request.token_ids.len()).unwrap();
                let answer = tokio::time::sleep(time).map(|()| prefilled(&json!({})));
                answer.into_stream().boxed()
            }
        }
    }
}

fn prefilled(params: &Value) -> Bytes {
    json_of(EngineOutput {
        disaggregated_params: Some(params.clone()),
        ..token(300)
    })
}

fn card(model_type: ModelType, runtime_config: RuntimeConfig) -> Bytes {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/tandem-nano-chat");
    let settings = CardSettings {
        display_name: Some(MODEL.to_owned()),
        max_context_length: None,
        kv_cache_block_size: 16,
        model_type,
        runtime_config,
    };
    let card = ModelCard::from_dir(&directory, settings).unwrap();
    serde_json::to_vec(&card).unwrap().into()
}

pub(crate) fn token(token: u32) -> EngineOutput {
    EngineOutput {
        token_ids: vec![token],
        ..EngineOutput::default()
    }
}

pub(crate) fn json_of(output: EngineOutput) -> Bytes {
    serde_json::to_vec(&Annotated::data(output)).unwrap().into()
}

/// Everything that a test plays with.
pub(crate) struct Stage {
    discovery: MemoryDiscovery,
    plane: Arc<MemoryRequestPlane>,
    messaging: Arc<MemoryMessaging>,
    frontend: Arc<Frontend>,
    address: SocketAddr,
    lifecycle: Lifecycle,
}

#[derive(Parser)]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) frontend: FrontendArgs,
}

impl Stage {
    /// A frontend with these flags.
    pub(crate) async fn new(flags: &[&str]) -> Self {
        let flags = Flags::parse_from(["frontend"].iter().chain(flags));
        let (discovery, lifecycle) = (MemoryDiscovery::new(), Lifecycle::new());
        let plane = Arc::new(MemoryRequestPlane::new());
        let messaging = Arc::new(MemoryMessaging::new());
        let planes = Planes {
            discovery: Arc::new(discovery.join()),
            messaging: Arc::clone(&messaging) as Arc<dyn Messaging>,
            requests: Arc::clone(&plane) as Arc<dyn RequestPlane>,
            namespace: None,
        };
        let mut registry = Registry::default();
        let frontend = Frontend::start(&flags.frontend, planes, &mut registry, &lifecycle);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        lifecycle.spawn(Arc::clone(&frontend).serve(
            listener,
            Arc::new(registry),
            HttpOptions::default(),
            lifecycle.clone(),
        ));
        Self {
            discovery,
            plane,
            messaging,
            frontend,
            address,
            lifecycle,
        }
    }

    /// A picker with these flags, over the same workers.
    pub(crate) fn picker(&self, flags: &[&str]) -> Picker {
        let flags = Flags::parse_from(["frontend"].iter().chain(flags));
        let planes = Planes {
            discovery: Arc::new(self.discovery.join()),
            messaging: Arc::clone(&self.messaging) as Arc<dyn Messaging>,
            requests: Arc::clone(&self.plane) as Arc<dyn RequestPlane>,
            namespace: None,
        };
        Picker::start(&flags.frontend.routing, &planes, &self.lifecycle)
    }

    /// Tells everybody how many of its 100 KV blocks a worker uses.
    pub(crate) async fn report(&self, worker_id: u64, kv_active_blocks: u64) {
        let stats = json!({"kv_active_blocks": kv_active_blocks, "kv_total_blocks": 100,
            "gpu_cache_usage_perc": 0.0, "gpu_prefix_cache_hit_rate": 0.0});
        let slots = json!({"data_parallel_rank": null, "request_active_slots": 0,
            "request_total_slots": 1, "num_requests_waiting": 0});
        let report = json!({"worker_id": worker_id,
            "data": {"worker_stats": slots, "kv_stats": stats, "spec_decode_stats": null}});
        let report = report.to_string().into();
        let subject = "namespace.ns.kv_metrics";
        self.messaging.publish(subject, report).await.unwrap();
    }

    /// Tells everybody that a worker has these tokens cached.
    pub(crate) async fn cached(&self, worker_id: u64, tokens: &[u32]) {
        self.cached_for(worker_id, tokens, HashScope::default())
            .await;
    }

    /// The same for requests of a scope.
    pub(crate) async fn cached_for(&self, worker_id: u64, tokens: &[u32], scope: HashScope<'_>) {
        let blocks = hash_blocks(tokens, 16, scope);
        let sequence = hash_sequence(&blocks);
        let stored =
            std::iter::zip(sequence, blocks).map(|(block_hash, tokens_hash)| StoredBlock {
                block_hash,
                tokens_hash,
            });
        let event = KvEvent {
            event_id: 1,
            data: KvEventData::Stored(StoredBlocks {
                parent_hash: None,
                blocks: stored.collect(),
            }),
            dp_rank: 0,
        };
        let event = serde_json::to_vec(&RouterEvent::new(worker_id, event)).unwrap();
        let subject = "namespace.ns.component.backend.kv-events";
        self.messaging.append(subject, event.into()).await.unwrap();
    }

    /// Lets a worker answer frontends that ask what it has cached.
    pub(crate) async fn tell(&self, worker_id: u64, handler: Arc<dyn Handler>) -> ServedEndpoint {
        let endpoint = EndpointId::new("ns", "backend", "kv_snapshot");
        let served = self.plane.serve(&endpoint, worker_id, handler).await;
        let served = served.unwrap();
        let record = served.instance(&endpoint, worker_id).to_json();
        let lease = self.discovery.join();
        let key = endpoint.instance_key(worker_id);
        lease.put(key, record).await.unwrap();
        served
    }

    /// A worker that joins; dropping the endpoint kills it, but it stays registered.
    pub(crate) async fn join(&self, script: Script) -> (Actor, ServedEndpoint) {
        let (actor, served, _) = self.join_at(script, None).await;
        (actor, served)
    }

    /// A worker that joins and serves the OpenAI API at `http`; also returns its id.
    pub(crate) async fn join_at(
        &self,
        script: Script,
        http: Option<&str>,
    ) -> (Actor, ServedEndpoint, u64) {
        let prefill = matches!(
            script,
            Script::Prefill(_) | Script::FailPrefill(_) | Script::SlowPrefill(_) | Script::Meet(_)
        );
        let met = matches!(script, Script::Meet(_)).then(|| DisaggregatedEndpoint {
            bootstrap_host: "10.0.0.1".to_owned(),
            bootstrap_port: 8998,
        });
        let (component, model_type) = if prefill {
            ("prefill", ModelType::PREFILL)
        } else {
            ("backend", ModelType::CHAT.union(ModelType::COMPLETIONS))
        };
        let actor = Actor {
            script,
            requests: Arc::default(),
            held: watch::Sender::new(false),
        };
        let lease = self.discovery.join();
        let endpoint = EndpointId::new("ns", component, "generate");
        let handler = Arc::new(actor.clone());
        let id = lease.lease();
        let served = self.plane.serve(&endpoint, id, handler).await.unwrap();
        let runtime_config = RuntimeConfig {
            disaggregated_endpoint: met,
            ..RuntimeConfig::default()
        };
        let card = card(model_type, runtime_config);
        let record = Instance {
            http: http.map(str::to_owned),
            ..served.instance(&endpoint, id)
        };
        let puts = [
            (endpoint.model_card_key(id), card),
            (endpoint.instance_key(id), record.to_json()),
        ];
        for (key, value) in puts {
            lease.put(key, value).await.unwrap();
        }
        (actor, served, id)
    }

    /// Lets a worker say that it gives KV blocks away at `address`.
    pub(crate) async fn shares(&self, id: u64, address: &str) {
        let runtime_config = RuntimeConfig {
            kv_peer_address: Some(address.to_owned()),
            ..RuntimeConfig::default()
        };
        let key = EndpointId::new("ns", "backend", "generate").model_card_key(id);
        let card = card(
            ModelType::CHAT.union(ModelType::COMPLETIONS),
            runtime_config,
        );
        // Its worker's lease holds the one that is there.
        self.discovery.delete(&key).await.unwrap();
        self.discovery.put(key, card).await.unwrap();
    }

    /// Takes a worker's registrations back.
    pub(crate) async fn leave(&self, component: &str, id: u64) {
        let endpoint = EndpointId::new("ns", component, "generate");
        for key in [endpoint.model_card_key(id), endpoint.instance_key(id)] {
            self.discovery.delete(&key).await.unwrap();
        }
    }

    /// Waits until the frontend knows `workers` workers.
    pub(crate) async fn ready(&self, workers: usize) {
        for _ in 0..500 {
            let (_, health) = self.get("/health").await;
            let health: Value = serde_json::from_str(&health).unwrap();
            let known = health["instances"].as_array().map_or(0, Vec::len);
            if self.frontend.is_ready(MODEL) && known == workers {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the frontend does not know the workers");
    }

    /// Status and body of a completion of `prompt`.
    pub(crate) async fn complete(&self, prompt: impl Into<Value>, max_tokens: u32) -> (u16, Value) {
        let prompt: Value = prompt.into();
        self.post(json!({"model": MODEL, "prompt": prompt, "max_tokens": max_tokens}))
            .await
    }

    /// The answer to a text completion with this body.
    pub(crate) async fn post(&self, body: Value) -> (u16, Value) {
        let (status, body) = self
            .send("POST", "/v1/completions", &body.to_string())
            .await;
        (status, serde_json::from_str(&body).unwrap())
    }

    pub(crate) async fn metrics(&self) -> String {
        self.get("/metrics").await.1
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.send("GET", path, "").await
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let answer = self.exchange(method, path, body).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// Everything that is answered, as it comes.
    pub(crate) async fn exchange(&self, method: &str, path: &str, body: &str) -> String {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }
}
