//! `forebay front` before another server, which is one that keeps nothing: what is kept, joined and passed on, and what it says then.

mod changes;
mod meshed;
mod silent;
mod triton;

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use forebay_protocol::messages::ModelInferRequest;
use futures_util::StreamExt as _;
use http::uri::PathAndQuery;
use rig::http::Answer;
use rig::installed::onnxruntime;
use rig::process::until;
use serde_json::json;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use crate::client::{fp32, send};
use crate::control::EXPLICIT;
use crate::grpc::proto::{ModelStreamInferResponse, ServerReadyRequest, ServerReadyResponse};
use crate::grpc::{answer, ask, channel, infer, raw};
use crate::mesh::lookup;
use crate::poll::install;
use crate::process::{Forebay, command, forebay_command, refused, test_repository};

const MODEL: &str = "identity_fp32";
const PASSED: &str = "forebay-serve; fwd=bypass; detail=off";

/// A server that keeps nothing: what it is asked it computes.
pub(crate) fn upstream(repository: &Path) -> Forebay {
    upstream_at(repository, (0, 0))
}

/// The same at those ports, 0 for any.
fn upstream_at(repository: &Path, (http, grpc): (u16, u16)) -> Forebay {
    let arguments = [&EXPLICIT[..], &["--load-model", "*", "--pool", "none"]].concat();
    let mut command = forebay_command("serve", &arguments);
    command.arg("--model-repository").arg(repository).arg("--onnxruntime").arg(onnxruntime());
    at_ports(&mut command, (http, grpc));
    Forebay::start(command)
}

fn at_ports(command: &mut Command, (http, grpc): (u16, u16)) {
    for (name, port) in [("http", http), ("grpc", grpc)] {
        command.arg(format!("--{name}-address=127.0.0.1")).arg(format!("--{name}-port={port}"));
    }
}

/// `forebay front` before ports of the loopback.
fn front_command((http, grpc): (u16, u16), arguments: &[&str]) -> Command {
    let mut command = forebay_command("front", arguments);
    at_ports(&mut command, (0, 0));
    command.args(["--look-secs", "0.1"]).arg("--to").arg(format!("http://127.0.0.1:{http}"));
    command.arg("--to-grpc").arg(format!("grpc://127.0.0.1:{grpc}"));
    command
}

/// `forebay front` before that server.
fn before(upstream: &Forebay, arguments: &[&str]) -> Forebay {
    Forebay::start(front_command((upstream.http_port, upstream.grpc_port), arguments))
}

/// The arguments that say that files never change.
fn by_files(repository: &Path) -> [&str; 3] {
    ["--model-repository", repository.to_str().unwrap(), "--files-are-loaded"]
}

/// Both, of the generated models.
fn pair(arguments: &[&str]) -> (Forebay, Forebay) {
    let upstream = upstream(&test_repository());
    let front = before(&upstream, &[&by_files(&test_repository())[..], arguments].concat());
    (upstream, front)
}

fn ask_for(front: &Forebay, value: f32) -> Answer {
    let answer = front.infer(MODEL, &[], &fp32(&[value]));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

fn computed(upstream: &Forebay) -> u64 {
    upstream.metric("nv_inference_count", MODEL)
}

#[tokio::test]
async fn a_repeat_is_answered_by_the_front_in_all_three_encodings() {
    let (upstream, front) = pair(&[]);
    let first = ask_for(&front, 1.0);
    assert_eq!(first.header("cache-status"), "forebay-serve; fwd=uri-miss; stored");
    assert_eq!(
        (first.header("cache-control"), first.header("x-forebay-generation").len()),
        ("max-age=60", 64)
    );
    let direct = upstream.infer(MODEL, &[], &fp32(&[1.0]));
    assert_eq!(first.json()["outputs"], direct.json()["outputs"]);
    let again = ask_for(&front, 1.0);
    assert!(again.is_hit() && again.header("age") == "0" && again.body == first.body, "{again:?}");
    let data = 1.0_f32.to_le_bytes();
    let binary = front.infer_binary(MODEL, "FP32", &[1, 1], &data);
    assert!(binary.is_hit() && binary.body.ends_with(&data), "{binary:?}");
    let asked = Request::new(raw(MODEL, "FP32", &[1, 1], &data));
    let path = "/inference.GRPCInferenceService/ModelInfer";
    let called: tonic::Response<forebay_protocol::messages::ModelInferResponse> =
        answer(&mut channel(&front), path, asked).await.unwrap();
    assert!(called.metadata().get("cache-status").unwrap().to_str().unwrap().contains("hit"), "{called:?}");
    assert_eq!(called.into_inner().raw_output_contents, [Bytes::copy_from_slice(&data)]);
    assert_eq!((computed(&upstream), front.metric("nv_inference_count", MODEL)), (2, 1));
    let found = lookup(&front, 1.0);
    assert_eq!(found.status, 200, "filters find it, too: {found:?}");
}

#[tokio::test]
async fn what_came_by_grpc_is_found_by_http_and_the_id_is_the_askers_own() {
    let (_upstream, front) = pair(&[]);
    let asked = ModelInferRequest { id: "one".into(), ..raw(MODEL, "FP32", &[1, 1], &2.0_f32.to_le_bytes()) };
    assert_eq!(infer(&mut channel(&front), asked).await.unwrap().id, "one");
    let mut body = fp32(&[2.0]);
    body["id"] = json!("two");
    let found = front.infer(MODEL, &[], &body);
    assert!(found.is_hit() && found.json()["id"] == "two", "{found:?}");
}

#[test]
fn without_a_generation_equal_requests_are_joined_and_nothing_is_kept() {
    let upstream = upstream(&test_repository());
    let front = before(&upstream, &[]);
    let ask = || front.infer("slow", &[], &fp32(&[1.0; 64]));
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let asks: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        asks.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert!(
        answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body),
        "{answers:?}"
    );
    assert!(answers.iter().all(|answer| answer.header("cache-control") == "no-store"), "{answers:?}");
    assert!(answers.iter().all(|answer| answer.header("x-forebay-generation").is_empty()), "{answers:?}");
    let joined = answers.iter().filter(|answer| answer.header("cache-status").contains("collapsed")).count();
    let computed = || usize::try_from(upstream.metric("nv_inference_count", "slow")).unwrap();
    assert!(joined > 0 && computed() == 8 - joined, "{answers:?}");
    assert_eq!(ask().header("cache-status"), PASSED);
    assert_eq!(computed(), 9 - joined);
}

#[test]
fn a_model_that_nobody_allows_goes_on_as_it_came_unless_it_is_listed() {
    let (upstream, front) = pair(&[]);
    let ask = |front: &Forebay| front.infer("uncached", &[], &fp32(&[1.0]));
    for _ in 0..2 {
        let answer = ask(&front);
        assert_eq!((answer.status, answer.cache_status().ends_with(PASSED)), (200, true), "{answer:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    let cached = front.infer("uncached", &[("cache-control", "only-if-cached")], &fp32(&[1.0]));
    assert_eq!(cached.status, 504, "{cached:?}");
    let front =
        before(&upstream, &[&by_files(&test_repository())[..], &["--cache-model", "uncached=7"]].concat());
    assert_eq!(ask(&front).header("cache-control"), "max-age=7");
    assert!(ask(&front).is_hit());
}

#[test]
fn requests_have_a_say() {
    let (upstream, front) = pair(&[]);
    let ask = |name, value| front.infer(MODEL, &[(name, value)], &fp32(&[3.0]));
    assert_eq!(ask("cache-control", "only-if-cached").status, 504);
    assert_eq!(ask("cache-control", "no-store").header("cache-control"), "no-store");
    let authorized = ask("authorization", "Bearer x");
    assert!(authorized.cache_status().contains("detail=authorization"), "{authorized:?}");
    assert_eq!(ask("cache-control", "only-if-cached").status, 504, "neither was kept");
    assert!(!ask_for(&front, 3.0).is_hit() && ask("cache-control", "only-if-cached").is_hit());
    assert!(!ask("cache-control", "no-cache").is_hit());
    assert_eq!(computed(&upstream), 4);
}

#[tokio::test]
async fn errors_of_the_upstream_come_back_as_they_are_and_are_never_kept() {
    let (upstream, front) = pair(&[]);
    let wrong = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1], "data": [1.0] }] });
    let of_shared_memory = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 1],
        "parameters": { "shared_memory_region": "r", "shared_memory_byte_size": 4 } }] });
    let broken = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 1], "data": ["a"] }] });
    for body in [&wrong, &of_shared_memory, &broken] {
        let direct = upstream.infer(MODEL, &[], body);
        for _ in 0..2 {
            let passed = front.infer(MODEL, &[], body);
            assert_eq!((passed.status, passed.error()), (direct.status, direct.error()), "{body}");
            assert!(passed.status >= 400 && passed.header("cache-control") == "no-store", "{passed:?}");
        }
    }
    let refused = |at| async move {
        let asked = raw(MODEL, "FP32", &[1], &1.0_f32.to_le_bytes());
        let status = infer(&mut channel(at), asked).await.unwrap_err();
        (status.code(), status.message().to_owned())
    };
    assert_eq!(refused(&front).await, refused(&upstream).await);
    let unknown = front.infer("nope", &[], &fp32(&[1.0]));
    assert_eq!((unknown.status, unknown.error()), {
        let direct = upstream.infer("nope", &[], &fp32(&[1.0]));
        (direct.status, direct.error())
    });
}

#[tokio::test]
async fn all_else_is_the_upstreams_over_http_and_grpc_and_streams_too() {
    let (upstream, front) = pair(&[]);
    for path in
        ["/v2", "/v2/models/slow", "/v2/models/slow/config", "/v2/models/slow/ready", "/v2/models/nope"]
    {
        let (passed, direct) = (front.get(path), upstream.get(path));
        assert_eq!((passed.status, passed.json()), (direct.status, direct.json()), "{path}");
    }
    let index = |of: &Forebay| send(of.http_port, "POST", "/v2/repository/index", &[], b"{}").json();
    assert_eq!(index(&front), index(&upstream));
    let statistics = front.get("/v2/models/slow/versions/1/stats").json();
    assert_eq!(statistics["model_stats"][0]["name"], "slow");
    let v1 = send(
        front.http_port,
        "POST",
        &format!("/v1/models/{MODEL}:predict"),
        &[],
        br#"{"instances":[[1.0]]}"#,
    );
    assert_eq!((v1.status, v1.json()), (200, json!({ "predictions": [[1.0]] })));
    let ready: ServerReadyResponse =
        ask(&mut channel(&front), "ServerReady", ServerReadyRequest {}).await.unwrap();
    assert!(ready.ready);
    let path = PathAndQuery::from_static("/inference.GRPCInferenceService/ModelStreamInfer");
    let codec: ProstCodec<ModelInferRequest, ModelStreamInferResponse> = ProstCodec::default();
    let requests = (0..3_u8).map(|value| raw(MODEL, "FP32", &[1, 1], &f32::from(value).to_le_bytes()));
    let mut channel = channel(&front);
    channel.ready().await.unwrap();
    let requests = Request::new(futures_util::stream::iter(requests.collect::<Vec<_>>()));
    let answers = channel.streaming(requests, path, codec).await.unwrap().into_inner();
    let answers: Vec<ModelStreamInferResponse> = answers.map(Result::unwrap).collect().await;
    assert_eq!(answers.len(), 3, "{answers:?}");
}

#[tokio::test]
async fn an_upstream_that_is_gone_is_said_to_be_and_what_is_kept_is_given_on() {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), 1, MODEL);
    let first = upstream(root.path());
    let ports = (first.http_port, first.grpc_port);
    let front = before(&first, &by_files(root.path()));
    let ask = |value: f32| front.infer("m", &[], &fp32(&[value]));
    assert!(!ask(1.0).is_hit());
    let generation = ask(1.0).header("x-forebay-generation").to_owned();
    first.ended();
    until("it isn't ready", || (front.get("/v2/health/ready").status == 503).then_some(()));
    assert_eq!(front.get("/v2/health/live").status, 200);
    assert!(ask(1.0).is_hit(), "what was kept");
    let gone = ask(2.0);
    assert_eq!((gone.status, gone.header("retry-after")), (503, "1"), "{gone:?}");
    assert!(
        gone.error().contains("the upstream 127.0.0.1:") && gone.error().contains("try again"),
        "{gone:?}"
    );
    let status = infer(&mut channel(&front), raw("m", "FP32", &[1, 1], &2.0_f32.to_le_bytes())).await;
    assert_eq!(status.unwrap_err().code(), Code::Unavailable);
    assert_eq!(front.get("/v2").status, 503);
    let _again = upstream_at(root.path(), ports);
    until("it is ready", || (front.get("/v2/health/ready").status == 200).then_some(()));
    assert_eq!(ask(1.0).header("x-forebay-generation"), generation);
    until("results are kept", || ask(2.0).is_hit().then_some(()));
}

#[test]
fn settings_that_say_nothing_are_refused_by_name() {
    let refused_of = |arguments: &[&str]| {
        let mut command = command(&["front"]);
        let (code, said) = refused(command.args(arguments));
        assert_eq!(code, Some(2), "{said}");
        said
    };
    assert!(refused_of(&[]).contains("--to <URL>"));
    assert!(refused_of(&["--to", "triton:8000"]).contains("http://HOST:PORT"));
    let to = ["--to", "http://127.0.0.1:1"];
    for (more, expected) in [
        (&["--model-repository", "/no/such"][..], "/no/such is not a folder"),
        (&["--generation", " "], "--generation: is empty"),
        (&["--files-are-loaded"], "--model-repository"),
        (&["--model-repository", "/", "--generation", "a"], "cannot be used with"),
        (&["--cache-model", "m=soon"], "NAME=SECONDS"),
        (&["--look-secs", "0"], "--look-secs"),
    ] {
        let said = refused_of(&[&to[..], more].concat());
        assert!(said.contains(expected), "{said}");
    }
}
