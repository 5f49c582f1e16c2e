//! Builds every part of `tandem up` and hands each what it needs: the only wiring there is.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use futures::future::try_join_all;
use prometheus_client::registry::Registry;
use tandem_classifier::{EncoderClassifier, Settings};
use tandem_frontend::Frontend;
use tandem_gateway::{Gateway, GatewayMetrics, GatewayOptions, GatewayParts, register_cache};
use tandem_runtime::Lifecycle;
use tandem_runtime::discovery::MemoryDiscovery;
use tandem_runtime::http::HttpOptions;
use tandem_runtime::messaging::MemoryMessaging;
use tandem_runtime::request_plane::MemoryRequestPlane;
use tandem_semantic_router::RouterConfig;
use tandem_tokenizer::ModelCard;
use tandem_worker::engine::LoraModule;
use tandem_worker::engine::embedded::EmbeddedConfig;
use tandem_worker::{ComponentMetrics, Planes, Worker, WorkerOptions, WorkerRole};
use tracing::warn;

use super::banner::{Part, Summary};
use super::{Listeners, UpArgs};
use crate::commands::{load_config, load_encoder, router};
use crate::model::card_settings;
use crate::shipped::NANO_ENCODER;

/// Deployment that all parts of one process belong to.
const NAMESPACE: &str = "tandem";
/// Tokens per KV block.
const BLOCK_SIZE: u32 = 16;
/// Most time for requests in flight when the process was asked to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(3500);
/// Most time between a worker's registration and the frontend's readiness.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything that runs.
pub(super) struct Stack {
    /// What runs where.
    pub summary: Summary,
    /// Serves clients; stops first.
    http: Lifecycle,
    /// Follows workers; stops when no request needs it any more.
    plane: Lifecycle,
    workers: Vec<Worker>,
}

/// Starts every part.
pub(super) async fn start(args: &UpArgs, listeners: Listeners) -> Result<Stack> {
    let started = Instant::now();
    let mut parts = Vec::new();
    let cache = args.cache.directory();
    let directory = timed(&mut parts, "model files", args.model.directory(&args.cache)).await?;
    let name = args.model.served_name(&directory);
    let card = ModelCard::from_dir(&directory, card_settings(&name, BLOCK_SIZE))?;
    let router_config = router_config(args, &name)?;

    let discovery = MemoryDiscovery::new();
    let mut registry = Registry::default();
    let planes = SharedPlanes {
        messaging: Arc::new(MemoryMessaging::new()),
        requests: Arc::new(MemoryRequestPlane::new()),
        metrics: ComponentMetrics::register(&mut registry),
    };
    let http = Lifecycle::new();
    let plane = Lifecycle::new();

    let frontend_planes = tandem_frontend::Planes {
        discovery: Arc::new(discovery.join()),
        messaging: planes.messaging.clone(),
        requests: planes.requests.clone(),
        namespace: None,
    };
    let frontend = Frontend::start(&args.frontend, frontend_planes, &mut registry, &plane);
    let adapters = args.model.adapters(&name).await?;
    let model = (&*directory, &card, &*adapters);
    let workers = launch_workers(args, model, &discovery, &planes);
    let classifier = load_classifier(&cache);
    let (workers, classifier) = tokio::try_join!(workers, classifier)?;
    let engines = workers
        .iter()
        .map(|one| (one.name.clone(), Arc::clone(one.worker.engine())));
    tandem_worker::metrics::register(engines.collect(), &mut registry);

    let auto_model = router_config
        .auto_models
        .first()
        .cloned()
        .unwrap_or_else(|| "auto".to_owned());
    let gateway_address = listeners.gateway.local_addr()?;
    let frontend_address = listeners.frontend.local_addr()?;
    http.spawn_to_end(Arc::clone(&frontend).serve(
        listeners.frontend,
        Arc::new(registry),
        HttpOptions::default(),
        http.clone(),
    ));
    let gateway = gateway(
        router_config,
        classifier.classifier,
        frontend_address.port(),
        args,
        &http,
    )
    .await?;
    http.spawn_to_end(gateway.serve(listeners.gateway));

    for one in &workers {
        parts.push(one.part.clone());
    }
    parts.push(classifier.part);
    timed(&mut parts, "routing", wait_until_ready(&frontend, &name)).await?;
    Ok(Stack {
        summary: Summary {
            model: name,
            auto_model,
            gateway: gateway_address,
            frontend: frontend_address,
            parts,
            total: started.elapsed(),
        },
        http,
        plane,
        workers: workers.into_iter().map(|one| one.worker).collect(),
    })
}

impl Stack {
    /// Lets requests in flight finish, then stops everything.
    pub(super) async fn stop(self) {
        if let Err(error) = self
            .http
            .stop(DRAIN_TIMEOUT + Duration::from_millis(500))
            .await
        {
            warn!(%error, "cut off requests");
        }
        for worker in self.workers {
            worker.stop().await;
        }
        if let Err(error) = self.plane.stop(Duration::from_secs(1)).await {
            warn!(%error, "left tasks behind");
        }
    }
}

/// What every role of the process shares.
struct SharedPlanes {
    messaging: Arc<MemoryMessaging>,
    requests: Arc<MemoryRequestPlane>,
    metrics: ComponentMetrics,
}

struct LaunchedWorker {
    name: String,
    worker: Worker,
    part: Part,
}

struct LoadedClassifier {
    classifier: Arc<EncoderClassifier>,
    part: Part,
}

/// Runs `work` and notes how long it took and what came out.
async fn timed<T: Detail>(
    parts: &mut Vec<Part>,
    name: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let started = Instant::now();
    let result = work.await?;
    parts.push(Part {
        name: name.to_owned(),
        detail: result.detail(),
        took: started.elapsed(),
    });
    Ok(result)
}

/// What the summary says of a result.
trait Detail {
    fn detail(&self) -> String;
}

impl Detail for PathBuf {
    fn detail(&self) -> String {
        self.display().to_string()
    }
}

impl Detail for &'static str {
    fn detail(&self) -> String {
        (*self).to_owned()
    }
}

fn router_config(args: &UpArgs, model: &str) -> Result<RouterConfig> {
    let Some(path) = &args.config else {
        return Ok(RouterConfig::built_in(model));
    };
    let loaded = load_config(path)?;
    for warning in &loaded.warnings {
        warn!(config = %path.display(), "{warning}");
    }
    Ok(loaded.config.with_default_security())
}

async fn launch_workers(
    args: &UpArgs,
    (directory, card, adapters): (&Path, &ModelCard, &[LoraModule]),
    discovery: &MemoryDiscovery,
    planes: &SharedPlanes,
) -> Result<Vec<LaunchedWorker>> {
    let prefill = (1..=args.workers.prefill).map(|i| (WorkerRole::Prefill, i));
    let decode = (1..=args.workers.decode).map(|i| (WorkerRole::Decode, i));
    let launches = prefill.chain(decode).map(|(role, i)| {
        let options = WorkerOptions {
            directory: directory.to_owned(),
            card: card.clone(),
            role,
            namespace: NAMESPACE.to_owned(),
            transfer_host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            transfer: true,
            mock: None,
            external: None,
            engine: EmbeddedConfig {
                device: args.device,
                threads: args.threads.map(usize::from),
                quantization: args.quantization.into(),
                adapters: adapters.to_vec(),
                kv_blocks: Some(args.kv_blocks),
                context_length: args.max_model_len,
                speculation: args.speculative_config,
                tiers: args.tiers.config(&args.cache),
                ..EmbeddedConfig::default()
            },
        };
        let planes = Planes {
            discovery: Arc::new(discovery.join()),
            messaging: planes.messaging.clone(),
            requests: planes.requests.clone(),
            metrics: planes.metrics.clone(),
        };
        launch(format!("{}-{i}", role.component()), options, planes)
    });
    try_join_all(launches).await
}

async fn launch(name: String, options: WorkerOptions, planes: Planes) -> Result<LaunchedWorker> {
    let started = Instant::now();
    let directory = options.directory.clone();
    let worker = Box::pin(Worker::launch(options, planes))
        .await
        .with_context(|| format!("failed to run the model in {}", directory.display()))?;
    let info = worker.engine().info();
    let detail = format!(
        "embedded engine, {} KV blocks of {}, context {}",
        info.total_blocks, info.block_size, info.context_length
    );
    let part = Part {
        name: format!("worker {name}"),
        detail,
        took: started.elapsed(),
    };
    Ok(LaunchedWorker { name, worker, part })
}

async fn load_classifier(cache: &Path) -> Result<LoadedClassifier> {
    let started = Instant::now();
    let cache = cache.to_owned();
    let load = move || load_encoder(None, &cache, Settings::default());
    let classifier = Arc::new(tokio::task::spawn_blocking(load).await??);
    let part = Part {
        name: "semantic router".to_owned(),
        detail: format!("{}: domain, jailbreak, personal data", NANO_ENCODER.name),
        took: started.elapsed(),
    };
    Ok(LoadedClassifier { classifier, part })
}

async fn gateway(
    config: RouterConfig,
    classifier: Arc<EncoderClassifier>,
    frontend_port: u16,
    args: &UpArgs,
    http: &Lifecycle,
) -> Result<Gateway> {
    let host = if args.host.is_unspecified() {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    } else {
        args.host
    };
    let authority = std::net::SocketAddr::new(host, frontend_port);
    let upstream = format!("http://{authority}").parse()?;
    let mut registry = Registry::default();
    let metrics = Arc::new(GatewayMetrics::register(&mut registry));
    let router = router(config, classifier, Arc::default(), Arc::default());
    router.warm_up().await;
    register_cache(&mut registry, Arc::clone(router.cache()));
    http.spawn(Arc::clone(router.cache()).work());
    let options = GatewayOptions {
        max_body_bytes: args.frontend.body_limit_bytes(),
        drain_timeout: DRAIN_TIMEOUT,
        ..GatewayOptions::default()
    };
    let parts = GatewayParts {
        router: Arc::new(ArcSwap::from_pointee(router)),
        upstream: Some(upstream),
        metrics,
        registry,
        lifecycle: http.clone(),
    };
    Ok(Gateway::new(parts, options)?)
}

async fn wait_until_ready(frontend: &Frontend, model: &str) -> Result<&'static str> {
    let ready = async {
        while !frontend.is_ready(model) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(READY_TIMEOUT, ready)
        .await
        .context("the frontend could not use the model's tokenizer; see the log above")?;
    Ok("frontend follows the workers' KV events")
}
