//! Whom a request is for: names however they are escaped, hosts, and targets of other forms.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rig::http::Answer;
use rig::repository::{generated, put};
use serde_json::json;

use crate::client::{fp32, send};
use crate::process::Forebay;

/// Names that a path can hold only escaped, or that look like more than a name.
const NAMES: [&str; 6] = ["my model", "mod\u{e9}le", "100%", "%41", "a:predict", "a;b?c#d\\"];

/// A repository with the FP32 identity under each of these names.
fn named(names: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for name in names {
        put(root.path(), format!("{name}/1/model.onnx"), generated("identity_fp32"));
    }
    root
}

/// Each byte, or those that must be.
fn escaped(name: &str, all: bool) -> String {
    let keeps = |byte: u8| !all && (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    let byte = |byte: u8| if keeps(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") };
    name.bytes().map(byte).collect()
}

/// What comes of a head as it is, without a body.
fn raw(port: u16, head: &str) -> Answer {
    rig::http::send(port, head.as_bytes()).unwrap()
}

#[test]
fn a_model_of_any_name_is_found_on_every_route() {
    let repository = named(&NAMES);
    let arguments = ["--instances", "1", "--model-control-mode", "explicit", "--load-model", "*"];
    let forebay = Forebay::serve_from(repository.path(), &arguments);
    let ask =
        |method: &str, path: &str, body: &str| send(forebay.http_port, method, path, &[], body.as_bytes());
    for name in NAMES {
        for model in [escaped(name, false), escaped(name, true)] {
            let body = fp32(&[1.5]).to_string();
            for path in
                [format!("/v2/models/{model}/infer"), format!("/v2/models/{model}/versions/%31/infer")]
            {
                let answer = ask("POST", &path, &body);
                assert_eq!((answer.status, &answer.json()["model_name"]), (200, &json!(name)), "{answer:?}");
            }
            let answer = ask("GET", &format!("/v2/models/{model}"), "");
            assert_eq!((answer.status, &answer.json()["name"]), (200, &json!(name)), "{answer:?}");
            for part in ["config", "ready", "stats", "versions/1", "versions/1/ready", "trace/setting"] {
                let answer = ask("GET", &format!("/v2/models/{model}/{part}"), "");
                assert_eq!(answer.status, 200, "{part} {answer:?}");
            }
            let answer = ask("GET", &format!("/v1/models/{model}"), "");
            assert_eq!(answer.json(), json!({ "name": name, "ready": true }));
            let answer = ask("POST", &format!("/v1/models/{model}:predict"), r#"{"instances":[[1.5]]}"#);
            assert_eq!((answer.status, &answer.json()["predictions"]), (200, &json!([[1.5]])), "{answer:?}");
            for change in ["unload", "load"] {
                let answer = ask("POST", &format!("/v2/repository/models/{model}/{change}"), "");
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        }
    }
}

#[test]
fn an_escape_parts_nothing_and_is_decoded_once() {
    let repository = named(&["m", "a", "%41"]);
    let arguments = ["--instances", "1", "--model-control-mode", "explicit", "--load-model", "*"];
    let forebay = Forebay::serve_from(repository.path(), &arguments);
    let body = fp32(&[1.0]).to_string();
    for (method, path, error) in [
        ("POST", "/v2/models/m%2Finfer", "doesn't take POST"),
        ("GET", "/v2/models/m%2Finfer", "unknown model: 'm/infer'"),
        ("POST", "/v2%2Fmodels/m/infer", "no such path"),
        ("POST", "/v2/models/m/%69nfer", "no such path"),
        ("GET", "/v2/models/%73tats", "unknown model: 'stats'"),
        ("POST", "/v2/%72epository/index", "no such path"),
        ("POST", "/v1/models/m:%70redict", "no such path"),
        ("POST", "/v2/models/m%2fversions%2F1/infer", "unknown model: 'm/versions/1'"),
        ("POST", "/v2/models/%2541%2541/infer", "unknown model: '%41%41'"),
        ("POST", "/v2/models/A/infer", "unknown model: 'A'"),
        ("POST", "/v2/models/x%2f..%2fm/infer", "unknown model: 'x/../m'"),
        ("POST", "/v2/models/%2e%2E/infer", "no such path"),
        ("POST", "/v2/models//infer", "no such path"),
        ("POST", "/v2/models/m/infer/", "no such path"),
        ("POST", "//v2/models/m/infer", "no such path"),
        ("POST", "/v2/./models/m/infer", "no such path"),
        ("POST", "/v2/models/m/versions/1/../infer", "no such path"),
        ("POST", "/v2/repository/models/..%2Fm/load", "..%2Fm"),
        ("POST", "/v1/models/m%3Apredict", "doesn't take POST"),
        ("GET", "/v1/models/m%3Apredict", "unknown model: 'm:predict'"),
        ("POST", "/v1/models/a%2Fm:predict", "unknown model: 'a/m'"),
    ] {
        let answer = send(forebay.http_port, method, path, &[], body.as_bytes());
        assert!([404, 405].contains(&answer.status), "{path}: {answer:?}");
        let said = answer.error();
        assert!(said.contains(&error.replace("%2F", "/")) || said.contains(error), "{path}: {said}");
    }
    let twice = send(forebay.http_port, "POST", "/v2/models/%2541/infer", &[], body.as_bytes());
    assert_eq!((twice.status, &twice.json()["model_name"]), (200, &json!("%41")));
}

#[test]
fn a_path_that_cannot_be_read_gets_a_v2_error_on_every_route() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    for (model, error) in [
        ("%ff", "the path is not UTF-8"),
        ("%C3%28", "the path is not UTF-8"),
        ("%C0%AF", "the path is not UTF-8"),
        ("%ED%A0%80", "the path is not UTF-8"),
        ("%", "two hexadecimal digits"),
        ("m%4", "two hexadecimal digits"),
        ("%zz", "two hexadecimal digits"),
    ] {
        for (method, path) in [
            ("POST", format!("/v2/models/{model}/infer")),
            ("POST", format!("/v2/models/identity_fp32/versions/{model}/infer")),
            ("GET", format!("/v2/models/{model}")),
            ("GET", format!("/v2/models/{model}/versions/{model}/config")),
            ("GET", format!("/v2/models/{model}/trace/setting")),
            ("POST", format!("/v2/repository/models/{model}/load")),
            ("GET", format!("/v2/systemsharedmemory/region/{model}/status")),
            ("GET", format!("/v1/models/{model}")),
            ("POST", format!("/v1/models/{model}:predict")),
            ("GET", format!("/{model}")),
        ] {
            let answer = send(forebay.http_port, method, &path, &[], b"{}");
            assert_eq!((answer.status, answer.error().contains(error)), (400, true), "{path}: {answer:?}");
            assert_eq!(answer.header("content-type"), "application/json");
        }
    }
}

#[test]
fn a_restricted_route_is_restricted_however_it_is_escaped() {
    let forebay = Forebay::serve(&[
        "--instances",
        "1",
        "--http-restricted-api",
        "inference,model-repository,metadata:key=word",
    ]);
    for (method, path) in [
        ("POST", "/v2/models/%69dentity_fp32/infer"),
        ("POST", "/v2/models/identity_fp32/versions/%31/infer"),
        ("POST", "/v2/models/x%2Fready/infer?/ready"),
        ("POST", "/v2/repository/models/%78/load"),
        ("GET", "/v2/models/%69dentity_fp32"),
        ("POST", "/v1/models/identity%5Ffp32:predict"),
        ("POST", "http://test/v2/repository/index"),
    ] {
        let answer = send(forebay.http_port, method, path, &[], b"{}");
        assert_eq!((answer.status, answer.error().contains("restricted")), (403, true), "{path}: {answer:?}");
    }
}

#[test]
fn http_1_1_without_one_host_is_refused_in_v2s_form_on_every_port() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let close = "connection: close\r\n\r\n";
    for port in [forebay.http_port, forebay.grpc_port, forebay.gate_port, forebay.metrics_port] {
        for hosts in [
            "",
            "host: a\r\nhost: a\r\n",
            "host: a\r\nHost: b\r\n",
            "host: a b\r\n",
            "host: a/b\r\n",
            "host: \u{e9}\r\n",
        ] {
            let answer = raw(port, &format!("GET /v2/health/live HTTP/1.1\r\n{hosts}{close}"));
            assert_eq!(
                (answer.status, answer.error().starts_with("header host: ")),
                (400, true),
                "{hosts:?} {answer:?}"
            );
        }
    }
    for head in [
        "GET /v2/health/live HTTP/1.0\r\n\r\n".to_owned(),
        format!("GET /v2/health/live HTTP/1.1\r\nhost: [::1]:8000\r\n{close}"),
        format!("GET /v2/health/live HTTP/1.1\r\nhost:\r\n{close}"),
        format!("GET http://other:1/v2/health/live HTTP/1.1\r\nhost: a\r\n{close}"),
    ] {
        assert_eq!(raw(forebay.http_port, &head).status, 200, "{head}");
    }
    let two = raw(forebay.http_port, "GET /v2/health/live HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n");
    assert_eq!(two.status, 400);
    // With a body that nobody reads.
    let body = "x".repeat(1000);
    let posted = format!("POST /v2/models/m/infer HTTP/1.1\r\ncontent-length: 1000\r\n{close}{body}");
    assert_eq!(raw(forebay.http_port, &posted).status, 400);
}

#[test]
fn targets_of_other_forms_name_the_same_or_nothing() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let body = fp32(&[2.0]).to_string();
    for target in [
        "/v2/models/identity_fp32/infer",
        "http://test/v2/models/identity_fp32/infer",
        "HTTP://other:80/v2/models/%69dentity_fp32/infer?x=1",
        "/v2/models/identity_fp32/infer?",
        "/v2/models/identity_fp32/infer?a=/../x&b=%zz",
    ] {
        let answer = send(forebay.http_port, "POST", target, &[], body.as_bytes());
        assert_eq!((answer.status, &answer.json()["model_name"]), (200, &json!("identity_fp32")), "{target}");
    }
    for (method, target) in [("OPTIONS", "*"), ("GET", "*"), ("POST", "http://test"), ("CONNECT", "test:80")]
    {
        let answer = send(forebay.http_port, method, target, &[], b"");
        assert!(
            [404, 405].contains(&answer.status) && !answer.error().is_empty(),
            "{method} {target}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn over_http_2_a_second_name_of_the_host_is_the_first() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", forebay.http_port)).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for (host, status) in [(None, 200), (Some("TEST"), 200), (Some("test:80"), 200), (Some("other"), 400)] {
        let mut request =
            http::Request::get("http://test/v2/health/live").body(Full::<Bytes>::default()).unwrap();
        if let Some(host) = host {
            request.headers_mut().insert("host", host.parse().unwrap());
        }
        let answer = client.send_request(request).await.unwrap();
        assert_eq!(answer.status(), status, "{host:?}");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.starts_with(b"{\"error\":\"header host: "), status == 400, "{body:?}");
    }
}
