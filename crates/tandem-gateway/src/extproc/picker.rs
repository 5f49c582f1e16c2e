//! Who serves a request, where Envoy asks for an endpoint as well: the endpoint picker of the
//! Gateway API Inference Extension.

use futures::future::BoxFuture;
use tandem_protocol::ErrorKind;
use tandem_protocol::openai::{ErrorBody, InvalidParameter};
use tandem_semantic_router::RouteRequest;

use super::subset::EndpointSubset;

/// Chooses the server of a request.
pub trait EndpointPicker: Send + Sync {
    /// Chooses for a prompt; `request` is the one that the server will get.
    fn pick<'a>(
        &'a self,
        request: RouteRequest<'a>,
        subset: Option<&'a EndpointSubset>,
    ) -> BoxFuture<'a, Result<Pick, PickError>>;

    /// Chooses for a request that holds no prompt: any server can answer it.
    fn pick_any(&self, subset: Option<&EndpointSubset>) -> Result<Pick, PickError>;

    /// Whether a server is known.
    fn is_ready(&self) -> bool;
}

/// The chosen endpoint. Dropping it says that the request has ended.
pub struct Pick {
    /// Address, `ip:port`.
    pub endpoint: String,
    /// Where to go instead if it does not answer, best first.
    pub fallbacks: Vec<String>,
    /// The request while it runs there.
    pub assignment: Box<dyn Assignment>,
}

/// A request that runs on the endpoint picked for it, until this is dropped.
pub trait Assignment: Send {
    /// The answer has begun. May be said more than once.
    fn prefill_completed(&mut self);

    /// The request was answered by `endpoint`, which may be another than the one picked.
    fn served_by(&mut self, endpoint: &str);

    /// The endpoint could not be reached, or it could not serve.
    fn failed(&mut self);
}

/// Why no endpoint was picked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PickError {
    /// There is none that may serve the request.
    #[error("{0}")]
    NoEndpoint(String),
    /// All of them have too much to do.
    #[error("{0}")]
    Overloaded(String),
    /// None serves this model.
    #[error("{0}")]
    UnknownModel(String),
    /// The prompt cannot be served by any.
    #[error("{0}")]
    Invalid(InvalidParameter),
    /// A defect of ours.
    #[error("{0}")]
    Internal(String),
}

impl PickError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoEndpoint(_) => ErrorKind::Overloaded,
            // The protocol's status for load that is shed.
            Self::Overloaded(_) => ErrorKind::RateLimited,
            Self::UnknownModel(_) => ErrorKind::NotFound,
            Self::Invalid(_) => ErrorKind::InvalidRequest,
            Self::Internal(_) => ErrorKind::Internal,
        }
    }

    /// The OpenAI error body.
    pub(super) fn body(&self) -> ErrorBody {
        let param = match self {
            Self::Invalid(invalid) => invalid.param.clone(),
            Self::UnknownModel(_) => Some("model".to_owned()),
            Self::NoEndpoint(_) | Self::Overloaded(_) | Self::Internal(_) => None,
        };
        ErrorBody::new(self.kind(), self.to_string(), param)
    }
}
