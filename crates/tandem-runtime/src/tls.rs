//! TLS for servers, from PEM files, and for clients.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
pub use tokio_rustls::TlsAcceptor;
pub use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tracing::{info, warn};

use crate::lifecycle::Lifecycle;

/// Why a server cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error("failed to use {}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Certificate and key do not belong together, or are of an unknown kind.
    #[error("certificate and key cannot be used: {0}")]
    Pair(String),
}

/// Trusts servers whose certificates the public authorities have signed.
pub fn public_trust() -> Arc<ClientConfig> {
    trust(public_roots())
}

/// Trusts servers whose certificates the public authorities have signed, or those in the PEM file
/// `authorities`.
///
/// # Errors
/// The file is missing, or holds no certificates.
pub fn trust_with(authorities: &Path) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = public_roots();
    for certificate in certificates(authorities)? {
        let added = roots.add(certificate);
        added.map_err(|error| unusable(authorities, error.to_string()))?;
    }
    Ok(trust(roots))
}

fn public_roots() -> RootCertStore {
    RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned())
}

fn trust(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn unusable(path: &Path, reason: String) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        reason,
    }
}

/// The certificates in a PEM file; at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(path, error.to_string()))?;
    if chain.is_empty() {
        return Err(unusable(path, "it holds no certificate".to_owned()));
    }
    Ok(chain)
}

/// Speaks TLS 1.2 and 1.3 with the certificate chain in `cert` and the private key in `key`, and
/// offers HTTP/2 and HTTP/1.1. When the files change, new connections see the new certificate;
/// files that cannot be used change nothing.
///
/// # Errors
/// A file is missing or not PEM, or the key is not that of the certificate.
pub fn acceptor(cert: &Path, key: &Path, lifecycle: &Lifecycle) -> Result<TlsAcceptor, TlsError> {
    let files = Files {
        cert: cert.to_owned(),
        key: key.to_owned(),
    };
    let identity = Arc::new(Identity {
        current: RwLock::new(files.load()?),
    });
    let provider = Arc::new(ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&identity) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    lifecycle.spawn(watch(files, identity));
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Time between two looks at the files.
const INTERVAL: Duration = Duration::from_secs(2);

/// Where a certificate and its key are.
#[derive(Debug, Clone)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    fn load(&self) -> Result<Arc<CertifiedKey>, TlsError> {
        let chain = certificates(&self.cert)?;
        let secret = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| unusable(&self.key, error.to_string()))?;
        let pair = CertifiedKey::from_der(chain, secret, &ring::default_provider());
        let pair = pair.map_err(|error| TlsError::Pair(error.to_string()))?;
        Ok(Arc::new(pair))
    }

    fn texts(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        Some((
            std::fs::read(&self.cert).ok()?,
            std::fs::read(&self.key).ok()?,
        ))
    }
}

/// The certificate that clients see.
#[derive(Debug)]
struct Identity {
    current: RwLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read()))
    }
}

/// Takes over files that have changed. Their contents are compared, not their times: a mounted
/// secret is a link that moves.
async fn watch(files: Files, identity: Arc<Identity>) {
    let mut seen = files.texts();
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        let found = files.texts();
        if found == seen {
            continue;
        }
        let path = files.cert.display();
        match files.load() {
            Ok(pair) => {
                *identity.current.write() = pair;
                info!(certificate = %path, "took over a new certificate");
            }
            // Two files cannot be written at the same time: the next look may find a pair.
            Err(error) => warn!(certificate = %path, %error, "kept the old certificate"),
        }
        seen = found;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &Path, name: &str) -> Files {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let files = Files {
            cert: directory.join("tls.crt"),
            key: directory.join("tls.key"),
        };
        std::fs::write(&files.cert, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_certificate_is_taken_over_and_a_broken_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let files = write(directory.path(), "first");
        let identity = Arc::new(Identity {
            current: RwLock::new(files.load().unwrap()),
        });
        let seen = || identity.current.read().cert.clone();
        let lifecycle = Lifecycle::new();
        lifecycle.spawn(watch(files.clone(), Arc::clone(&identity)));
        tokio::time::sleep(INTERVAL / 2).await;
        let first = seen();
        std::fs::write(&files.key, "not a key").unwrap();
        tokio::time::sleep(INTERVAL * 2).await;
        assert_eq!(seen(), first);
        write(directory.path(), "second");
        tokio::time::sleep(INTERVAL * 2).await;
        assert_ne!(seen(), first);
    }

    #[test]
    fn authorities_are_added_to_the_public_ones() {
        let directory = tempfile::tempdir().unwrap();
        let files = write(directory.path(), "authority");
        assert!(trust_with(&files.cert).is_ok());
        assert!(matches!(trust_with(&files.key), Err(TlsError::File { .. })));
        assert!(matches!(
            trust_with(&directory.path().join("none")),
            Err(TlsError::File { .. })
        ));
    }
}
