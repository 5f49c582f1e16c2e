//! How etcd's members prove who they are, and this process to them.

use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::secret::Secret;

/// TLS to etcd's members.
#[derive(Debug, Clone, Default)]
pub struct EtcdTls {
    /// Authorities that sign the members' certificates, as PEM text; those of the system if none
    /// are given.
    pub authorities: Option<String>,
    /// What this process shows to the members.
    pub identity: Option<EtcdIdentity>,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct EtcdIdentity {
    /// The certificate chain, as PEM text.
    pub certificate: String,
    /// Its private key, as PEM text.
    pub key: Secret,
}

impl EtcdTls {
    /// Whether there is anything that only TLS needs.
    pub(super) const fn is_set(&self) -> bool {
        self.authorities.is_some() || self.identity.is_some()
    }

    pub(super) fn config(&self) -> ClientTlsConfig {
        let config = ClientTlsConfig::new();
        let config = match &self.authorities {
            Some(authorities) => config.ca_certificate(Certificate::from_pem(authorities)),
            None => config.with_native_roots(),
        };
        match &self.identity {
            Some(EtcdIdentity { certificate, key }) => {
                config.identity(Identity::from_pem(certificate, key.expose()))
            }
            None => config,
        }
    }
}
