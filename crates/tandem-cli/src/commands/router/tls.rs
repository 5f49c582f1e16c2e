//! The certificate that Envoy sees.

use std::path::Path;

use anyhow::{Context, Result};
use tandem_gateway::TlsIdentity;
use tracing::warn;

/// `tls.crt` and `tls.key` of `directory`, which are the names in a Kubernetes TLS secret; without
/// a directory a certificate that only encrypts.
pub(super) fn identity(directory: Option<&Path>) -> Result<TlsIdentity> {
    let Some(directory) = directory else {
        return self_signed();
    };
    let read = |name: &str| {
        let path = directory.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
    };
    Ok(TlsIdentity {
        certificate: read("tls.crt")?,
        key: read("tls.key")?,
    })
}

fn self_signed() -> Result<TlsIdentity> {
    let names = ["localhost", "semantic-router", "127.0.0.1", "::1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names)
        .context("failed to make a self-signed certificate")?;
    warn!("the certificate is self-signed: it encrypts, but proves nothing; use --cert-path");
    Ok(TlsIdentity {
        certificate: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_self_signed_certificate_is_made_and_a_directory_is_read() {
        let made = identity(None).unwrap();
        assert!(made.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(made.key.contains("PRIVATE KEY"));
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("tls.crt"), "c").unwrap();
        let error = identity(Some(directory.path())).unwrap_err();
        assert!(error.to_string().contains("tls.key"), "{error}");
        std::fs::write(directory.path().join("tls.key"), "k").unwrap();
        let read = identity(Some(directory.path())).unwrap();
        assert_eq!((read.certificate.as_str(), read.key.as_str()), ("c", "k"));
    }
}
