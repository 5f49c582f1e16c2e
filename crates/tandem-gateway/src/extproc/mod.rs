//! The server of Envoy's external processing filter.

mod convert;
mod session;

use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::{Stream, StreamExt, stream};
use tandem_semantic_router::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tracing::info;

use crate::metrics::GatewayMetrics;
use messages::external_processor_server::{ExternalProcessor, ExternalProcessorServer};
use messages::{ProcessingRequest, ProcessingResponse};
use session::Session;

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
}

impl Default for ExtProcOptions {
    fn default() -> Self {
        Self {
            max_body_bytes: 50 << 20,
        }
    }
}

/// Why the server stopped.
#[derive(Debug, thiserror::Error)]
pub enum ExtProcError {
    /// The transport failed.
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
    ///
    /// # Errors
    /// The transport failed.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), ExtProcError> {
        // Room for the frame around a body of the largest size.
        let message_limit = self.options.max_body_bytes + (1 << 20);
        let processor = ExternalProcessorServer::new(self)
            .max_decoding_message_size(message_limit)
            .max_encoding_message_size(message_limit);
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<ExternalProcessorServer<Self>>().await;
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        Server::builder()
            .add_service(health_service)
            .add_service(processor)
            .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned())
            .await?;
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
    stream::unfold((session, messages), |(mut session, mut messages)| async {
        loop {
            let message = match messages.message().await {
                Ok(message) => message?,
                // Envoy has left; there is nobody to answer.
                Err(_) => return None,
            };
            if let Some(answer) = session.answer(message).await {
                return Some((Ok(answer), (session, messages)));
            }
        }
    })
}

#[cfg(test)]
mod tests;
