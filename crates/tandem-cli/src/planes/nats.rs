//! How to reach NATS: the flags.

use std::path::PathBuf;
use std::time::Duration;

use tandem_runtime::Secret;
use tandem_runtime::nats::{NatsIdentity, NatsLogin, NatsOptions, NatsTls};

/// How to reach NATS.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct NatsArgs {
    /// Addresses of the NATS servers, separated by commas
    #[arg(
        long,
        value_name = "ADDRESSES",
        default_value = "nats://localhost:4222",
        env = "NATS_SERVER"
    )]
    nats_server: String,

    /// Name to log in to NATS with
    #[arg(
        long,
        value_name = "NAME",
        default_value = "user",
        env = "NATS_AUTH_USERNAME"
    )]
    nats_user: String,

    /// Password to log in to NATS with
    #[arg(
        long,
        value_name = "PASSWORD",
        default_value = "user",
        hide_default_value = true,
        hide_env_values = true,
        env = "NATS_AUTH_PASSWORD"
    )]
    nats_password: Secret,

    /// Token to log in to NATS with, instead of name and password
    #[arg(
        long,
        value_name = "TOKEN",
        hide_env_values = true,
        env = "NATS_AUTH_TOKEN"
    )]
    nats_token: Option<Secret>,

    /// Seed of an NKEY to log in to NATS with, instead of a token
    #[arg(
        long,
        value_name = "SEED",
        hide_env_values = true,
        env = "NATS_AUTH_NKEY"
    )]
    nats_nkey: Option<Secret>,

    /// File with a JWT and its seed to log in to NATS with, instead of all of those
    #[arg(long, value_name = "FILE", env = "NATS_AUTH_CREDENTIALS_FILE")]
    nats_credentials_file: Option<PathBuf>,

    /// File with the authorities that sign the certificates of NATS servers [default: those of
    /// the system]
    #[arg(long, value_name = "FILE", env = "TANDEM_NATS_CA")]
    nats_ca: Option<PathBuf>,

    /// File with the certificate to show to NATS
    #[arg(
        long,
        value_name = "FILE",
        requires = "nats_client_key",
        env = "TANDEM_NATS_CLIENT_CERT"
    )]
    nats_client_cert: Option<PathBuf>,

    /// File with the private key of that certificate
    #[arg(
        long,
        value_name = "FILE",
        requires = "nats_client_cert",
        env = "TANDEM_NATS_CLIENT_KEY"
    )]
    nats_client_key: Option<PathBuf>,
}

impl NatsArgs {
    /// What the flags say.
    pub(super) fn options(&self, connect_timeout: Duration) -> NatsOptions {
        NatsOptions {
            server: self.nats_server.clone(),
            login: self.login(),
            tls: NatsTls {
                authorities: self.nats_ca.clone(),
                identity: self.identity(),
            },
            connect_timeout,
        }
    }

    fn login(&self) -> NatsLogin {
        if let Some(file) = &self.nats_credentials_file {
            return NatsLogin::CredentialsFile(file.clone());
        }
        if let Some(seed) = &self.nats_nkey {
            return NatsLogin::NKey(seed.clone());
        }
        if let Some(token) = &self.nats_token {
            return NatsLogin::Token(token.clone());
        }
        NatsLogin::Password {
            user: self.nats_user.clone(),
            password: self.nats_password.clone(),
        }
    }

    fn identity(&self) -> Option<NatsIdentity> {
        Some(NatsIdentity {
            certificate: self.nats_client_cert.clone()?,
            key: self.nats_client_key.clone()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Args {
        #[command(flatten)]
        nats: NatsArgs,
    }

    #[test]
    fn the_strongest_login_counts() {
        let check = |args: &[&str], want: &str| {
            let args = Args::try_parse_from([&["tandem"], args].concat()).unwrap();
            let login = format!("{:?}", args.nats.login());
            assert_eq!(login, want);
        };
        let password = r#"Password { user: "user", password: [redacted] }"#;
        check(&[], password);
        check(&["--nats-password=s3cret"], password);
        check(&["--nats-token=t"], "Token([redacted])");
        check(&["--nats-token=t", "--nats-nkey=s"], "NKey([redacted])");
        let file = r#"CredentialsFile("f")"#;
        check(&["--nats-nkey=s", "--nats-credentials-file=f"], file);
    }
}
