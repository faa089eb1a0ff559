//! Mutual TLS: an authority of the test's own signs certificates, for the files of servers and for clients that send by them.

use crate::http::{Answer, Connection, connect};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::path::Path;
use std::sync::Arc;

/// Who signs.
pub struct Authority {
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
pub struct Identity {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

/// A client that trusts the authority, and shows its certificate if it has one.
pub struct Client(Arc<ClientConfig>);

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new one, which nobody knows.
    ///
    /// # Panics
    /// No key can be made.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        // BoringSSL takes a certificate with its issuer's name for the issuer's own.
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Self { certificate: der, pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for `localhost`, with that URI as another name.
    ///
    /// # Panics
    /// It is no URI.
    pub fn sign(&self, uri: Option<&str>) -> Identity {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.subject_alt_names.extend(uri.map(|uri| SanType::URI(uri.try_into().expect("a URI"))));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { certificate: certificate.der().clone(), pem: certificate.pem(), key }
    }

    /// Writes `ca.pem`.
    ///
    /// # Panics
    /// It can't be written.
    pub fn write(&self, folder: &Path) {
        std::fs::write(folder.join("ca.pem"), &self.pem).expect("ca.pem");
    }

    /// A client that shows `identity`.
    ///
    /// # Panics
    /// rustls refuses it.
    pub fn client(&self, identity: Option<Identity>) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("versions").with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key, .. }) => {
                let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
                builder.with_client_auth_cert(vec![certificate], key).expect("a certificate and its key")
            }
        };
        Client(Arc::new(config))
    }
}

impl Identity {
    /// Writes `NAME.pem` and `NAME.key`.
    ///
    /// # Panics
    /// They can't be written.
    pub fn write(&self, folder: &Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.pem")), &self.pem).expect("the certificate");
        std::fs::write(folder.join(format!("{name}.key")), self.key.serialize_pem()).expect("the key");
    }
}

impl Client {
    /// Sends one request on a connection of its own.
    ///
    /// # Errors
    /// The other side refuses the certificate or the connection, or no whole answer comes.
    ///
    /// # Panics
    /// rustls refuses the settings.
    pub fn send(&self, port: u16, request: &[u8]) -> std::io::Result<Answer> {
        let name = "localhost".try_into().expect("a name");
        let tls = ClientConnection::new(self.0.clone(), name).expect("a client");
        let mut connection = Connection::over(StreamOwned::new(tls, connect(port)?));
        connection.write(request)?;
        connection.read()
    }
}
