//! TLS on the ports that take requests: certificate and key from files, clients' certificates checked where a CA is given.
//! A connection -> a connection that is encrypted. Files that change are read again; connections that are open stay.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::gauge;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Patient;
use crate::settings::{SettingsError, TlsSettings};
use crate::trust::Watched;

/// A handshake is a few packets; who takes longer isn't a client.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Files that can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("{flag}: can't read {path}: {reason}")]
    File { flag: &'static str, path: PathBuf, reason: String },
    #[error("{flag}: {path} holds no certificate in PEM form")]
    Empty { flag: &'static str, path: PathBuf },
    #[error("--tls-cert-file and --tls-key-file don't belong together: {0}")]
    Pair(rustls::Error),
    #[error("--tls-client-ca-file: {0}")]
    ClientCa(String),
}

impl From<TlsError> for SettingsError {
    fn from(error: TlsError) -> Self {
        Self::Wrong { flag: "TLS", reason: error.to_string() }
    }
}

/// The files.
#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// What accepts encrypted connections.
pub(crate) struct Tls {
    files: Files,
    watched: Watched,
    config: ArcSwap<ServerConfig>,
}

impl Tls {
    /// Reads the files; `None` without them.
    ///
    /// # Errors
    /// When a file can't be read or used.
    pub(crate) fn of(settings: &TlsSettings) -> Result<Option<Arc<Self>>, TlsError> {
        let (Some(certificate), Some(key)) = (&settings.certificate, &settings.key) else {
            return Ok(None);
        };
        let client_ca = settings.client_ca.clone();
        let files = Files { certificate: certificate.clone(), key: key.clone(), client_ca };
        let watched = Watched::new(files.all());
        let config = ArcSwap::from_pointee(files.read()?);
        Ok(Some(Arc::new(Self { files, watched, config })))
    }

    /// Shakes hands, in time.
    ///
    /// # Errors
    /// When the client doesn't speak TLS, is too slow, or has no certificate that is wanted.
    pub(super) async fn accept(&self, stream: Patient) -> io::Result<TlsStream<Patient>> {
        let acceptor = TlsAcceptor::from(self.config.load_full());
        tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no handshake within {HANDSHAKE:?}")))
        })
    }

    /// Follows the files until `stop`. What can't be used leaves what there was.
    pub(crate) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut watched = self.watched.clone();
        self.files.publish_end();
        while stop.run_until_cancelled(watched.changed()).await.is_some() {
            match self.files.read() {
                Ok(config) => {
                    self.config.store(Arc::new(config));
                    self.files.publish_end();
                    tracing::info!("TLS: the files changed and were read again");
                }
                Err(error) => tracing::error!("TLS: the files changed and can't be used: {error}"),
            }
        }
    }
}

impl Files {
    fn read(&self) -> Result<ServerConfig, TlsError> {
        let chain = certificates("--tls-cert-file", &self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| TlsError::File {
            flag: "--tls-key-file",
            path: self.key.clone(),
            reason: error.to_string(),
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Pair)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates("--tls-client-ca-file", path)? {
                    roots.add(certificate).map_err(|error| TlsError::ClientCa(error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
                builder.with_client_cert_verifier(
                    verifier.map_err(|error| TlsError::ClientCa(error.to_string()))?,
                )
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Tells `/metrics` when the certificate ends.
    fn publish_end(&self) {
        let chain = certificates("--tls-cert-file", &self.certificate).unwrap_or_default();
        let Some(Ok((_, own))) = chain.first().map(|own| X509Certificate::from_der(own)) else { return };
        gauge!("forebay_certificate_end_seconds").set(own.validity().not_after.timestamp() as f64);
    }

    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten()
    }
}

fn certificates(flag: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = |error: rustls::pki_types::pem::Error| TlsError::File {
        flag,
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let all: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(file)?.collect::<Result<_, _>>().map_err(file)?;
    if all.is_empty() { Err(TlsError::Empty { flag, path: path.to_owned() }) } else { Ok(all) }
}
