//! Whose certificates are believed: the system's CAs or those of a file -> what encrypts connections to servers that have one of
//! theirs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// No CA to believe; who names the file says by which flag.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootsError {
    #[error("can't read {path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("is missing, and this system has no CAs that can be read")]
    None,
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// What encrypts connections, by the protocol's name that both sides agree on (ALPN), if they do. Without a file the system's CAs
/// are believed.
///
/// # Errors
/// [`RootsError`].
pub(crate) fn connector(ca_file: Option<&Path>, protocol: Option<&[u8]>) -> Result<TlsConnector, RootsError> {
    let mut config = config(ca_file)?;
    config.alpn_protocols = protocol.into_iter().map(<[u8]>::to_vec).collect();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The same for who makes connections itself.
///
/// # Errors
/// [`RootsError`].
pub(crate) fn config(ca_file: Option<&Path>) -> Result<ClientConfig, RootsError> {
    let roots = if let Some(path) = ca_file {
        let mut roots = RootCertStore::empty();
        let unreadable = |reason: String| RootsError::File { path: path.to_owned(), reason };
        let certificates =
            CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(unreadable("it holds no certificate in PEM form".to_owned()));
        }
        roots
    } else {
        let roots = of_system();
        if roots.is_empty() {
            return Err(RootsError::None);
        }
        roots
    };
    Ok(believing(roots)?)
}

/// The system's CAs; none where it has none that can be read.
pub(crate) fn of_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// How connections are encrypted to servers with a certificate of one of `roots`.
///
/// # Errors
/// rustls has no protocol version that is safe.
pub(crate) fn believing(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
