//! Clients that are slow to send or to take: they lose their connection, and nobody else notices.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rig::http::post;
use rig::process::until;
use rig::v2::{binary, in_binary};

use crate::client::{begun, fp32, send};
use crate::process::Forebay;

const PATH: &str = "/v2/models/identity_fp32/infer";

#[test]
fn slow_senders_are_not_waited_for() {
    let timeouts = ["--instances", "1", "--header-timeout-secs", "0.2", "--body-timeout-secs", "0.2"];
    let forebay = Forebay::serve(&timeouts);
    let mut head_only = begun(forebay.http_port, b"POST /v2/models/m/infer HTTP/1.1\r\nhost:");
    assert!(!head_only.read().is_ok_and(|answer| answer.status == 200));
    let answer = send(forebay.http_port, "POST", PATH, &[("transfer-encoding", "chunked")], b"5\r\n");
    assert_eq!((answer.status, answer.error().contains("0.2 seconds")), (408, true));
}

#[test]
fn slow_readers_are_not_waited_for() {
    let forebay = Forebay::serve(&["--instances", "1", "--pool", "none", "--write-timeout-secs", "0.2"]);
    let before = forebay.sockets();
    let mut stream = TcpStream::connect(("127.0.0.1", forebay.http_port)).unwrap();
    // More than the kernel takes off the server's hands.
    let data = vec![0_u8; 48 << 20];
    let (length, body) = in_binary("FP32", &[1, data.len() / 4][..], &data);
    stream.write_all(&post(PATH, &binary(&length), &body)).unwrap();
    assert!(forebay.sockets() > before);
    until("the connection is closed", || (forebay.sockets() == before).then_some(()));
    let mut taken = Vec::new();
    // What the kernel had goes on to arrive.
    let _ = stream.read_to_end(&mut taken);
    assert!(taken.starts_with(b"HTTP/1.1 200") && taken.len() < data.len(), "{} bytes", taken.len());
    assert_eq!(forebay.infer("identity_fp32", &[], &fp32(&[1.0])).status, 200);
}

#[tokio::test]
async fn slow_messages_are_refused_over_grpc() {
    let forebay = Forebay::serve(&["--instances", "1", "--body-timeout-secs", "0.2"]);
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    // The beginning of a message of five bytes, and nothing more.
    let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(&[0, 0, 0, 0, 5, 1]))]);
    let body = Body::from_stream(begun.chain(stream::pending()));
    let uri = format!("http://127.0.0.1:{}/inference.GRPCInferenceService/ModelInfer", forebay.grpc_port);
    let request =
        http::Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
    let answer = client.request(request.body(body).unwrap()).await.unwrap();
    let said = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(said("grpc-status"), "4", "{answer:?}");
    assert!(said("grpc-message").contains("0.2%20seconds"), "{answer:?}");
}
