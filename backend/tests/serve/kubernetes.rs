//! Kubernetes' API by TLS, as far as a test answers for it: what is asked enters, status and object leave.

use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rig::authority::{Authority, Identity};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const TOKEN: &str = "a-token";

/// Its port at `localhost`, and a folder with `token` and its CA, `ca.pem`. `None` for an answer: it hangs.
pub(crate) fn answers(
    answer: impl Fn(&[String], &[u8]) -> Option<(u16, Value)> + Send + Sync + 'static,
) -> (u16, TempDir) {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    authority.write(folder.path());
    std::fs::write(folder.path().join("token"), format!("{TOKEN}\n")).unwrap();
    let (config, answer) = (shows(&authority.sign(None)), Arc::new(answer));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, answer) = (config.clone(), answer.clone());
            std::thread::spawn(move || serve(stream, config, &*answer));
        }
    });
    (port, folder)
}

/// Has it shown that token?
pub(crate) fn is_from(head: &[String], token: &str) -> bool {
    head.contains(&format!("authorization: Bearer {token}"))
}

pub(crate) fn status(message: &str) -> Value {
    json!({ "kind": "Status", "message": message })
}

fn shows(identity: &Identity) -> Arc<ServerConfig> {
    let (certificate, key) = identity.pem();
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap())
}

/// Answers what comes by one connection, until it ends.
fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    answer: &impl Fn(&[String], &[u8]) -> Option<(u16, Value)>,
) {
    let connection = ServerConnection::new(config).unwrap();
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    while let Some((head, body)) = read(&mut stream) {
        let Some((status, said)) = answer(&head, &body) else { continue };
        let said = said.to_string();
        let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{said}", said.len());
        if stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A request's lines and its body.
fn read(stream: &mut impl BufRead) -> Option<(Vec<String>, Vec<u8>)> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}
