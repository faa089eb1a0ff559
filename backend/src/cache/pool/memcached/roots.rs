//! `--memcached-ca-file` -> what encrypts connections to servers whose certificates come from those in it.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::settings::SettingsError;

const FLAG: &str = "--memcached-ca-file";

/// What connects to servers that have such a certificate.
pub(super) fn connector(path: &Path) -> Result<TlsConnector, SettingsError> {
    let wrong = |reason: String| {
        let reason = format!("{}: {reason}", path.display());
        SettingsError::Wrong { flag: FLAG, reason }
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("it holds no certificate in PEM form".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()).into())
}
