//! What others find out about a worker while it comes and goes.

use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt;
use prometheus_client::registry::Registry;
use tandem_runtime::component::{INSTANCE_ROOT, MODEL_CARD_ROOT};
use tandem_runtime::discovery::{DiscoveryEvent, MemoryDiscovery};
use tandem_runtime::messaging::MemoryMessaging;
use tandem_runtime::request_plane::{MemoryRequestPlane, Request};
use tandem_runtime::{Discovery, Instance, RequestPlane};
use tandem_tokenizer::ModelCard;
use tandem_tokenizer::model_card::{CardSettings, ModelType, RuntimeConfig};
use tandem_worker::engine::LoraModule;
use tandem_worker::engine::embedded::{Device, EmbeddedConfig};
use tandem_worker::{ComponentMetrics, Planes, RunningWorker, WorkerRole};

use crate::support::{checkpoint, config, engine, prompt, request};

fn card() -> ModelCard {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let settings = CardSettings {
        display_name: None,
        max_context_length: None,
        kv_cache_block_size: 16,
        model_type: ModelType::CHAT,
        runtime_config: RuntimeConfig::default(),
    };
    ModelCard::from_dir(&root.join("../../models/tandem-nano-chat"), settings).unwrap()
}

fn record(event: Option<DiscoveryEvent>) -> Instance {
    match event {
        Some(DiscoveryEvent::Put { value, .. }) => serde_json::from_slice(&value).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn planes(store: &MemoryDiscovery, plane: &Arc<MemoryRequestPlane>) -> Planes {
    Planes {
        discovery: Arc::new(store.join()),
        messaging: Arc::new(MemoryMessaging::new()),
        requests: Arc::clone(plane) as Arc<dyn RequestPlane>,
        metrics: ComponentMetrics::register(&mut Registry::default()),
    }
}

#[tokio::test]
async fn adapters_have_cards_and_answer_to_their_names() {
    let store = MemoryDiscovery::new();
    let plane = Arc::new(MemoryRequestPlane::new());
    let mut cards = store.watch(&format!("{MODEL_CARD_ROOT}/ns/backend/generate/"));
    let mut instances = store.watch(&format!("{INSTANCE_ROOT}/ns/backend/generate/"));
    let module = |name: &str| LoraModule {
        name: name.to_owned(),
        directory: checkpoint("adapters/llama-all"),
    };
    let engine = Arc::new(engine(EmbeddedConfig {
        device: Device::Cpu,
        adapters: vec![module("a.b"), module("a_b")],
        ..config()
    }));
    let planes = planes(&store, &plane);
    let worker = RunningWorker::start(engine, card(), WorkerRole::Decode, "ns", planes);
    let worker = worker.await.unwrap();
    let instance = record(instances.next().await);
    let id = format!("{:x}", instance.instance_id);
    let mut names = Vec::new();
    for suffix in ["", "/a_b", "/a_b_"] {
        let Some(DiscoveryEvent::Put { key, value }) = cards.next().await else {
            panic!("a card is missing");
        };
        assert!(key.ends_with(&format!("{id}{suffix}")), "{key}");
        let card: ModelCard = serde_json::from_slice(&value).unwrap();
        names.push((card.display_name, card.lora.map(|lora| lora.name)));
    }
    let adapter = |name: &str| (name.to_owned(), Some(name.to_owned()));
    let base = names.remove(0);
    assert_eq!(base.1, None);
    assert_eq!(names, [adapter("a.b"), adapter("a_b")]);

    // Dynamo's frontends name the model alone.
    let ask = async |model: &str, lora_name: Option<&str>| {
        let mut request = request(&prompt(20, 1), 4);
        request.model = model.to_owned();
        request.lora_name = lora_name.map(str::to_owned);
        let body = serde_json::to_vec(&request).unwrap();
        let call = plane.call(&instance, Request::new("r", body));
        call.await
            .unwrap()
            .map(Result::unwrap)
            .collect::<Vec<_>>()
            .await
    };
    let plain = ask(&base.0, None).await;
    let adapted = ask("a.b", None).await;
    assert_eq!((plain.len(), adapted.len()), (4, 4), "one output a token");
    assert_ne!(plain, adapted);
    assert_eq!(ask("a.b", Some("a.b")).await[1..], adapted[1..]);
    assert_eq!(ask("other", Some("other")).await.len(), 1, "an error");
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_that_leaves_still_serves_what_comes() {
    let store = MemoryDiscovery::new();
    let plane = Arc::new(MemoryRequestPlane::new());
    let planes = planes(&store, &plane);
    let mut records = store.watch(&format!("{INSTANCE_ROOT}/ns/backend/generate/"));
    let engine = Arc::new(engine(config()));
    let worker = RunningWorker::start(engine, card(), WorkerRole::Decode, "ns", planes);
    let worker = worker.await.unwrap();
    let instance = record(records.next().await);
    assert_eq!(instance.http, None);

    let address = "127.0.0.1:8000".parse().unwrap();
    worker.advertise(address).await.unwrap();
    let advertised = record(records.next().await);
    assert_eq!(advertised.http.as_deref(), Some("127.0.0.1:8000"));
    let known = Instance {
        http: None,
        ..advertised
    };
    assert_eq!(known, instance, "nothing else changes");

    worker.leave().await;
    let gone = records.next().await;
    assert!(
        matches!(gone, Some(DiscoveryEvent::Delete { .. })),
        "{gone:?}"
    );
    let ask = async || {
        let body = serde_json::to_vec(&request(&prompt(20, 1), 3)).unwrap();
        plane.call(&instance, Request::new("r", body)).await
    };
    let answers = ask().await.unwrap();
    assert_eq!(answers.count().await, 3, "one output a token");
    worker.stop().await;
    assert!(ask().await.is_err());
}
