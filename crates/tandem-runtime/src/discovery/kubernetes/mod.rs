//! Discovery through the Kubernetes API, with the objects of Dynamo 1.6.1.
//!
//! Each pod writes what it registers to one object of its own (`resource`, `record`, `keeper`), which
//! the cluster removes with the pod. Others see it while an EndpointSlice says that the pod is ready
//! (`view`, `reader`). An API server that is away costs nothing but news (`follow`).

mod access;
mod follow;
mod keeper;
mod pod;
mod reader;
mod record;
mod resource;
mod view;

use std::ffi::OsString;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tokio::sync::watch;
use tokio::time::Instant;

use super::retry::retry;
use super::snapshots::{Entries, changes};
use super::{Discovery, DiscoveryError, DiscoveryEvent};
use crate::lifecycle::Lifecycle;
use access::explain;
use keeper::Keeper;
use reader::Reader;

pub use pod::PodIdentity;
pub use resource::{
    DISCOVERY_BACKEND, DISCOVERY_BACKEND_LABEL, DISCOVERY_ENABLED, DISCOVERY_ENABLED_LABEL,
    DynamoWorkerMetadata, DynamoWorkerMetadataSpec,
};

/// What the store is called in messages.
const STORE: &str = "the Kubernetes API";
/// What the objects of pods are called in messages.
const REGISTRATIONS: &str = "DynamoWorkerMetadata";
/// What the objects that tell which pods are ready are called in messages.
const ENDPOINT_SLICES: &str = "EndpointSlices";
/// Most silence of the API server on a connection: more than its watches last.
const READ_TIMEOUT: Duration = Duration::from_secs(150);

/// How to reach the Kubernetes API, and who asks.
#[derive(Debug, Clone)]
pub struct KubernetesOptions {
    /// The pod that this process runs in.
    pub pod: PodIdentity,
    /// Files that tell how to reach the API, separated like a `PATH`; `None` for what the pod's
    /// service account says.
    pub kubeconfig: Option<OsString>,
    /// Most time to wait for the API at the start.
    pub connect_timeout: Duration,
}

/// The object of this process's pod, and a view of those of the others in its namespace.
pub struct KubernetesDiscovery {
    client: Client,
    keeper: Arc<Keeper>,
    lifecycle: Lifecycle,
    /// What can be seen; nobody looks before somebody wants to know.
    states: OnceLock<watch::Receiver<Arc<Entries>>>,
}

impl KubernetesDiscovery {
    /// Registers the pod, with nothing so far, and keeps that up until `lifecycle` stops.
    ///
    /// # Errors
    /// It is not known how to reach the API, this process may not use it, or it did not answer in
    /// time.
    pub async fn connect(
        options: KubernetesOptions,
        lifecycle: &Lifecycle,
    ) -> Result<Self, DiscoveryError> {
        let KubernetesOptions {
            pod,
            kubeconfig,
            connect_timeout,
        } = options;
        let mut config = configuration(kubeconfig).await?;
        config.read_timeout = Some(READ_TIMEOUT);
        config.reset_reader_on_write = true;
        let client =
            Client::try_from(config).map_err(|error| explain("use the configuration", &error))?;
        let reader = Reader::new(&client, &pod.namespace, &pod.name);
        let keeper = Arc::new(Keeper::new(client.clone(), pod));
        let deadline = Instant::now() + connect_timeout;
        // What an earlier process in this pod has left ends here.
        retry(STORE, deadline, || keeper.write()).await?;
        retry(STORE, deadline, || reader.admitted()).await?;
        lifecycle.spawn(Arc::clone(&keeper).run());
        Ok(Self {
            client,
            keeper,
            lifecycle: lifecycle.clone(),
            states: OnceLock::new(),
        })
    }

    fn follow(&self) -> watch::Receiver<Arc<Entries>> {
        let own = self.keeper.wanted();
        let (sender, states) = watch::channel(Arc::clone(&own.borrow()));
        let pod = self.keeper.pod();
        let reader = Reader::new(&self.client, &pod.namespace, &pod.name);
        self.lifecycle.spawn(reader.run(own, sender));
        states
    }
}

impl Discovery for KubernetesDiscovery {
    fn lease(&self) -> u64 {
        self.keeper.pod().instance_id()
    }

    fn put(&self, key: String, value: Bytes) -> BoxFuture<'_, Result<(), DiscoveryError>> {
        Box::pin(self.keeper.put(key, value))
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), DiscoveryError>> {
        Box::pin(self.keeper.delete(key))
    }

    fn watch(&self, prefix: &str) -> BoxStream<'static, DiscoveryEvent> {
        let states = self.states.get_or_init(|| self.follow());
        changes(states.clone(), prefix)
    }

    fn revoke(&self) -> BoxFuture<'_, Result<(), DiscoveryError>> {
        Box::pin(self.keeper.revoke())
    }
}

async fn configuration(kubeconfig: Option<OsString>) -> Result<Config, DiscoveryError> {
    let Some(paths) = kubeconfig.filter(|paths| !paths.is_empty()) else {
        return Config::incluster().map_err(|error| {
            DiscoveryError::Address(format!(
                "this process is not in a pod with a service account, and --kubeconfig \
                 (KUBECONFIG) is not set: {error}"
            ))
        });
    };
    let read = async {
        let files = std::env::split_paths(&paths).filter(|path| !path.as_os_str().is_empty());
        let merged = files
            .map(Kubeconfig::read_from)
            .try_fold(Kubeconfig::default(), |merged, file| merged.merge(file?))?;
        Config::from_custom_kubeconfig(merged, &KubeConfigOptions::default()).await
    };
    read.await.map_err(|error: KubeconfigError| {
        let paths = paths.display();
        DiscoveryError::Address(format!("failed to use the kubeconfig {paths}: {error}"))
    })
}
