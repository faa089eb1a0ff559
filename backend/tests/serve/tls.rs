//! The ports speak TLS when they have a certificate, want one of clients when they have a CA, and follow the files.

use std::path::Path;
use std::sync::Arc;

use rig::authority::Authority;
use rig::process::until;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use crate::process::{Forebay, command, refused, serve_command, test_repository};

/// The first line of the answer to a request for readiness, and the certificate that the server showed.
async fn ask(client: &Arc<ClientConfig>, port: u16) -> std::io::Result<(String, CertificateDer<'static>)> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let mut stream =
        TlsConnector::from(client.clone()).connect("localhost".try_into().unwrap(), stream).await?;
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
    stream
        .write_all(b"GET /v2/health/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok((answer.lines().next().unwrap_or_default().to_owned(), shown))
}

fn paths(folder: &Path) -> [String; 3] {
    ["server.pem", "server.key", "ca.pem"].map(|file| folder.join(file).to_str().unwrap().to_owned())
}

#[tokio::test]
async fn both_ports_speak_tls_and_a_new_certificate_is_taken_up_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, [cert, key, _]) = (Authority::new(), paths(folder.path()));
    let first = ca.sign(None);
    first.write(folder.path(), "server");
    let forebay = Forebay::serve(&["--instances", "1", "--tls-cert-file", &cert, "--tls-key-file", &key]);
    let client = ca.client(None);
    for port in [forebay.http_port, forebay.grpc_port] {
        let (_, shown) = ask(&client, port).await.unwrap();
        assert_eq!(shown, first.certificate);
    }
    assert_eq!(ask(&client, forebay.http_port).await.unwrap().0, "HTTP/1.1 200 OK");
    assert!(ask(&Authority::new().client(None), forebay.http_port).await.is_err(), "another CA");
    // Half of a pair is no reason to stop.
    std::fs::write(&key, "no key").unwrap();
    let second = ca.sign(None);
    second.write(folder.path(), "server");
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
    let (ca, [cert, key, trusted]) = (Authority::new(), paths(folder.path()));
    ca.sign(None).write(folder.path(), "server");
    ca.write(folder.path());
    let another = tempfile::tempdir().unwrap();
    Authority::new().write(another.path());
    let [.., other] = paths(another.path());
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
    let (ca, [cert, key, client_ca]) = (Authority::new(), paths(folder.path()));
    ca.sign(None).write(folder.path(), "server");
    ca.write(folder.path());
    let mutual = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-client-ca-file", &client_ca];
    let forebay = Forebay::serve(&[&["--instances", "1"], &mutual[..]].concat());
    assert_eq!(ask(&ca.client(Some(ca.sign(None))), forebay.http_port).await.unwrap().0, "HTTP/1.1 200 OK");
    let stranger = ca.client(Some(Authority::new().sign(None)));
    for refused in [&ca.client(None), &stranger] {
        assert!(ask(refused, forebay.http_port).await.is_err());
    }
}

#[tokio::test]
async fn a_refusal_arrives_though_the_client_sends_all_of_its_body_first() {
    const BODY_BYTES: usize = 3 << 20;
    let folder = tempfile::tempdir().unwrap();
    let (ca, [cert, key, _]) = (Authority::new(), paths(folder.path()));
    ca.sign(None).write(folder.path(), "server");
    let forebay = Forebay::serve(&["--instances", "1", "--tls-cert-file", &cert, "--tls-key-file", &key]);
    for _ in 0..10 {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", forebay.http_port)).await.unwrap();
        let mut stream = TlsConnector::from(ca.client(None))
            .connect("localhost".try_into().unwrap(), stream)
            .await
            .unwrap();
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
    let (ca, [cert, key, none]) = (Authority::new(), paths(folder.path()));
    ca.sign(None).write(folder.path(), "server");
    ca.sign(None).write(folder.path(), "other");
    std::fs::rename(folder.path().join("other.pem"), &cert).unwrap();
    for (arguments, expected) in [
        (&["--tls-cert-file", &cert, "--tls-key-file", &key][..], "don't belong together"),
        (&["--tls-cert-file", &none, "--tls-key-file", &key], "ca.pem"),
        (&["--tls-cert-file", &cert], "--tls-key-file"),
        (&["--tls-client-ca-file", &cert], "--tls-cert-file"),
    ] {
        let (code, line) = refused(&mut serve_command(&test_repository(), arguments));
        assert_eq!(code, Some(2), "{line}");
        assert!(line.contains(expected) && line.trim_end().lines().count() == 1, "{line}");
    }
}
