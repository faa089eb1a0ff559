//! Content codings: encoded requests are understood within the same limits, answers are encoded for those who ask.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::client::{fp32, send};
use crate::process::Forebay;

const PATH: &str = "/v2/models/identity_fp32/infer";
/// As JSON more than any threshold of compression.
const MANY: [f32; 2000] = [1.25; 2000];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn post(forebay: &Forebay, coding: &str, body: &[u8]) -> (u16, String) {
    let answer = send(forebay.http_port, "POST", PATH, &[("content-encoding", coding)], body);
    (answer.status, String::from_utf8(answer.body).unwrap())
}

#[test]
fn an_encoded_request_is_the_same_request() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let body = fp32(&[4.5]).to_string().into_bytes();
    let plain = send(forebay.http_port, "POST", PATH, &[], &body);
    let halves = [gzip(&body[..9]), gzip(&body[9..])].concat();
    for (coding, encoded) in [
        ("gzip", gzip(&body)),
        ("X-GZIP", gzip(&body)),
        ("gzip", halves),
        ("deflate", zlib(&body)),
        ("zstd", zstd(&body)),
        ("identity", body.clone()),
    ] {
        let answer = send(forebay.http_port, "POST", PATH, &[("content-encoding", coding)], &encoded);
        assert_eq!((answer.status, &answer.body), (200, &plain.body), "{coding}: {answer:?}");
        assert!(answer.is_hit(), "{coding}: one entry for every coding");
    }
}

#[test]
fn an_encoded_body_that_is_broken_or_cut_is_the_clients_fault() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let body = fp32(&[4.5; 100]).to_string().into_bytes();
    for (coding, encoded) in [("gzip", gzip(&body)), ("deflate", zlib(&body)), ("zstd", zstd(&body))] {
        for wrong in [&encoded[..encoded.len() / 2], b"garbage"] {
            let (status, error) = post(&forebay, coding, wrong);
            assert_eq!((status, error.contains("could not be read")), (400, true), "{coding}: {error}");
        }
    }
    for coding in ["br", "gzip, gzip", "\u{7f}"] {
        let status = post(&forebay, coding, b"{}").0;
        assert!([400, 415].contains(&status), "{coding:?}: {status}");
    }
    assert_eq!(forebay.infer("identity_fp32", &[], &fp32(&[1.0])).status, 200);
}

#[test]
fn a_bomb_stops_at_the_limit_in_bounded_memory() {
    const INFLATED: usize = 256 << 20;
    const GROWTH_KIB: u64 = 64 << 10;
    let forebay = Forebay::serve(&["--instances", "1", "--max-body-bytes", "1000000"]);
    assert_eq!(forebay.infer("identity_fp32", &[], &fp32(&[1.0])).status, 200);
    let before = forebay.peak_memory_kib();
    let zeros = vec![0; INFLATED];
    for (coding, bomb) in [("gzip", gzip(&zeros)), ("deflate", zlib(&zeros)), ("zstd", zstd(&zeros))] {
        assert!(bomb.len() < 1_000_000, "{coding}: {} bytes are refused as they are", bomb.len());
        let (status, error) = post(&forebay, coding, &bomb);
        assert_eq!((status, error.contains("1000000 bytes")), (413, true), "{coding}: {error}");
    }
    let grown = forebay.peak_memory_kib() - before;
    assert!(grown < GROWTH_KIB, "{grown} KiB more");
}

async fn accepting(forebay: &Forebay, accepted: &str, values: &[f32]) -> http::Response<Bytes> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = http::Request::post(format!("http://127.0.0.1:{}{PATH}", forebay.http_port))
        .header("accept-encoding", accepted)
        .body(Full::new(Bytes::from(fp32(values).to_string())));
    let (head, body) = client.request(request.unwrap()).await.unwrap().into_parts();
    http::Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

fn decoded(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match coding {
        "gzip" => GzDecoder::new(body).read_to_end(&mut plain).unwrap(),
        "deflate" => ZlibDecoder::new(body).read_to_end(&mut plain).unwrap(),
        "zstd" => zstd::Decoder::new(body).unwrap().read_to_end(&mut plain).unwrap(),
        _ => (&mut &*body).read_to_end(&mut plain).unwrap(),
    };
    plain
}

#[tokio::test]
async fn an_answer_is_encoded_as_the_client_prefers() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let plain = accepting(&forebay, "identity", &MANY).await;
    assert!(!plain.headers().contains_key("content-encoding"));
    for (accepted, coding) in [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("zstd", "zstd"),
        ("gzip;q=0.1, deflate;q=0.9", "deflate"),
        ("gzip;q=0", ""),
        ("br", ""),
        ("identity;q=0", ""),
        ("br, *; q=0.000", ""),
        ("identity;q=0, gzip", "gzip"),
    ] {
        let answer = accepting(&forebay, accepted, &MANY).await;
        assert_eq!(answer.status(), 200, "{accepted}");
        let found = answer.headers().get("content-encoding").map_or("", |value| value.to_str().unwrap());
        assert_eq!(found, coding, "{accepted}");
        assert_eq!(decoded(coding, answer.body()), *plain.body(), "{accepted}");
        let varies = answer.headers().get("vary").map_or("", |value| value.to_str().unwrap());
        assert_eq!(varies, if coding.is_empty() { "" } else { "accept-encoding" }, "{accepted}");
    }
}

#[tokio::test]
async fn an_answer_that_goes_out_as_it_is_says_nothing_of_encodings() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let cases: [(&str, &[f32]); 3] = [("gzip", &[1.0]), ("identity", &MANY), ("gzip;q=0", &MANY)];
    for (accepted, values) in cases {
        let answer = accepting(&forebay, accepted, values).await;
        assert_eq!(answer.status(), 200);
        for name in ["content-encoding", "vary"] {
            assert!(!answer.headers().contains_key(name), "{accepted:?}: {name}");
        }
        assert!(answer.headers().contains_key("content-length"), "{accepted:?}");
    }
    let asked = fp32(&MANY).to_string();
    let plain = send(forebay.http_port, "POST", PATH, &[], asked.as_bytes());
    assert_eq!((plain.header("vary"), plain.header("content-encoding")), ("", ""), "nothing was asked");
}

#[test]
fn nothing_that_a_client_accepts_makes_an_answer_another_one() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let asked = fp32(&MANY).to_string();
    let predict = r#"{"instances":[[1.0]]}"#;
    for accepted in [
        "br, *;q=0",
        "*;q=0",
        "identity;q=0",
        "identity;q=0, \"gzip",
        "gzip;q=0, deflate;q=0, zstd;q=0, *;q=0",
        "identity;q=0.0000, *;q=0.0",
        "identity;Q=0;x",
        ";;;,q=0",
        "\u{e9};q=0, *;q=0",
    ] {
        for (method, path, body, status) in [
            ("POST", PATH, asked.as_str(), 200),
            ("POST", PATH, "{}", 400),
            ("POST", "/v2/models/nope/infer", asked.as_str(), 404),
            ("PUT", PATH, "", 405),
            ("GET", "/v2/models/identity_fp32", "", 200),
            ("GET", "/openapi.json", "", 200),
            ("POST", "/v1/models/identity_fp32:predict", predict, 200),
            ("POST", "/v2/repository/index", "", 200),
            ("GET", "/v2/nothing", "", 404),
        ] {
            let headers = [("accept-encoding", accepted)];
            let answer = send(forebay.http_port, method, path, &headers, body.as_bytes());
            assert_eq!((answer.status, answer.header("content-encoding")), (status, ""), "{accepted} {path}");
            assert_eq!(answer.json()["error"].is_string(), status != 200, "{accepted} {path}: {answer:?}");
        }
    }
}
