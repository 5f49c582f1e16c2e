//! What others find out about a worker while it comes and goes.

use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt;
use prometheus_client::registry::Registry;
use tandem_runtime::component::INSTANCE_ROOT;
use tandem_runtime::discovery::{DiscoveryEvent, MemoryDiscovery};
use tandem_runtime::messaging::MemoryMessaging;
use tandem_runtime::request_plane::{MemoryRequestPlane, Request};
use tandem_runtime::{Discovery, Instance, RequestPlane};
use tandem_tokenizer::ModelCard;
use tandem_tokenizer::model_card::{CardSettings, ModelType, RuntimeConfig};
use tandem_worker::{ComponentMetrics, Planes, RunningWorker, WorkerRole};

use crate::support::{config, engine, prompt, request};

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

#[tokio::test]
async fn a_worker_that_leaves_still_serves_what_comes() {
    let store = MemoryDiscovery::new();
    let plane = Arc::new(MemoryRequestPlane::new());
    let planes = Planes {
        discovery: Arc::new(store.join()),
        messaging: Arc::new(MemoryMessaging::new()),
        requests: Arc::clone(&plane) as Arc<dyn RequestPlane>,
        metrics: ComponentMetrics::register(&mut Registry::default()),
    };
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
