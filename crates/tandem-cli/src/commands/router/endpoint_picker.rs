//! The workers of a cluster, for a router that also picks the endpoint of each request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures::future::BoxFuture;
use tandem_frontend::{Form, FrontendError, PickRequest, Picked, Picker, Planes, RoutingArgs};
use tandem_gateway::{Assignment, EndpointPicker, EndpointSubset, Pick, PickError};
use tandem_runtime::{Discovery, Lifecycle};
use tandem_semantic_router::{Endpoint, RouteRequest};
use tracing::warn;

use crate::planes::PlaneArgs;

/// Whether and how endpoints are picked.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Endpoint picker")]
pub(super) struct EndpointPickerArgs {
    /// Also pick the worker that serves each request, as an endpoint picker of the Gateway API
    /// Inference Extension
    #[arg(long)]
    epp: bool,

    /// Endpoints to name beside the picked one, in case it does not answer; Envoy itself takes
    /// none
    #[arg(long, value_name = "N", default_value_t = 0, requires = "epp")]
    epp_fallbacks: usize,

    /// Server to pick, that does not register in etcd; may be repeated, and then etcd and NATS are
    /// not asked
    #[arg(long = "epp-endpoint", value_name = "IP:PORT", requires = "epp")]
    epp_endpoints: Vec<SocketAddr>,

    /// Namespace whose workers are picked [default: all]
    #[arg(long, value_name = "NAME", env = "DYN_NAMESPACE")]
    namespace: Option<String>,

    #[command(flatten)]
    routing: RoutingArgs,

    #[command(flatten)]
    planes: PlaneArgs,
}

impl EndpointPickerArgs {
    /// Joins the cluster, if endpoints are to be picked.
    pub(super) async fn start(&self) -> Result<Option<WorkerPicker>> {
        if !self.epp {
            return Ok(None);
        }
        let lifecycle = Lifecycle::new();
        let (picker, discovery) = if self.epp_endpoints.is_empty() {
            let (picker, discovery) = self.join(&lifecycle).await?;
            (picker, Some(discovery))
        } else {
            let servers = &self.epp_endpoints;
            (Picker::of_servers(&self.routing, servers, &lifecycle), None)
        };
        Ok(Some(WorkerPicker {
            workers: Arc::new(Workers {
                picker,
                fallbacks: self.epp_fallbacks,
            }),
            discovery,
            lifecycle,
        }))
    }

    /// A picker among the workers that discovery knows.
    async fn join(&self, lifecycle: &Lifecycle) -> Result<(Picker, Arc<dyn Discovery>)> {
        let planes = self.planes.connect(lifecycle).await?;
        let discovery = Arc::clone(&planes.discovery);
        let planes = Planes {
            discovery: planes.discovery,
            messaging: planes.messaging,
            requests: planes.requests,
            namespace: self.namespace.clone(),
        };
        let picker = Picker::start(&self.routing, &planes, lifecycle);
        Ok((picker, discovery))
    }
}

/// A picker, and what it needs to run.
pub(super) struct WorkerPicker {
    workers: Arc<Workers>,
    /// Where this process has registered, if it has.
    discovery: Option<Arc<dyn Discovery>>,
    lifecycle: Lifecycle,
}

impl WorkerPicker {
    /// What the ExtProc server asks.
    pub(super) fn picker(&self) -> Arc<dyn EndpointPicker> {
        Arc::clone(&self.workers) as Arc<dyn EndpointPicker>
    }

    /// Leaves the cluster.
    pub(super) async fn stop(self) {
        if let Some(discovery) = self.discovery
            && let Err(error) = discovery.revoke().await
        {
            warn!(%error, "failed to give the lease back");
        }
        if let Err(error) = self.lifecycle.stop(Duration::from_secs(2)).await {
            warn!(%error, "left tasks behind");
        }
    }
}

struct Workers {
    picker: Picker,
    fallbacks: usize,
}

impl EndpointPicker for Workers {
    fn pick<'a>(
        &'a self,
        request: RouteRequest<'a>,
        subset: Option<&'a EndpointSubset>,
    ) -> BoxFuture<'a, Result<Pick, PickError>> {
        let request = PickRequest {
            form: match request.endpoint {
                Endpoint::Chat => Form::Chat,
                Endpoint::Completion => Form::Completion,
            },
            body: request.body.clone(),
            request_id: request.request_id,
            fallbacks: self.fallbacks,
        };
        Box::pin(async move {
            let allowed = |endpoint: &str| subset.is_none_or(|subset| subset.allows(endpoint));
            let picked = self.picker.pick(request, &allowed).await;
            picked.map(pick).map_err(pick_error)
        })
    }

    fn pick_any(&self, subset: Option<&EndpointSubset>) -> Result<Pick, PickError> {
        let allowed = |endpoint: &str| subset.is_none_or(|subset| subset.allows(endpoint));
        let picked = self.picker.pick_any(&allowed).map(pick);
        picked.ok_or_else(|| PickError::NoEndpoint("no worker can be asked right now".to_owned()))
    }

    fn is_ready(&self) -> bool {
        self.picker.is_ready()
    }
}

/// A request on a worker.
struct Running(Picked);

impl Assignment for Running {
    fn prefill_completed(&mut self) {
        self.0.prefill_completed();
    }

    fn served_by(&mut self, endpoint: &str) {
        self.0.served_by(endpoint);
    }

    fn failed(&mut self) {
        self.0.failed();
    }
}

fn pick(picked: Picked) -> Pick {
    Pick {
        endpoint: picked.endpoint().to_owned(),
        fallbacks: picked.fallbacks().to_vec(),
        assignment: Box::new(Running(picked)),
    }
}

fn pick_error(error: FrontendError) -> PickError {
    let message = error.to_string();
    match error {
        FrontendError::Invalid(invalid) => PickError::Invalid(invalid),
        FrontendError::UnknownModel { .. } => PickError::UnknownModel(message),
        FrontendError::AllBusy(_) => PickError::Overloaded(message),
        FrontendError::NoWorkers(_) => PickError::NoEndpoint(message),
        // What only happens where a request is received or runs.
        _ => PickError::Internal(message),
    }
}
