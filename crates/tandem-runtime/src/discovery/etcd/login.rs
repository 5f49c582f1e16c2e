//! Logging in to etcd: a name and a password become a token, which goes with every call.

use parking_lot::Mutex;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::client::api;
use super::client::api::auth_client::AuthClient;
use crate::secret::Secret;

/// Who this process is to etcd.
#[derive(Debug, Clone)]
pub struct EtcdLogin {
    /// Name.
    pub user: String,
    /// Password.
    pub password: Secret,
}

/// A channel whose calls carry a token.
pub(super) type Authorized = InterceptedService<Channel, AddToken>;

/// A login, and the token that it gave.
pub(super) struct Session {
    login: EtcdLogin,
    token: Mutex<Token>,
}

/// What is known of the token.
#[derive(Debug, Clone)]
enum Token {
    Unknown,
    /// The store asks nobody who they are.
    NotNeeded,
    Known(MetadataValue<Ascii>),
}

impl Session {
    pub(super) const fn new(login: EtcdLogin) -> Self {
        Self {
            login,
            token: Mutex::new(Token::Unknown),
        }
    }

    /// Logs in, unless that has been done.
    pub(super) async fn token(
        &self,
        channel: &Channel,
    ) -> Result<Option<MetadataValue<Ascii>>, Status> {
        let known = self.token.lock().clone();
        let token = match known {
            Token::Unknown => self.authenticate(channel).await?,
            known => known,
        };
        *self.token.lock() = token.clone();
        Ok(match token {
            Token::Known(token) => Some(token),
            Token::Unknown | Token::NotNeeded => None,
        })
    }

    /// Logs in again before the next call: tokens expire.
    pub(super) fn forget(&self) {
        *self.token.lock() = Token::Unknown;
    }

    async fn authenticate(&self, channel: &Channel) -> Result<Token, Status> {
        let request = api::AuthenticateRequest {
            name: self.login.user.clone(),
            password: self.login.password.expose().to_owned(),
        };
        match AuthClient::new(channel.clone()).authenticate(request).await {
            Ok(answer) => {
                let token = MetadataValue::try_from(answer.into_inner().token);
                let malformed = |_| Status::internal("etcd gave a token that is none");
                Ok(Token::Known(token.map_err(malformed)?))
            }
            Err(status) if status.code() == Code::FailedPrecondition => Ok(Token::NotNeeded),
            Err(status) => Err(status),
        }
    }
}

/// Adds a token to each call, if there is one.
#[derive(Clone)]
pub(super) struct AddToken(pub(super) Option<MetadataValue<Ascii>>);

impl Interceptor for AddToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("token", token.clone());
        }
        Ok(request)
    }
}
