//! What the shipped routes let through, what clients can't say, and what is written down.

use super::{HIT, STORED, is};
use e2e::grpc::{SERVICE, call, infer_request};
use e2e::http2::Connection;
use e2e::stack::{Running, Stack};
use rig::http::{Answer, get, head, post, send};
use rig::process::until;
use rig::v2::{JSON, binary, fp32, fp32_binary};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpListener;

const MODEL: &str = "identity_fp32";
const INFER: &str = "/v2/models/identity_fp32/infer";

#[test]
fn inference_metadata_and_health_pass_over_http_and_nothing_else() {
    let stack = Stack::new().start();
    for path in [
        "/v2",
        "/v2/",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/identity_fp32",
        "/v2/models/identity_fp32/ready",
        "/v2/models/identity_fp32/versions/1",
        "/v2/models/identity_fp32/versions/1/ready",
        "/v1/models",
        "/v1/models/identity_fp32",
    ] {
        assert_eq!(stack.send(&get(path)).status, 200, "{path}");
    }
    is(&stack.send(&post("/v2/models/identity_fp32/versions/1/infer", &JSON, &fp32(&[1.0]))), STORED);
    let predicted = stack.send(&post("/v1/models/identity_fp32:predict", &JSON, br#"{"instances":[[1.0]]}"#));
    assert_eq!(predicted.json()["predictions"], json!([[1.0]]), "{}", predicted.error());

    let refused = |request: &[u8], what: &str| {
        let answer = stack.send(request);
        assert_eq!((answer.status, answer.error().as_str()), (404, "not found"), "{what}");
        assert_eq!(answer.header("content-type"), "application/json", "{what}");
    };
    for path in [
        "/",
        "/metrics",
        "/openapi.json",
        "/forebay/v1/lookup",
        "/forebay/v2/lookup",
        "/forebay/v2/poll",
        "//v2/health/live",
        "/v2//health/live",
        "/v2/health/live/",
        "/x/../v2/health/live",
        "/v2/models",
        "/v2/models/stats",
        "/v2/models/stats?x",
        "/v2/%72epository/index",
        "/v2/models/identity_fp32/config",
        "/v2/models/identity_fp32/stats",
        "/v2/models/identity_fp32/versions/1/config",
        "/v2/models/identity_fp32/versions/1/stats",
        "/v2/models/identity_fp32/trace/setting",
        "/v2/models/../repository/index",
        "/v2/trace/setting",
        "/v2/logging",
        "/v2/systemsharedmemory/status",
        "/v2/cudasharedmemory/region/r/status",
        "/v2/repository/index",
    ] {
        refused(&get(path), path);
        refused(&post(path, &JSON, b"{}"), path);
    }
    for call in ["load", "unload"] {
        let path = format!("/v2/repository/models/identity_fp32/{call}");
        refused(&post(&path, &JSON, b"{}"), &path);
        // Encoded slashes are no slashes: this is a model of a strange name, which is not there.
        let hidden = format!("/v2/models/x%2f..%2f..%2frepository%2fmodels%2fidentity_fp32%2f{call}/infer");
        assert_eq!(stack.send(&post(&hidden, &JSON, &fp32(&[1.0]))).status, 404);
    }
    is(&stack.infer(MODEL, &JSON, &fp32(&[2.0])), STORED);
    stack.sound();
}

/// gRPC's status.
fn status(answer: &Answer) -> &str {
    answer.header("grpc-status")
}

const OK: &str = "0";
const UNIMPLEMENTED: &str = "12";
/// What Envoy says, which is not what a backend says that has no such call.
const REFUSED: &str = "not for clients of this proxy";

#[test]
fn inference_metadata_and_health_pass_over_grpc_and_nothing_else() {
    let stack = Stack::new().start();
    let connection = Connection::open(stack.port).expect("Envoy speaks HTTP/2");
    let ask = |method: &str, message: &[u8]| call(&connection, &format!("{SERVICE}/{method}"), message);
    let model = [&[10, 13][..], MODEL.as_bytes()].concat();
    for (method, message) in [
        ("ServerLive", &[][..]),
        ("ServerReady", &[]),
        ("ServerMetadata", &[]),
        ("ModelReady", &model[..]),
        ("ModelMetadata", &model[..]),
    ] {
        let answer = ask(method, message);
        assert_eq!(status(&answer), OK, "{method}: {}", answer.header("grpc-message"));
        assert!(answer.body.len() > 5, "{method}: no message");
    }
    let answer = ask("ModelInfer", &infer_request(MODEL, 7.5));
    assert_eq!(status(&answer), OK, "{}", answer.header("grpc-message"));
    assert!(answer.body.ends_with(&7.5_f32.to_le_bytes()));
    assert_eq!(status(&ask("ModelStreamInfer", &infer_request(MODEL, 8.5))), OK);
    assert_eq!(status(&call(&connection, "grpc.health.v1.Health/Check", &[])), OK);

    for method in [
        "ModelConfig",
        "ModelStatistics",
        "RepositoryIndex",
        "RepositoryModelLoad",
        "RepositoryModelUnload",
        "SystemSharedMemoryRegister",
        "CudaSharedMemoryRegister",
        "TraceSetting",
        "LogSettings",
        "NoSuchCall",
    ] {
        let answer = ask(method, &model);
        assert_eq!((status(&answer), answer.header("grpc-message")), (UNIMPLEMENTED, REFUSED), "{method}");
    }
    let reflection = call(&connection, "grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &[]);
    assert_eq!(status(&reflection), UNIMPLEMENTED);
    stack.sound();
}

/// A backend that answers one request with nothing and says what it got.
fn heard(request: impl FnOnce(u16) -> Running) -> (Running, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let stack = request(listener.local_addr().expect("bound").port());
    let head = std::thread::scope(|scope| {
        let backend = scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("Envoy connects");
            let mut got = Vec::new();
            while !got.windows(4).any(|end| end == b"\r\n\r\n") {
                let mut piece = [0; 4096];
                let read = stream.read(&mut piece).expect("a request");
                assert!(read > 0, "Envoy has closed");
                got.extend(&piece[..read]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("answered");
            String::from_utf8_lossy(&got).into_owned()
        });
        let spoofed = [
            ("x-forebay-tenant", "victim"),
            ("X-Forebay-Service", "other"),
            ("x-forebay-token", "guess"),
            ("x-forebay-anything", "1"),
        ];
        send(stack.port, &head("GET", "/v2", &spoofed)).expect("an answer");
        backend.join().expect("a request")
    });
    (stack, head.to_ascii_lowercase())
}

fn behind(port: u16) -> Stack {
    Stack::new().with("port_value: 8000 # up:backend_port", &format!("port_value: {port}"))
}

#[test]
fn a_clients_names_of_ours_are_gone_before_any_filter() {
    let (_stack, head) = heard(|port| behind(port).start());
    assert!(head.starts_with("get /v2 ") && !head.contains("x-forebay-"), "{head}");
}

#[test]
fn envoy_puts_the_credential_on_and_shows_it_to_nobody() {
    let (stack, head) = heard(|port| behind(port).injects().start());
    let lines: Vec<_> = head.lines().filter(|line| line.starts_with("x-forebay-")).collect();
    assert_eq!(lines, [format!("x-forebay-token: {}", stack.token().to_ascii_lowercase())]);
    let shown = stack.admin("/config_dump").body;
    assert!(!String::from_utf8_lossy(&shown).contains(stack.token()), "the admin interface shows the token");
}

#[test]
fn lookups_carry_the_credential_and_a_new_one_needs_no_restart() {
    let stack = Stack::new().injects().start();
    // In the encoding that was not asked for, only the gate can have it.
    let mut value = 0.0;
    let mut tier = || {
        value += 1.0;
        assert_eq!(stack.infer(MODEL, &JSON, &fp32(&[value])).status, 200);
        let (length, body) = fp32_binary(&[value]);
        stack.infer(MODEL, &binary(&length), &body).nearest_cache()
    };
    assert!(tier().ends_with("detail=l2"), "the gate takes the credential");
    stack.replace_credential("another");
    until("the gate refuses the new credential", || tier().starts_with("forebay; fwd=miss").then_some(()));
    stack.replace_credential(stack.token());
    until("the gate takes the old one again", || tier().ends_with("detail=l2").then_some(()));
    stack.sound();
}

#[test]
fn the_access_log_has_each_caches_word_in_order() {
    let stack = Stack::new().start();
    let miss = stack.infer(MODEL, &JSON, &fp32(&[1.0]));
    is(&miss, STORED);
    let fields = miss.headers.iter().filter(|(name, _)| name == "cache-status").count();
    assert_eq!(fields, 1, "{}", miss.cache_status());
    let hit = stack.infer(MODEL, &JSON, &fp32(&[1.0]));
    is(&hit, HIT);
    let miss = r#"cache="forebay-serve; fwd=uri-miss; stored, forebay; fwd=miss; stored""#;
    for cache in [miss, &format!(r#"cache="{}""#, hit.nearest_cache())] {
        until("Envoy writes its log", || {
            let log = stack.envoy.log();
            log.lines().any(|line| line.contains(INFER) && line.contains(cache)).then_some(())
        });
    }
}
