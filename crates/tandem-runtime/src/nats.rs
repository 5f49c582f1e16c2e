//! The connection to NATS that messaging and the request plane share.

use std::path::PathBuf;
use std::time::Duration;

pub use async_nats::Client;
use async_nats::{ConnectErrorKind, ConnectOptions, Event};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::messaging::MessagingError;
use crate::secret::Secret;

/// Longest pause between attempts to reach a server.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// Most time for a request to be acknowledged.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How to reach NATS.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// Addresses of the servers, separated by commas: `nats://host:4222`.
    pub server: String,
    /// How to log in.
    pub login: NatsLogin,
    /// How the servers are known, where they speak TLS.
    pub tls: NatsTls,
    /// Most time to wait for the server at the start.
    pub connect_timeout: Duration,
}

/// How to log in.
#[derive(Debug, Clone)]
pub enum NatsLogin {
    /// Name and password; a server without authentication ignores them.
    Password {
        /// Name.
        user: String,
        /// Password.
        password: Secret,
    },
    /// A token.
    Token(Secret),
    /// The seed of an NKEY, `SU…`.
    NKey(Secret),
    /// A file with a JWT and the seed that goes with it, as `nsc` writes it.
    CredentialsFile(PathBuf),
}

/// TLS to NATS servers. It is spoken where the address begins with `tls://` or the server asks.
#[derive(Debug, Clone, Default)]
pub struct NatsTls {
    /// PEM file of the authorities that sign the servers' certificates; those of the system if
    /// there is none.
    pub authorities: Option<PathBuf>,
    /// What this process shows to the servers.
    pub identity: Option<NatsIdentity>,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct NatsIdentity {
    /// PEM file of the certificate chain.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
}

/// Connects; a connection that is lost later is made again for as long as the process lives.
///
/// # Errors
/// No server could be reached in time, or one does not let this process in.
pub async fn connect(options: &NatsOptions) -> Result<Client, MessagingError> {
    let deadline = Instant::now() + options.connect_timeout;
    let servers: Vec<&str> = options.server.split(',').map(str::trim).collect();
    let mut warned = false;
    loop {
        let error = match connect_options(options).await?.connect(&servers).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let (server, kind) = (&options.server, error.kind());
        if let ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation = kind {
            let reason = format!("{server} does not accept the login: {error}");
            return Err(MessagingError::Denied(reason));
        }
        if kind == ConnectErrorKind::Tls {
            let reason = format!("no TLS with {server}: {error}");
            return Err(MessagingError::Denied(reason));
        }
        if Instant::now() + MAX_PAUSE >= deadline {
            let reason = format!("no NATS server at {}: {error}", options.server);
            return Err(MessagingError::Unavailable(reason));
        }
        if !std::mem::replace(&mut warned, true) {
            warn!(server = %options.server, %error, "waiting for NATS");
        }
        tokio::time::sleep(MAX_PAUSE / 2).await;
    }
}

async fn connect_options(options: &NatsOptions) -> Result<ConnectOptions, MessagingError> {
    let secured = secured(basic_options(), &options.tls);
    Ok(match &options.login {
        NatsLogin::Password { user, password } => {
            secured.user_and_password(user.clone(), password.expose().to_owned())
        }
        NatsLogin::Token(token) => secured.token(token.expose().to_owned()),
        NatsLogin::NKey(seed) => secured.nkey(seed.expose().to_owned()),
        NatsLogin::CredentialsFile(path) => {
            let with = secured.credentials_file(path).await;
            with.map_err(|error| MessagingError::Denied(error.to_string()))?
        }
    })
}

fn secured(options: ConnectOptions, tls: &NatsTls) -> ConnectOptions {
    let options = match &tls.authorities {
        Some(file) => options.add_root_certificates(file.clone()),
        None => options,
    };
    match &tls.identity {
        Some(NatsIdentity { certificate, key }) => {
            options.add_client_certificate(certificate.clone(), key.clone())
        }
        None => options,
    }
}

fn basic_options() -> ConnectOptions {
    ConnectOptions::new()
        .name("tandem")
        .request_timeout(Some(REQUEST_TIMEOUT))
        .ping_interval(Duration::from_secs(10))
        .reconnect_delay_callback(|attempt| {
            let doublings = u32::try_from(attempt).unwrap_or(u32::MAX).min(8);
            (Duration::from_millis(50) * 2_u32.pow(doublings)).min(MAX_PAUSE)
        })
        .event_callback(|event| async move {
            match event {
                Event::Connected => info!("connected to NATS"),
                Event::Disconnected => warn!("lost NATS: trying to reach it again"),
                Event::SlowConsumer(_) => warn!("NATS drops messages: too many at once"),
                _ => {}
            }
        })
}
