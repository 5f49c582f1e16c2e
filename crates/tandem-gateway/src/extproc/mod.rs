//! The server of Envoy's external processing filter.

mod answer;
mod convert;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod session;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::{FutureExt, Stream, StreamExt, stream};
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
use messages::external_processor_server::{ExternalProcessor, ExternalProcessorServer};
use messages::{ProcessingRequest, ProcessingResponse};
use session::Session;

/// Names that health checks ask for: Envoy the service's, endpoint picker probes the others.
const HEALTH_SERVICES: [&str; 4] = [
    "",
    "liveness",
    "readiness",
    "envoy.service.ext_proc.v3.ExternalProcessor",
];

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
        // Room for the frame around a body of the largest size.
        let message_limit = options.max_body_bytes + (1 << 20);
        let processor = ExternalProcessorServer::new(self)
            .max_decoding_message_size(message_limit)
            .max_encoding_message_size(message_limit);
        let (health, health_service) = tonic_health::server::health_reporter();
        for service in HEALTH_SERVICES {
            health
                .set_service_status(service, ServingStatus::Serving)
                .await;
        }
        let stop = shutdown.clone();
        let stopping = async move {
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
        );
        Ok(Response::new(
            answers(session, request.into_inner()).boxed(),
        ))
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
