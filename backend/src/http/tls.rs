//! TLS on the ports that take requests: certificate and key from files, clients' certificates checked where a CA is given.
//! A connection -> a connection that is encrypted. Files that change are read again; connections that are open stay. A port of which
//! somebody else says whose clients it knows (`Tls::asking`) has clients with and without a certificate, and its handlers tell them apart.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::gauge;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientCertVerifierBuilder, WebPkiClientVerifier};
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
    #[error("can't make a certificate: {0}")]
    Own(rcgen::Error),
}

impl From<TlsError> for SettingsError {
    fn from(error: TlsError) -> Self {
        Self::Wrong { flag: "TLS", reason: error.to_string() }
    }
}

/// What the server shows.
enum Shown {
    Files {
        certificate: PathBuf,
        key: PathBuf,
    },
    /// Signed by itself, for who does not look at it.
    Own {
        certificate: CertificateDer<'static>,
        key: PrivatePkcs8KeyDer<'static>,
    },
}

/// What clients show.
#[derive(Clone)]
enum Clients {
    /// Nothing is asked.
    Unasked,
    /// A certificate of a CA of that file.
    Certified(PathBuf),
    /// A certificate of one of these CAs, or none.
    Asked(Arc<RootCertStore>),
}

/// What accepts encrypted connections.
pub(crate) struct Tls {
    shown: Shown,
    clients: Mutex<Clients>,
    watched: Watched,
    config: ArcSwap<ServerConfig>,
}

impl Tls {
    /// Reads the files; `None` without them.
    ///
    /// # Errors
    /// When a file can't be read or used.
    pub(crate) fn of(settings: &TlsSettings) -> Result<Option<Arc<Self>>, TlsError> {
        let Some(shown) = Shown::files(settings) else { return Ok(None) };
        let clients = settings.client_ca.clone().map_or(Clients::Unasked, Clients::Certified);
        Self::new(shown, clients).map(Some)
    }

    /// With the files' certificate, or where there are none one that is made now; whose certificates clients may have is said later
    /// ([`Self::believe`]).
    ///
    /// # Errors
    /// When a file can't be read or used.
    pub(crate) fn asking(settings: &TlsSettings) -> Result<Arc<Self>, TlsError> {
        let shown = Shown::files(settings).map_or_else(Shown::own, Ok)?;
        Self::new(shown, Clients::Unasked)
    }

    fn new(shown: Shown, clients: Clients) -> Result<Arc<Self>, TlsError> {
        let watched = Watched::new(files(&shown, &clients));
        let config = ArcSwap::from_pointee(config(&shown, &clients)?);
        Ok(Arc::new(Self { shown, clients: Mutex::new(clients), watched, config }))
    }

    /// From now on clients with a certificate of one of these CAs are known; those without one are let in too.
    ///
    /// # Errors
    /// When they, or the files, can't be used: what there was stays.
    pub(crate) fn believe(&self, roots: RootCertStore) -> Result<(), TlsError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = Clients::Asked(Arc::new(roots));
        self.config.store(Arc::new(config(&self.shown, &asked)?));
        *clients = asked;
        Ok(())
    }

    fn read_again(&self) -> Result<(), TlsError> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        self.config.store(Arc::new(config(&self.shown, &clients)?));
        Ok(())
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
        self.shown.publish_end();
        while stop.run_until_cancelled(watched.changed()).await.is_some() {
            match self.read_again() {
                Ok(()) => {
                    self.shown.publish_end();
                    tracing::info!("TLS: the files changed and were read again");
                }
                Err(error) => tracing::error!("TLS: the files changed and can't be used: {error}"),
            }
        }
    }
}

impl Shown {
    fn files(settings: &TlsSettings) -> Option<Self> {
        let (certificate, key) = settings.certificate.clone().zip(settings.key.clone())?;
        Some(Self::Files { certificate, key })
    }

    fn own() -> Result<Self, TlsError> {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(TlsError::Own)?;
        let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        Ok(Self::Own { certificate: own.cert.der().clone(), key })
    }

    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let (certificate, key) = match self {
            Self::Own { certificate, key } => {
                return Ok((vec![certificate.clone()], key.clone_key().into()));
            }
            Self::Files { certificate, key } => (certificate, key),
        };
        let chain = certificates("--tls-cert-file", certificate)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::File {
            flag: "--tls-key-file",
            path: key.clone(),
            reason: error.to_string(),
        })?;
        Ok((chain, key))
    }

    /// Tells `/metrics` when the files' certificate ends.
    fn publish_end(&self) {
        let Self::Files { certificate, .. } = self else { return };
        let chain = certificates("--tls-cert-file", certificate).unwrap_or_default();
        let Some(Ok((_, own))) = chain.first().map(|own| X509Certificate::from_der(own)) else { return };
        gauge!("forebay_certificate_end_seconds").set(own.validity().not_after.timestamp() as f64);
    }
}

fn config(shown: &Shown, clients: &Clients) -> Result<ServerConfig, TlsError> {
    let (chain, key) = shown.read()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Pair)?;
    let verifier = |roots: Arc<RootCertStore>| WebPkiClientVerifier::builder_with_provider(roots, provider);
    let verifier = match clients {
        Clients::Unasked => None,
        Clients::Certified(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("--tls-client-ca-file", path)? {
                roots.add(certificate).map_err(|error| TlsError::ClientCa(error.to_string()))?;
            }
            Some(verifier(roots.into()))
        }
        Clients::Asked(roots) => Some(verifier(roots.clone()).allow_unauthenticated()),
    };
    let verifier = verifier.map(ClientCertVerifierBuilder::build).transpose();
    let builder = match verifier.map_err(|error| TlsError::ClientCa(error.to_string()))? {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Those that are read.
fn files<'a>(shown: &'a Shown, clients: &'a Clients) -> impl Iterator<Item = &'a PathBuf> {
    let shown = match shown {
        Shown::Files { certificate, key } => [Some(certificate), Some(key)],
        Shown::Own { .. } => [None, None],
    };
    let clients = match clients {
        Clients::Certified(path) => Some(path),
        Clients::Unasked | Clients::Asked(_) => None,
    };
    shown.into_iter().flatten().chain(clients)
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
