//! The server of Envoy's external processing filter.

mod session;

mod answer;
mod convert;
mod destination;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod picker;
mod picking;
mod sent;
mod subset;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::{FutureExt, Stream, StreamExt, stream};
use prometheus_client::registry::Registry;
use smallvec::smallvec;
use tandem_semantic_router::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};
use tonic_health::ServingStatus;
use tracing::{info, warn};

use crate::metrics::GatewayMetrics;
pub use picker::{Assignment, EndpointPicker, Pick, PickError};
use picking::Picking;
pub use subset::EndpointSubset;

use messages::external_processor_server::{ExternalProcessor, ExternalProcessorServer};
use messages::{ProcessingRequest, ProcessingResponse};
use session::Session;

/// Names that health checks ask for: Envoy the service's, endpoint picker probes the others.
const HEALTH_SERVICES: [&str; 5] = [
    "",
    "liveness",
    READINESS,
    "envoy.service.ext_proc.v3.ExternalProcessor",
    "inference-extension",
];
/// The service that is healthy only once a picker knows an endpoint. The others say that the
/// process runs: whoever restarts it on their word would not get endpoints sooner.
const READINESS: &str = "readiness";
/// Time between two looks for the first endpoint.
const READINESS_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes of one stream that may be under way: a prompt should not wait for acknowledgements.
const STREAM_WINDOW: u32 = 1 << 20;
/// Bytes of all streams of a connection that may be under way.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Requests that Envoy may show at the same time on one connection; it opens more as needed.
const STREAMS_PER_CONNECTION: u32 = 1024;
/// Silence after which a connection is probed: an Envoy that vanished must not hold streams.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Generated from `proto/ext_proc.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    dead_code,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::unwrap_used,
    reason = "generated code; its client is for tests"
)]
mod messages {
    tonic::include_proto!("envoy.service.ext_proc.v3");
}

/// How the server treats Envoy.
#[derive(Debug, Clone)]
pub struct ExtProcOptions {
    /// Largest request body in bytes; Envoy's own limit is usually 50 MiB.
    pub max_body_bytes: usize,
    /// Certificate of the server; plain text without.
    pub identity: Option<TlsIdentity>,
    /// Longest wait for open streams after the shutdown began.
    pub drain_timeout: Duration,
}

impl Default for ExtProcOptions {
    fn default() -> Self {
        Self {
            max_body_bytes: 50 << 20,
            identity: None,
            drain_timeout: Duration::from_secs(25),
        }
    }
}

/// A certificate and its private key, both PEM.
#[derive(Clone)]
pub struct TlsIdentity {
    /// The certificate, followed by those that signed it.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TlsIdentity([redacted])")
    }
}

/// Why the server stopped.
#[derive(Debug, thiserror::Error)]
pub enum ExtProcError {
    /// The transport failed, or the certificate cannot be used.
    #[error("failed to serve ExtProc")]
    Transport(#[from] tonic::transport::Error),
}

/// Tells Envoy what the router decides.
pub struct ExtProc {
    router: Arc<ArcSwap<Router>>,
    options: ExtProcOptions,
    metrics: Arc<GatewayMetrics>,
    picking: Option<Arc<Picking>>,
}

impl ExtProc {
    /// A server that asks `router`, which may be swapped at any time; requests in flight keep the
    /// old one.
    pub fn new(
        router: Arc<ArcSwap<Router>>,
        options: ExtProcOptions,
        metrics: Arc<GatewayMetrics>,
    ) -> Self {
        Self {
            router,
            options,
            metrics,
            picking: None,
        }
    }

    /// Also tells Envoy which endpoint serves a request, by what `picker` says. Its health service
    /// `readiness` waits for the first endpoint.
    #[must_use]
    pub fn with_picker(self, picker: Arc<dyn EndpointPicker>, metrics: &mut Registry) -> Self {
        Self {
            picking: Some(Arc::new(Picking::new(picker, metrics))),
            ..self
        }
    }

    /// Serves ExtProc and gRPC health until `shutdown`, then waits for the streams that are open.
    /// During that wait health says that nothing is served here any more.
    ///
    /// # Errors
    /// The transport failed, or the certificate cannot be used.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), ExtProcError> {
        let options = self.options.clone();
        let picker = self.picking.as_ref().map(|picking| picking.picker());
        let ready = picker.is_none_or(|picker| picker.is_ready());
        let first_endpoint = first_endpoint(picker.cloned());
        // Room for the frame around a body of the largest size.
        let message_limit = options.max_body_bytes + (1 << 20);
        let processor = ExternalProcessorServer::new(self)
            .max_decoding_message_size(message_limit)
            .max_encoding_message_size(message_limit);
        let (health, health_service) = tonic_health::server::health_reporter();
        for service in HEALTH_SERVICES {
            let status = match service {
                READINESS if !ready => ServingStatus::NotServing,
                _ => ServingStatus::Serving,
            };
            health.set_service_status(service, status).await;
        }
        let stop = shutdown.clone();
        let stopping = async move {
            if stop.run_until_cancelled(first_endpoint).await.is_some() {
                health
                    .set_service_status(READINESS, ServingStatus::Serving)
                    .await;
            }
            stop.cancelled().await;
            for service in HEALTH_SERVICES {
                health
                    .set_service_status(service, ServingStatus::NotServing)
                    .await;
            }
        };
        let mut server = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(STREAMS_PER_CONNECTION)
            .http2_keepalive_interval(Some(KEEPALIVE));
        if let Some(TlsIdentity { certificate, key }) = &options.identity {
            let identity = Identity::from_pem(certificate, key);
            server = server.tls_config(ServerTlsConfig::new().identity(identity))?;
        }
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let serving = server
            .add_service(health_service)
            .add_service(processor)
            .serve_with_incoming_shutdown(incoming, stopping);
        let drained = async {
            shutdown.cancelled().await;
            tokio::time::sleep(options.drain_timeout).await;
        };
        tokio::select! {
            served = serving => served?,
            () = drained => warn!("gave up on streams that did not finish"),
        }
        info!("extproc server stopped");
        Ok(())
    }
}

#[tonic::async_trait]
impl ExternalProcessor for ExtProc {
    type ProcessStream =
        Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send + 'static>>;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let session = Session::new(
            self.router.load_full(),
            Arc::clone(&self.metrics),
            self.options.max_body_bytes,
            self.picking.clone(),
        );
        Ok(Response::new(
            answers(session, request.into_inner()).boxed(),
        ))
    }
}

/// Waits until `picker` knows an endpoint. Later it may know none again, and then says so itself.
async fn first_endpoint(picker: Option<Arc<dyn EndpointPicker>>) {
    let Some(picker) = picker else {
        return;
    };
    while !picker.is_ready() {
        tokio::time::sleep(READINESS_INTERVAL).await;
    }
}

/// Answers messages in turn. Dropping the stream drops the work on the current one.
fn answers(
    session: Session,
    messages: Streaming<ProcessingRequest>,
) -> impl Stream<Item = Result<ProcessingResponse, Status>> + Send {
    let answers = stream::unfold((session, messages), |(mut session, mut messages)| async {
        // Envoy has left when there are no more: there is nobody to answer.
        let message = messages.message().await.ok()??;
        let answer = AssertUnwindSafe(session.answer(message)).catch_unwind();
        let answers = match answer.await {
            Ok(answers) => answers,
            Err(_) => smallvec![session.panicked()],
        };
        Some((answers, (session, messages)))
    });
    answers.flat_map(|answers| stream::iter(answers.into_iter().map(Ok)))
}

#[cfg(test)]
mod tests;
