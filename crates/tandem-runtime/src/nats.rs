//! The connection to NATS that messaging and the request plane share.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::messaging::MessagingError;

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
        password: String,
    },
    /// A token.
    Token(String),
}

/// Connects; a connection that is lost later is made again for as long as the process lives.
///
/// # Errors
/// No server could be reached in time.
pub async fn connect(options: &NatsOptions) -> Result<Client, MessagingError> {
    let deadline = Instant::now() + options.connect_timeout;
    let servers: Vec<&str> = options.server.split(',').map(str::trim).collect();
    let mut warned = false;
    loop {
        let error = match connect_options(&options.login).connect(&servers).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
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

fn connect_options(login: &NatsLogin) -> ConnectOptions {
    let options = ConnectOptions::new()
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
        });
    match login {
        NatsLogin::Password { user, password } => {
            options.user_and_password(user.clone(), password.clone())
        }
        NatsLogin::Token(token) => options.token(token.clone()),
    }
}
