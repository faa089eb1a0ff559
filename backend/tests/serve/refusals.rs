//! A refusal arrives, though the client sends all of its body before it reads.

use std::io::ErrorKind;

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rig::http::{Answer, Connection, Headers, get, head, post};

use crate::client::{fp32, send};
use crate::process::Forebay;

const PATH: &str = "/v2/models/identity_fp32/infer";
/// More than the kernel takes off the client's hands while the server doesn't read.
const BODY_BYTES: usize = 3 << 20;
/// Each is sent so often: what is lost by chance is lost now and then.
const TIMES: usize = 10;

fn forebay() -> Forebay {
    Forebay::serve(&["--instances", "1", "--max-body-bytes", "1000000"])
}

/// Sends all of it, then reads the answer and the connection's end.
fn send_all(port: u16, head: &[u8], body: &[u8]) -> Answer {
    let mut connection = Connection::open(port).unwrap();
    connection.write(head).unwrap();
    connection.write(body).expect("the server reads what it doesn't want");
    let answer = connection.read().unwrap();
    let end = connection.read().unwrap_err();
    assert_eq!(end.kind(), ErrorKind::UnexpectedEof, "the server closes in stages: {end}");
    answer
}

const REFUSED: [(&str, &str, Headers<'static>, u16); 5] = [
    ("POST", "/v2/nothing", &[], 404),
    ("PUT", PATH, &[], 405),
    ("POST", PATH, &[], 413),
    ("POST", PATH, &[("content-encoding", "br")], 415),
    (
        "POST",
        PATH,
        &[("inference-header-content-length", "1"), ("inference-header-content-length", "2")],
        400,
    ),
];

#[test]
fn it_arrives_over_http1_however_the_body_is_framed() {
    let forebay = forebay();
    let body = vec![b' '; BODY_BYTES];
    let chunked = [format!("{BODY_BYTES:x}\r\n").as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    let length = body.len().to_string();
    for (method, path, headers, status) in REFUSED {
        for _ in 0..TIMES {
            let announced = [headers, &[("content-length", &*length)]].concat();
            let answer = send_all(forebay.http_port, &head(method, path, &announced), &body);
            assert_eq!((answer.status, answer.header("connection")), (status, "close"), "{path}: {answer:?}");
            let announced = [headers, &[("transfer-encoding", "chunked")]].concat();
            let answer = send_all(forebay.http_port, &head(method, path, &announced), &chunked);
            assert_eq!((answer.status, answer.header("connection")), (status, "close"), "{path}: {answer:?}");
        }
    }
}

#[test]
fn so_does_that_of_a_head_which_is_no_http() {
    let forebay = forebay();
    let body = vec![b' '; BODY_BYTES];
    let large = "x".repeat(600_000);
    for (head, status) in [
        (b"nonsense\r\n\r\n".to_vec(), 400),
        (head("POST", PATH, &[("x-large", &large), ("content-length", &body.len().to_string())]), 431),
    ] {
        for _ in 0..TIMES {
            assert_eq!(send_all(forebay.http_port, &head, &body).status, status);
        }
    }
}

#[test]
fn who_waits_to_be_asked_for_the_body_is_refused_before_it_is_sent() {
    let forebay = forebay();
    let length = BODY_BYTES.to_string();
    for (method, path, headers, status) in REFUSED {
        let expecting = [headers, &[("content-length", &*length), ("expect", "100-continue")]].concat();
        let head = head(method, path, &expecting);
        let answer = rig::http::send(forebay.http_port, &head).unwrap();
        assert_eq!((answer.status, answer.header("connection")), (status, "close"), "{path}: {answer:?}");
        // One that doesn't wait for long.
        assert_eq!(send_all(forebay.http_port, &head, &vec![b' '; BODY_BYTES]).status, status);
    }
    // What isn't refused is asked for.
    let body = fp32(&[1.0]).to_string();
    let length = body.len().to_string();
    let mut connection = Connection::open(forebay.http_port).unwrap();
    let expecting = [("content-length", &*length), ("expect", "100-continue")];
    connection.write(&head("POST", PATH, &expecting)).unwrap();
    assert_eq!(connection.read().unwrap().status, 100);
    connection.write(body.as_bytes()).unwrap();
    assert_eq!(connection.read().unwrap().status, 200);
}

#[test]
fn a_small_body_that_nobody_reads_leaves_the_connection_open() {
    let forebay = forebay();
    let mut connection = Connection::open(forebay.http_port).unwrap();
    for _ in 0..3 {
        connection.write(&post("/v2/nothing", &[], &[b' '; 1000])).unwrap();
    }
    connection.write(&get("/v2/health/live")).unwrap();
    assert_eq!([(); 4].map(|()| connection.read().unwrap().status), [404, 404, 404, 200]);
}

async fn http2(port: u16) -> SendRequest<Full<Bytes>> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (client, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn it_arrives_over_http2_and_the_connection_stays() {
    let forebay = forebay();
    let mut client = http2(forebay.http_port).await;
    for (method, path, headers, status) in REFUSED {
        for _ in 0..TIMES {
            let mut request = http::Request::builder()
                .method(method)
                .uri(format!("http://test{path}"))
                .body(Full::new(Bytes::from(vec![b' '; BODY_BYTES])))
                .unwrap();
            for (name, value) in headers {
                request.headers_mut().append(*name, value.parse().unwrap());
            }
            let answer = client.send_request(request).await.unwrap();
            assert_eq!(answer.status(), status, "{path}");
            let error = answer.into_body().collect().await.unwrap().to_bytes();
            assert!(error.starts_with(b"{\"error\":"), "{error:?}");
        }
    }
    let encoded = http::Request::post(format!("http://test{PATH}"))
        .header(CONTENT_ENCODING, "identity")
        .body(Full::new(Bytes::from(fp32(&[1.0]).to_string())))
        .unwrap();
    assert_eq!(client.send_request(encoded).await.unwrap().status(), 200, "the connection is the same");
}

#[test]
fn what_is_too_large_is_413_whatever_is() {
    let forebay = Forebay::serve(&["--instances", "1", "--max-body-bytes", "1000"]);
    // A thousand bytes of JSON can name four times as many, and no more.
    let claims = br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1001],"data":[1]}]}"#;
    let answer = send(forebay.http_port, "POST", PATH, &[], claims);
    assert_eq!((answer.status, answer.error().contains("more than 4000 bytes")), (413, true), "{answer:?}");
    let row = vec!["1.0"; 300].join(",");
    let v1 = format!(r#"{{"instances":[[{row}]]}}"#);
    let answer = send(forebay.http_port, "POST", "/v1/models/identity_fp32:predict", &[], v1.as_bytes());
    assert_eq!((answer.status, answer.error().contains("1000 bytes")), (413, true), "{answer:?}");
    for path in ["/v2/repository/index", "/v2/repository/models/x/load", "/v2/logging", "/v2/trace/setting"] {
        assert_eq!(send(forebay.http_port, "POST", path, &[], &[b' '; 1001]).status, 413, "{path}");
    }
}
