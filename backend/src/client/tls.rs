//! Whom TLS believes: the system's CAs or those of a file -> what makes a connection's encryption.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// No CA to believe.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaError {
    #[error("--ca-file: can't read {path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("this system has no CAs that can be read: name a file by --ca-file")]
    NoCa,
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// What encrypts connections, by the protocol's name that both sides agree on (ALPN).
///
/// # Errors
/// [`CaError`].
pub(super) fn connector(ca_file: Option<&Path>, protocol: &[u8]) -> Result<TlsConnector, CaError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        let unreadable = |reason: String| CaError::File { path: path.to_owned(), reason };
        let certificates =
            CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(unreadable("it holds no certificate in PEM form".to_owned()));
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(CaError::NoCa);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_owned()];
    Ok(TlsConnector::from(Arc::new(config)))
}
