//! One stream of messages, for fuzz targets.

use std::sync::Arc;

use tandem_semantic_router::Router;

use super::session;
use crate::metrics::GatewayMetrics;
use messages::{ProcessingRequest, ProcessingResponse};

/// The messages of the protocol.
pub mod messages {
    pub use super::super::messages::*;
}

/// The answers to one stream of messages.
pub struct Session(session::Session);

impl Session {
    /// A stream on which nothing has come yet.
    pub fn new(router: Arc<Router>, metrics: Arc<GatewayMetrics>, max_body_bytes: usize) -> Self {
        Self(session::Session::new(router, metrics, max_body_bytes, None))
    }

    /// The answers to a message.
    pub async fn answer(&mut self, message: ProcessingRequest) -> Vec<ProcessingResponse> {
        self.0.answer(message).await.into_vec()
    }
}
