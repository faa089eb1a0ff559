//! The ports speak TLS when they have a certificate, want one of clients when they have a CA, and follow the files.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rig::process::until;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use crate::process::{Forebay, command, serve_command, test_repository};

/// A CA of its own, and what it signs.
pub(crate) struct Ca {
    certificate: CertificateDer<'static>,
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

pub(crate) struct Signed {
    certificate: CertificateDer<'static>,
    pub(crate) pem: String,
    pub(crate) key: KeyPair,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn sign(&self) -> Signed {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed { certificate: certificate.der().clone(), pem: certificate.pem(), key }
    }

    /// A client that trusts this CA, and shows a certificate if it has one.
    fn client(&self, own: Option<Signed>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(Signed { certificate, key, .. }) => {
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

fn write(folder: &Path, signed: &Signed) {
    std::fs::write(folder.join("key.pem"), signed.key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), &signed.pem).unwrap();
}

/// The first line of the answer to a request for readiness, and the certificate that the server showed.
async fn ask(client: &TlsConnector, port: u16) -> std::io::Result<(String, CertificateDer<'static>)> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let mut stream = client.connect("localhost".try_into().unwrap(), stream).await?;
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
    stream
        .write_all(b"GET /v2/health/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok((answer.lines().next().unwrap_or_default().to_owned(), shown))
}

fn paths(folder: &Path) -> [String; 3] {
    ["cert.pem", "key.pem", "ca.pem"].map(|file| folder.join(file).to_str().unwrap().to_owned())
}

#[tokio::test]
async fn both_ports_speak_tls_and_a_new_certificate_is_taken_up_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, [cert, key, _]) = (Ca::new(), paths(folder.path()));
    let first = ca.sign();
    write(folder.path(), &first);
    let forebay = Forebay::serve(&["--instances", "1", "--tls-cert-file", &cert, "--tls-key-file", &key]);
    let client = ca.client(None);
    for port in [forebay.http_port, forebay.grpc_port] {
        let (_, shown) = ask(&client, port).await.unwrap();
        assert_eq!(shown, first.certificate);
    }
    assert_eq!(ask(&client, forebay.http_port).await.unwrap().0, "HTTP/1.1 200 OK");
    assert!(ask(&Ca::new().client(None), forebay.http_port).await.is_err(), "another CA");
    // Half of a pair is no reason to stop.
    std::fs::write(folder.path().join("key.pem"), "no key").unwrap();
    let second = ca.sign();
    write(folder.path(), &second);
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        until("the new certificate is shown", || {
            let shown = runtime.block_on(ask(&client, forebay.http_port)).ok()?.1;
            (shown == second.certificate).then_some(())
        });
    })
    .await
    .unwrap();
}

#[test]
fn the_client_commands_believe_the_ca_of_their_file_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, [cert, key, trusted]) = (Ca::new(), paths(folder.path()));
    write(folder.path(), &ca.sign());
    std::fs::write(&trusted, &ca.pem).unwrap();
    let other = folder.path().join("other.pem").to_str().unwrap().to_owned();
    std::fs::write(&other, Ca::new().pem).unwrap();
    let forebay = Forebay::serve(&["--instances", "1", "--tls-cert-file", &cert, "--tls-key-file", &key]);
    let http = format!("--url=https://localhost:{}", forebay.http_port);
    let grpc = format!("--grpc-url=grpcs://localhost:{}", forebay.grpc_port);
    for encoding in ["binary", "grpc"] {
        let asked = ["infer", "identity_fp32", "--encoding", encoding, &http, &grpc, "--ca-file"];
        let output = |ca_file| command(&[&asked[..], &[ca_file]].concat()).output().unwrap();
        assert!(output(&trusted).status.success(), "{}", String::from_utf8_lossy(&output(&trusted).stderr));
        let refused = String::from_utf8(output(&other).stderr).unwrap();
        assert!(refused.contains("can't connect") && refused.contains("certificate"), "{refused}");
        let unread = String::from_utf8(output(&key).stderr).unwrap();
        assert!(unread.contains("holds no certificate"), "{unread}");
    }
}

#[tokio::test]
async fn with_a_ca_for_clients_only_its_own_get_in() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, [cert, key, client_ca]) = (Ca::new(), paths(folder.path()));
    write(folder.path(), &ca.sign());
    std::fs::write(folder.path().join("ca.pem"), &ca.pem).unwrap();
    let mutual = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-client-ca-file", &client_ca];
    let forebay = Forebay::serve(&[&["--instances", "1"], &mutual[..]].concat());
    assert_eq!(ask(&ca.client(Some(ca.sign())), forebay.http_port).await.unwrap().0, "HTTP/1.1 200 OK");
    let stranger = ca.client(Some(Ca::new().sign()));
    for refused in [&ca.client(None), &stranger] {
        assert!(ask(refused, forebay.http_port).await.is_err());
    }
}

#[tokio::test]
async fn a_refusal_arrives_though_the_client_sends_all_of_its_body_first() {
    const BODY_BYTES: usize = 3 << 20;
    let folder = tempfile::tempdir().unwrap();
    let (ca, [cert, key, _]) = (Ca::new(), paths(folder.path()));
    write(folder.path(), &ca.sign());
    let forebay = Forebay::serve(&["--instances", "1", "--tls-cert-file", &cert, "--tls-key-file", &key]);
    for _ in 0..10 {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", forebay.http_port)).await.unwrap();
        let mut stream = ca.client(None).connect("localhost".try_into().unwrap(), stream).await.unwrap();
        let head = format!("POST /v2/nothing HTTP/1.1\r\nhost: x\r\ncontent-length: {BODY_BYTES}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b' '; BODY_BYTES]).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("connection: close"), "{answer}");
    }
}

#[test]
fn files_that_cannot_be_used_end_the_start_with_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, [cert, key, none]) = (Ca::new(), paths(folder.path()));
    write(folder.path(), &ca.sign());
    std::fs::write(folder.path().join("cert.pem"), ca.sign().pem).unwrap();
    for (arguments, expected) in [
        (&["--tls-cert-file", &cert, "--tls-key-file", &key][..], "don't belong together"),
        (&["--tls-cert-file", &none, "--tls-key-file", &key], "ca.pem"),
        (&["--tls-cert-file", &cert], "--tls-key-file"),
        (&["--tls-client-ca-file", &cert], "--tls-cert-file"),
    ] {
        let output = serve_command(&test_repository(), arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(expected) && stderr.trim_end().lines().count() == 1, "{stderr}");
    }
}
