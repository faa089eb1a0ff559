//! A cluster as a gate sees it that gives External metrics: an API that says who may ask, and its front proxy, which asks.

use std::sync::{Arc, Mutex, MutexGuard};

use rig::authority::{Authority, Identity};
use rig::http::{Answer, request};
use rig::mtls;
use rig::process::until;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::hold::Elastic;
use crate::kubernetes::{TOKEN, answers, is_from, status};
use crate::mesh::Mesh;

pub(super) const GROUP: &str = "external.metrics.k8s.io";
pub(super) const NAMESPACE: &str = "ml";
const AUTHENTICATION: &str =
    "GET /api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication HTTP/1.1";
const NAME: &str = "front-proxy-client";

/// The cluster.
pub(super) struct Cluster {
    said: Arc<Mutex<Said>>,
    flags: Vec<String>,
    _folder: TempDir,
}

/// What the API says.
struct Said {
    front_proxy: Arc<Authority>,
    forbids: bool,
}

impl Said {
    fn answer(&self, head: &[String]) -> (u16, Value) {
        assert_eq!(head[0], AUTHENTICATION);
        assert!(is_from(head, TOKEN), "{head:?}");
        if self.forbids {
            return (403, status("configmaps is forbidden"));
        }
        let (names, ca) = (json!([NAME]).to_string(), self.front_proxy.pem());
        let data = json!({ "requestheader-client-ca-file": ca, "requestheader-allowed-names": names });
        (200, json!({ "kind": "ConfigMap", "apiVersion": "v1", "data": data }))
    }
}

impl Cluster {
    pub(super) fn start() -> Self {
        let said = Said { front_proxy: Arc::new(Authority::new()), forbids: false };
        let said = Arc::new(Mutex::new(said));
        let kept = said.clone();
        let (port, folder) = answers(move |head, _| Some(kept.lock().unwrap().answer(head)));
        let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let flags = [
            ("--external-metrics-port", "0".to_owned()),
            ("--external-metrics-namespace", NAMESPACE.to_owned()),
            ("--external-metrics-api", format!("https://localhost:{port}")),
            ("--hold-wake-token-file", file("token")),
            ("--hold-wake-ca-file", file("ca.pem")),
            ("--scaler-look-secs", "0.1".to_owned()),
        ];
        let flags = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
        Self { said, flags, _folder: folder }
    }

    pub(super) fn flags(&self) -> Vec<&str> {
        self.flags.iter().map(String::as_str).collect()
    }

    /// A service at zero, whose gate this cluster asks.
    pub(super) fn elastic(&self, mesh: Mesh) -> Elastic {
        Elastic::asleep(mesh, &self.flags())
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap()
    }

    pub(super) fn forbids(&self, forbids: bool) {
        self.said().forbids = forbids;
    }

    /// The front proxy's CA is another.
    pub(super) fn renews(&self) {
        self.said().front_proxy = Arc::new(Authority::new());
    }

    pub(super) fn front_proxy(&self) -> Arc<Authority> {
        self.said().front_proxy.clone()
    }

    /// The front proxy is answered.
    pub(super) fn until_known(&self, port: u16) {
        until("the front proxy is known", || {
            let identity = self.front_proxy().sign_for(NAME);
            (ask_as(Some(identity), port, "/apis").ok()?.status == 200).then_some(())
        });
    }

    /// What the front proxy is answered.
    pub(super) fn ask(&self, port: u16, path: &str) -> Answer {
        self.send(port, &request("GET", path, &[], b""))
    }

    pub(super) fn send(&self, port: u16, request: &[u8]) -> Answer {
        mtls::send(&client(Some(self.front_proxy().sign_for(NAME))), port, request).unwrap()
    }
}

/// A client that takes any server for the right one, as an API server does that is told `insecureSkipTLSVerify`.
fn client(identity: Option<Identity>) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.unwrap().dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (certificate, key) = identity.pem();
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    })
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Where a metric is.
pub(super) fn metric_path(name: &str) -> String {
    format!("/apis/{GROUP}/v1beta1/namespaces/{NAMESPACE}/{name}")
}

/// What somebody is answered who shows that certificate, or none.
pub(super) fn ask_as(identity: Option<Identity>, port: u16, path: &str) -> std::io::Result<Answer> {
    mtls::send(&client(identity), port, &request("GET", path, &[], b""))
}
