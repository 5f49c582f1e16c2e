//! How to reach etcd: the flags, and the connection.

use std::time::Duration;

use anyhow::{Context, Result};
use tandem_runtime::discovery::{
    DiscoveryError, EtcdDiscovery, EtcdIdentity, EtcdLogin, EtcdOptions, EtcdTls,
};
use tandem_runtime::{Lifecycle, Secret};

/// How to reach etcd.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct EtcdArgs {
    /// Addresses of etcd's members, separated by commas
    #[arg(
        long,
        value_name = "ADDRESSES",
        value_delimiter = ',',
        default_value = "http://localhost:2379",
        env = "ETCD_ENDPOINTS"
    )]
    etcd_endpoints: Vec<String>,

    /// Seconds that a killed process stays registered
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
        env = "ETCD_LEASE_TTL", value_parser = clap::value_parser!(u64).range(2..))]
    etcd_lease_ttl: u64,

    /// Name to log in to etcd with
    #[arg(
        long,
        value_name = "NAME",
        requires = "etcd_password",
        env = "ETCD_AUTH_USERNAME"
    )]
    etcd_user: Option<String>,

    /// Password to log in to etcd with
    #[arg(
        long,
        value_name = "PASSWORD",
        hide_env_values = true,
        env = "ETCD_AUTH_PASSWORD"
    )]
    etcd_password: Option<Secret>,

    /// Authorities that sign the certificates of etcd's members, as PEM text or the name of a file
    /// [default: those of the system]
    #[arg(long, value_name = "PEM", hide_env_values = true, env = "ETCD_AUTH_CA")]
    etcd_ca: Option<String>,

    /// Certificate to show to etcd, as PEM text or the name of a file
    #[arg(
        long,
        value_name = "PEM",
        requires = "etcd_client_key",
        hide_env_values = true,
        env = "ETCD_AUTH_CLIENT_CERT"
    )]
    etcd_client_cert: Option<String>,

    /// Private key of that certificate, as PEM text or the name of a file
    #[arg(
        long,
        value_name = "PEM",
        requires = "etcd_client_cert",
        hide_env_values = true,
        env = "ETCD_AUTH_CLIENT_KEY"
    )]
    etcd_client_key: Option<Secret>,
}

impl EtcdArgs {
    /// How long a process stays registered that does not say that it lives.
    pub(super) const fn lease_ttl(&self) -> Duration {
        Duration::from_secs(self.etcd_lease_ttl)
    }

    /// Takes a lease and keeps it until `lifecycle` ends.
    pub(super) async fn connect(
        &self,
        connect_timeout: Duration,
        lifecycle: &Lifecycle,
    ) -> Result<EtcdDiscovery> {
        let options = EtcdOptions {
            endpoints: self.etcd_endpoints.clone(),
            login: self.login(),
            tls: self.tls()?,
            lease_ttl: self.lease_ttl(),
            connect_timeout,
        };
        let endpoints = self.etcd_endpoints.join(",");
        let connected = EtcdDiscovery::connect(options, lifecycle).await;
        connected.map_err(|error| {
            let context = match error {
                DiscoveryError::Denied(_) => {
                    format!("failed to log in to etcd at {endpoints}; see --etcd-user")
                }
                _ => format!("failed to reach etcd at {endpoints}; see --etcd-endpoints"),
            };
            anyhow::Error::new(error).context(context)
        })
    }

    fn login(&self) -> Option<EtcdLogin> {
        Some(EtcdLogin {
            user: self.etcd_user.clone()?,
            password: self.etcd_password.clone()?,
        })
    }

    fn tls(&self) -> Result<EtcdTls> {
        let authorities = self.etcd_ca.as_deref().map(pem);
        let identity = match (&self.etcd_client_cert, &self.etcd_client_key) {
            (Some(certificate), Some(key)) => Some(EtcdIdentity {
                certificate: pem(certificate).context("see --etcd-client-cert")?,
                key: Secret::new(pem(key.expose()).context("see --etcd-client-key")?),
            }),
            _ => None,
        };
        Ok(EtcdTls {
            authorities: authorities.transpose().context("see --etcd-ca")?,
            identity,
        })
    }
}

/// The PEM text that `value` is or names.
fn pem(value: &str) -> Result<String> {
    if value.contains("-----BEGIN ") {
        return Ok(value.to_owned());
    }
    std::fs::read_to_string(value).with_context(|| format!("failed to read {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Args {
        #[command(flatten)]
        etcd: EtcdArgs,
    }

    fn parse(args: &[&str]) -> Result<EtcdArgs, clap::Error> {
        Args::try_parse_from([&["tandem"], args].concat()).map(|args| args.etcd)
    }

    #[test]
    fn a_name_needs_a_password_and_a_certificate_its_key() {
        let login = parse(&["--etcd-user=a", "--etcd-password=s3cret"]).unwrap();
        assert_eq!(login.login().unwrap().user, "a");
        assert!(!format!("{login:?}").contains("s3cret"));
        for args in [
            ["--etcd-user=a"],
            ["--etcd-client-cert=x"],
            ["--etcd-client-key=x"],
        ] {
            assert!(parse(&args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn certificates_are_texts_or_files() {
        let text = "-----BEGIN CERTIFICATE-----\n";
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        assert_eq!(pem(text).unwrap(), text);
        assert_eq!(pem(file).unwrap(), text);
        let missing = parse(&["--etcd-ca=/nowhere"]).unwrap().tls().unwrap_err();
        assert_eq!(missing.to_string(), "see --etcd-ca");
    }
}
