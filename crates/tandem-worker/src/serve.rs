//! Publishes an engine as a worker: endpoints, discovery records, KV events, and its way out.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde::Serialize;
use tandem_protocol::ErrorKind;
use tandem_protocol::engine::{
    Annotated, EngineOutput, EngineRequest, FinishReason, WorkerFailure, compact,
};
use tandem_protocol::kv::{KvSnapshot, RouterEvent, StorageTier, TierEvent};
use tandem_runtime::discovery::DiscoveryError;
use tandem_runtime::request_plane::{CallError, Encoding, Handler, Request, ServedEndpoint};
use tandem_runtime::{Discovery, EndpointId, Instance, Lifecycle, Messaging, RequestPlane};
use tandem_tokenizer::ModelCard;
use tandem_tokenizer::model_card::ModelType;
use tracing::{info, warn};

use crate::component_metrics::ComponentMetrics;
use crate::engine::{Engine, EngineError};
use crate::load_report;
use crate::registration::Registration;
use crate::spans;

/// Subject on which a worker publishes its KV events.
const KV_EVENTS: &str = "kv-events";
/// Endpoint that answers with everything the worker has cached.
const KV_SNAPSHOT: &str = "kv_snapshot";
/// Endpoint that generates.
const GENERATE: &str = "generate";

/// Which part of a request a worker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerRole {
    /// Computes prompts and hands the KV blocks over.
    Prefill,
    /// Generates; computes a prompt itself when nobody else has.
    Decode,
}

impl WorkerRole {
    /// Component that workers of this role register as.
    pub const fn component(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "backend",
        }
    }

    fn model_type(self) -> ModelType {
        match self {
            Self::Prefill => ModelType::PREFILL,
            Self::Decode => ModelType::CHAT.union(ModelType::COMPLETIONS),
        }
    }
}

/// How the worker reaches the rest of the system.
#[derive(Clone)]
pub struct Planes {
    /// Where the worker registers; its lease becomes the worker's id.
    pub discovery: Arc<dyn Discovery>,
    /// Where its KV events go.
    pub messaging: Arc<dyn Messaging>,
    /// How it is called.
    pub requests: Arc<dyn RequestPlane>,
    /// Where its calls are counted.
    pub metrics: ComponentMetrics,
}

/// Why a worker could not start to serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It could not register.
    #[error("failed to register the worker: {0}")]
    Discovery(#[from] DiscoveryError),
    /// Its endpoints could not be served.
    #[error("failed to serve the worker's endpoint: {0}")]
    Endpoint(#[from] CallError),
}

/// A worker that serves. Dropping it is like killing its process; [`RunningWorker::stop`] lets
/// its requests finish.
pub struct RunningWorker {
    planes: Planes,
    endpoint: EndpointId,
    registration: Arc<Registration>,
    generate: ServedEndpoint,
    snapshot: ServedEndpoint,
    lifecycle: Lifecycle,
}

impl RunningWorker {
    /// Publishes `engine` in `namespace`; `card` describes the model, its role is set here.
    ///
    /// # Errors
    /// The worker could not register or be reached.
    pub async fn start(
        engine: Arc<dyn Engine>,
        card: ModelCard,
        role: WorkerRole,
        namespace: &str,
        planes: Planes,
    ) -> Result<Self, ServeError> {
        let endpoint = EndpointId::new(namespace, role.component(), GENERATE);
        let worker_id = planes.discovery.lease();
        let lifecycle = Lifecycle::new();
        let snapshots = Arc::new(Snapshots {
            engine: Arc::clone(&engine),
        });
        let snapshot_endpoint = endpoint.sibling(KV_SNAPSHOT);
        let snapshot = planes
            .requests
            .serve(&snapshot_endpoint, worker_id, snapshots)
            .await?;
        let adapters = engine.info().adapters.clone();
        let generator = Arc::new(Generator {
            engine: Arc::clone(&engine),
            role,
            adapters: adapters.clone(),
        });
        let generate = planes
            .requests
            .serve(
                &endpoint,
                worker_id,
                planes.metrics.measure(&endpoint, generator),
            )
            .await?;
        lifecycle.spawn(load_report::publish(
            Arc::clone(&engine),
            Arc::clone(&planes.messaging),
            namespace.to_owned(),
            worker_id,
        ));
        let available = engine.available();
        publish_events(engine, &endpoint, &planes, &lifecycle);

        // The snapshot endpoint and the cards come first: whoever sees the instance finds them.
        let card = ModelCard {
            model_type: role.model_type(),
            ..card
        };
        let mut records = vec![(
            snapshot_endpoint.instance_key(worker_id),
            snapshot.instance(&snapshot_endpoint, worker_id).to_json(),
        )];
        records.extend(cards(&endpoint, worker_id, (&card, &adapters)));
        records.push((
            endpoint.instance_key(worker_id),
            generate.instance(&endpoint, worker_id).to_json(),
        ));
        let registration = Registration::new(Arc::clone(&planes.discovery), records).await?;
        let registration = Arc::new(registration);
        lifecycle.spawn(Arc::clone(&registration).follow(available));
        info!(worker_id, component = role.component(), "worker registered");
        Ok(Self {
            planes,
            endpoint,
            registration,
            generate,
            snapshot,
            lifecycle,
        })
    }

    /// Tells that the process serves the OpenAI API itself, at `address`.
    ///
    /// # Errors
    /// The worker could not register once more.
    pub async fn advertise(&self, address: SocketAddr) -> Result<(), ServeError> {
        let worker_id = self.planes.discovery.lease();
        let instance = Instance {
            http: Some(address.to_string()),
            ..self.generate.instance(&self.endpoint, worker_id)
        };
        let key = self.endpoint.instance_key(worker_id);
        Ok(self.registration.replace(key, instance.to_json()).await?)
    }

    /// Asks for no more requests; those that come nevertheless are still served.
    pub async fn leave(&self) {
        self.registration.leave().await;
    }

    /// Leaves in order: no new requests, the running ones finish, then everything is gone.
    pub async fn stop(self) {
        self.leave().await;
        self.generate.drain().await;
        self.snapshot.drain().await;
        self.lifecycle.stopping().cancel();
        if let Err(error) = self.planes.discovery.revoke().await {
            warn!(%error, "failed to give the lease back");
        }
    }
}

/// The card of a worker's model, then one for each of its adapters, by their keys.
fn cards(
    endpoint: &EndpointId,
    worker_id: u64,
    (card, adapters): (&ModelCard, &[String]),
) -> Vec<(String, Bytes)> {
    let mut cards = vec![(endpoint.model_card_key(worker_id), json(card))];
    for name in adapters {
        let card = card.with_adapter(name);
        let mut key = endpoint.adapter_card_key(worker_id, &card.slug);
        // Names that differ may have the same slug.
        while cards.iter().any(|(known, _)| *known == key) {
            key.push('_');
        }
        cards.push((key, json(&card)));
    }
    cards
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value)
        .expect("wire types have string keys only")
        .into()
}

/// Answers requests to generate.
struct Generator {
    engine: Arc<dyn Engine>,
    role: WorkerRole,
    /// Names of the engine's LoRA adapters.
    adapters: Vec<String>,
}

impl Handler for Generator {
    fn handle(&self, request: Request) -> BoxStream<'static, Bytes> {
        let mut engine_request: EngineRequest = match serde_json::from_slice(&request.body) {
            Ok(engine_request) => engine_request,
            Err(error) => {
                warn!(request_id = request.id, %error, "received a request that does not decode");
                return failed(
                    ErrorKind::InvalidRequest,
                    format!("undecodable request: {error}"),
                );
            }
        };
        // Dynamo's frontends say it with the model's name alone.
        if engine_request.lora_name.is_none() && self.adapters.contains(&engine_request.model) {
            engine_request.lora_name = Some(engine_request.model.clone());
        }
        if let Err(error) = self.engine.check(&engine_request) {
            return failed(error.kind(), error.to_string());
        }
        let span = spans::request(&request, &engine_request, self.role);
        let outputs = match self.role {
            WorkerRole::Prefill => self.engine.submit_prefill(engine_request),
            WorkerRole::Decode => self.engine.submit(engine_request),
        };
        let encode = move |output| {
            // It ends when the answer does, or when nobody wants it any more.
            let _open = &span;
            match (annotated(output), request.encoding) {
                (answer, Encoding::Json) => json(&answer),
                (answer, Encoding::Compact) => compact::encode(&answer).into(),
            }
        };
        outputs.map(encode).boxed()
    }
}

fn annotated(output: Result<EngineOutput, EngineError>) -> Annotated<EngineOutput> {
    match output {
        Ok(EngineOutput {
            finish_reason: Some(FinishReason::Error(message)),
            ..
        }) => Annotated::error(WorkerFailure {
            kind: ErrorKind::Upstream { retryable: false },
            message,
        }),
        Ok(output) => Annotated::data(output),
        Err(error) => Annotated::error(WorkerFailure {
            kind: error.kind(),
            message: error.to_string(),
        }),
    }
}

fn failed(kind: ErrorKind, message: String) -> BoxStream<'static, Bytes> {
    let error: Annotated<EngineOutput> = Annotated::error(WorkerFailure { kind, message });
    stream::iter([json(&error)]).boxed()
}

/// Answers with everything that is cached now.
struct Snapshots {
    engine: Arc<dyn Engine>,
}

impl Handler for Snapshots {
    fn handle(&self, _request: Request) -> BoxStream<'static, Bytes> {
        let changes = self.engine.subscribe_kv_events().take_snapshot();
        let (device, lower_tiers): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .partition(|change| change.storage_tier == StorageTier::Device);
        let snapshot = KvSnapshot {
            events: device.into_iter().map(|change| change.event).collect(),
            lower_tiers,
        };
        stream::iter([json(&snapshot)]).boxed()
    }
}

/// Publishes what the engine's cache does from now on. A frontend that joins later, or sees a gap
/// in the numbers, asks for a snapshot.
fn publish_events(
    engine: Arc<dyn Engine>,
    endpoint: &EndpointId,
    planes: &Planes,
    lifecycle: &Lifecycle,
) {
    let subject = endpoint.component_subject(KV_EVENTS);
    let messaging = Arc::clone(&planes.messaging);
    let worker_id = planes.discovery.lease();
    lifecycle.spawn(async move {
        let mut events = engine.subscribe_kv_events();
        drop(events.take_snapshot());
        while let Some(event) = events.next().await {
            let change: TierEvent = match event {
                Ok(change) => change,
                Err(lagged) => {
                    warn!(worker_id, %lagged, "frontends will ask for a snapshot");
                    events = engine.subscribe_kv_events();
                    drop(events.take_snapshot());
                    continue;
                }
            };
            let payload = json(&RouterEvent::in_tier(worker_id, change));
            if let Err(error) = messaging.append(&subject, payload).await {
                warn!(worker_id, %error, "failed to publish a KV event");
            }
        }
    });
}
