//! Certificates for tests: an authority of the test's own signs them, and files for servers and settings for clients leave.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// How many authorities there are.
static FOUNDED: AtomicUsize = AtomicUsize::new(0);

/// Who signs.
pub struct Authority {
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
pub struct Identity {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

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
        // BoringSSL takes a certificate with its issuer's name for the issuer's own, and one of two issuers of a name for the other.
        let number = FOUNDED.fetch_add(1, Ordering::Relaxed);
        params.distinguished_name.push(DnType::CommonName, format!("authority {number}"));
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
        self.signed(&params)
    }

    /// A certificate whose subject has that name.
    pub fn sign_for(&self, subject: &str) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, subject);
        self.signed(&params)
    }

    fn signed(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { certificate: certificate.der().clone(), pem: certificate.pem(), key }
    }

    /// Its certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes `ca.pem`.
    ///
    /// # Panics
    /// It can't be written.
    pub fn write(&self, folder: &Path) {
        std::fs::write(folder.join("ca.pem"), &self.pem).expect("ca.pem");
    }

    /// A client that trusts it alone, and shows `identity`.
    ///
    /// # Panics
    /// rustls refuses it.
    pub fn client(&self, identity: Option<Identity>) -> Arc<ClientConfig> {
        Self::client_of(&[self], identity)
    }

    /// A client that trusts those, and shows `identity`.
    ///
    /// # Panics
    /// rustls refuses it.
    pub fn client_of(trusted: &[&Self], identity: Option<Identity>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for authority in trusted {
            roots.add(authority.certificate.clone()).expect("a root");
        }
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
        Arc::new(config)
    }
}

impl Identity {
    /// The certificate and its key, PEM.
    pub fn pem(&self) -> (String, String) {
        (self.pem.clone(), self.key.serialize_pem())
    }

    /// Writes `NAME.pem` and `NAME.key`.
    ///
    /// # Panics
    /// They can't be written.
    pub fn write(&self, folder: &Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.pem")), &self.pem).expect("the certificate");
        std::fs::write(folder.join(format!("{name}.key")), self.key.serialize_pem()).expect("the key");
    }
}
