//! A gate as the buffer of a service without backends: who asks is answered by the pool, or waits for a backend to wake.

use std::time::{Duration, Instant};

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rig::http::{Answer, Connection, request};
use rig::process::{free_port, until};
use rig::v2::{JSON, binary, fp32, fp32_binary};
use tonic::{Code, Request};

use crate::client::begun;
use crate::grpc::{SERVICE, answer, channel_at, raw};
use crate::mesh::Mesh;
use crate::process::{Forebay, command, test_repository};
use forebay_protocol::messages::ModelInferResponse;
use rig::installed::onnxruntime;

pub(crate) const PATH: &str = "/v2/models/identity_fp32/infer";

/// A service whose backends come and go, and its gate.
pub(crate) struct Elastic {
    mesh: Mesh,
    pub(crate) gate: Forebay,
    http: u16,
    grpc: u16,
    metrics: u16,
}

impl Elastic {
    pub(crate) fn asleep(mesh: Mesh, more: &[&str]) -> Self {
        let (http, grpc) = (free_port(), free_port());
        let held_for = format!("http://127.0.0.1:{http}");
        let grpc_port = grpc.to_string();
        let metrics_port = free_port();
        let metrics = metrics_port.to_string();
        let hold = [
            "--hold-for",
            &held_for,
            "--hold-for-grpc-port",
            &grpc_port,
            "--hold-for-metrics-port",
            &metrics,
            "--hold-ports",
            "0,0",
        ];
        let gate = Forebay::gate(&mesh.arguments(&[&hold, more].concat()));
        Self { mesh, gate, http, grpc, metrics: metrics_port }
    }

    /// A backend wakes.
    pub(crate) fn wakes(&self) -> Forebay {
        let ports =
            ["--http-port", &self.http.to_string(), "--grpc-port", &self.grpc.to_string()].map(str::to_owned);
        let mut serve = command(&["serve", "--http-address", "127.0.0.1", "--grpc-address", "127.0.0.1"]);
        serve.args(ports).args([
            "--metrics-port",
            &self.metrics.to_string(),
            "--metrics-address",
            "127.0.0.1",
        ]);
        serve.args(self.mesh.arguments(&["--instances", "1"]));
        serve.arg("--model-repository").arg(test_repository()).arg("--onnxruntime").arg(onnxruntime());
        Forebay::start(serve)
    }

    pub(crate) fn ask(&self, value: f32) -> Connection {
        begun(self.gate.http_port, &request("POST", PATH, &JSON, &fp32(&[value])))
    }

    fn asked(&self, value: f32) -> Answer {
        self.ask(value).read().unwrap()
    }

    pub(crate) fn until_held(&self, count: u64) {
        until("they are held", || (self.gate.metric_line("forebay_held_requests") == count).then_some(()));
    }
}

#[test]
fn who_asks_while_no_backend_is_there_waits_for_one_in_each_encoding_and_repeats_need_none() {
    for mesh in Mesh::each() {
        let elastic = Elastic::asleep(mesh, &[]);
        let json = elastic.ask(1.0);
        let (length, body) = fp32_binary(&[2.0]);
        let in_binary = request("POST", PATH, &binary(&length), &body);
        let held_binary = begun(elastic.gate.http_port, &in_binary);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let port = elastic.gate.grpc_port;
        let call = |value: f32| async move {
            let asked = Request::new(raw("identity_fp32", "FP32", &[1, 1], &value.to_le_bytes()));
            answer::<_, ModelInferResponse>(&mut channel_at(port), &format!("{SERVICE}/ModelInfer"), asked)
                .await
        };
        let held_grpc = runtime.spawn(call(3.0));
        elastic.until_held(3);
        assert_eq!(elastic.gate.metric_line("forebay_hold_wakes"), 1, "one wake for all");
        let backend = elastic.wakes();
        for mut held in [json, held_binary] {
            let answer = held.read().unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!(answer.cache_status().contains("forebay-gate; fwd=uri-miss; detail=held"), "{answer:?}");
        }
        let held_grpc = runtime.block_on(held_grpc).unwrap().unwrap();
        assert_eq!(held_grpc.get_ref().raw_output_contents[0], 3.0_f32.to_le_bytes().as_slice());
        elastic.until_held(0);
        // What was answered is in the pool, whatever it came by.
        for value in [1.0, 2.0, 3.0] {
            until("it is kept", || {
                (elastic.asked(value).cache_status() == "forebay-gate; hit").then_some(())
            });
        }
        drop(backend);
        until("the pool answers", || {
            (elastic.asked(2.0).header("cache-status") == "forebay-gate; hit").then_some(())
        });
        assert_eq!(
            begun(elastic.gate.http_port, &in_binary).read().unwrap().header("cache-status"),
            "forebay-gate; hit"
        );
        let hit = runtime.block_on(call(1.0)).unwrap();
        assert_eq!(hit.metadata().get("cache-status").unwrap(), "forebay-gate; hit");
        assert_eq!(hit.get_ref().raw_output_contents[0], 1.0_f32.to_le_bytes().as_slice());
        assert_eq!(elastic.gate.metric_line("forebay_hold_wakes"), 1);
    }
}

#[test]
fn equal_requests_are_computed_once_and_all_are_answered() {
    let elastic = Elastic::asleep(Mesh::redis(), &[]);
    let mut equal: Vec<Connection> = (0..100).map(|_| elastic.ask(1.0)).collect();
    let mut other = elastic.ask(2.0);
    elastic.until_held(2);
    let backend = elastic.wakes();
    assert!(equal.iter_mut().all(|held| held.read().unwrap().status == 200));
    assert_eq!(other.read().unwrap().status, 200);
    assert_eq!(backend.metric("nv_inference_count", "identity_fp32"), 2);
}

#[test]
fn a_thousand_are_handed_over_without_a_refusal_of_the_backends_queue() {
    let elastic = Elastic::asleep(Mesh::redis(), &[]);
    let mut held: Vec<Connection> = (0..1000_u16).map(|value| elastic.ask(f32::from(value))).collect();
    elastic.until_held(1000);
    let backend = elastic.wakes();
    let wrong: Vec<u16> =
        held.iter_mut().map(|held| held.read().unwrap().status).filter(|status| *status != 200).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(backend.metric_line("nv_inference_request_failure{"), 0);
    assert_eq!(elastic.gate.metric_line("forebay_hold_wakes"), 1);
}

#[test]
fn who_finds_no_room_or_no_time_is_told_when_to_come_again_and_who_left_is_forgotten() {
    let elastic = Elastic::asleep(Mesh::redis(), &["--hold-requests", "2", "--hold-timeout-secs", "60"]);
    let (first, second) = (elastic.ask(1.0), elastic.ask(2.0));
    elastic.until_held(2);
    let full = elastic.asked(3.0);
    assert_eq!(full.status, 503, "{full:?}");
    assert!(full.error().contains("--hold-requests"), "{full:?}");
    assert!(full.header("retry-after").parse::<u64>().unwrap() >= 1);
    drop((first, second));
    elastic.until_held(0);
    let short = [&JSON[..], &[("x-envoy-expected-rq-timeout-ms", "300")]].concat();
    let began = Instant::now();
    let late = begun(elastic.gate.http_port, &request("POST", PATH, &short, &fp32(&[1.0]))).read().unwrap();
    assert_eq!(late.status, 503, "{late:?}");
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    assert!(late.error().contains("no backend was ready"), "{late:?}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut asked = Request::new(raw("identity_fp32", "FP32", &[1, 1], &1.0_f32.to_le_bytes()));
    asked.set_timeout(Duration::from_millis(300));
    let path = format!("{SERVICE}/ModelInfer");
    let late = runtime.block_on(async {
        answer::<_, ModelInferResponse>(&mut channel_at(elastic.gate.grpc_port), &path, asked).await
    });
    let late = late.unwrap_err();
    assert!([Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled].contains(&late.code()), "{late:?}");
}

#[test]
fn a_backend_is_woken_by_inferences_alone() {
    let elastic = Elastic::asleep(Mesh::redis(), &[]);
    let get = |path: &str| begun(elastic.gate.http_port, &request("GET", path, &[], b"")).read().unwrap();
    assert_eq!(get("/v2/health/ready").status, 200);
    assert_eq!(get("/v2/models/identity_fp32/ready").status, 503);
    let asked = get("/v2/models/identity_fp32");
    assert_eq!((asked.status, asked.error().contains("an inference wakes one")), (503, true), "{asked:?}");
    let only = [&JSON[..], &[("cache-control", "only-if-cached")]].concat();
    let asked = begun(elastic.gate.http_port, &request("POST", PATH, &only, &fp32(&[1.0]))).read().unwrap();
    assert_eq!(asked.status, 504, "{asked:?}");
    assert_eq!(elastic.gate.metric_line("forebay_hold_wakes"), 0);
    let backend = elastic.wakes();
    assert_eq!(get("/v2/models/identity_fp32").status, 200, "it passes what is asked to one that is there");
    let over_http2 = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<String>();
        let uri = format!("http://127.0.0.1:{}/v2/models/identity_fp32", elastic.gate.http_port);
        client.get(uri.parse().unwrap()).await.unwrap().status()
    });
    assert_eq!(over_http2, 200, "whatever the client's HTTP is, the backend's is its own");
    until("what is live is known", || (get("/v2/models/identity_fp32/ready").status == 200).then_some(()));
    let nowhere = request("POST", "/v2/models/nowhere/infer", &JSON, &fp32(&[1.0]));
    let unknown = begun(elastic.gate.http_port, &nowhere).read().unwrap();
    assert_eq!(unknown.status, 404, "the backend says it: {unknown:?}");
    assert_eq!(elastic.gate.metric_line("forebay_hold_wakes"), 0, "for a model that nobody has");
    drop(backend);
}

/// Written by the build script.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, dead_code)]
mod keda {
    include!(concat!(env!("OUT_DIR"), "/externalscaler.rs"));
}

#[test]
fn keda_is_told_at_once_that_a_backend_is_wanted_and_what_there_is_to_do() {
    let elastic = Elastic::asleep(Mesh::redis(), &["--scaler-port", "0"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let scaler = &mut channel_at(elastic.gate.scaler_port);
    let about = |metadata: &[(&str, &str)]| keda::ScaledObjectRef {
        name: "backend".into(),
        namespace: "serving".into(),
        scaler_metadata: metadata.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
    };
    let mut told = runtime.block_on(async {
        scaler.ready().await.unwrap();
        let path = "/externalscaler.ExternalScaler/StreamIsActive".parse().unwrap();
        let codec = tonic_prost::ProstCodec::<keda::ScaledObjectRef, keda::IsActiveResponse>::default();
        scaler.server_streaming(Request::new(about(&[])), path, codec).await.unwrap().into_inner()
    });
    let mut next = || runtime.block_on(told.message()).unwrap().unwrap().result;
    assert!(!next(), "nobody waits");
    let mut held: Vec<Connection> = (0..3_u8).map(|value| elastic.ask(f32::from(value))).collect();
    assert!(next(), "somebody waits");
    elastic.until_held(3);
    let mut call = |method: &str, metadata: &[(&str, &str)]| {
        let path = format!("/externalscaler.ExternalScaler/{method}");
        let asked = Request::new(about(metadata));
        runtime.block_on(crate::grpc::call::<_, keda::GetMetricSpecResponse>(scaler, &path, asked))
    };
    let specs = call("GetMetricSpec", &[("requests", "5"), ("busy", "0.5")]).unwrap().metric_specs;
    let specs: Vec<_> = specs.iter().map(|spec| (&*spec.metric_name, spec.target_size_float)).collect();
    assert_eq!(specs, [("forebay-requests", 5.0), ("forebay-busy", 0.5)]);
    for wrong in ["0", "many", "-1", "NaN"] {
        let refused = call("GetMetricSpec", &[("busy", wrong)]).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    }
    let mut metric = |name: &str| {
        let asked = keda::GetMetricsRequest { metric_name: name.into(), ..Default::default() };
        let path = "/externalscaler.ExternalScaler/GetMetrics";
        let answered: Result<keda::GetMetricsResponse, _> =
            runtime.block_on(crate::grpc::call(scaler, path, Request::new(asked)));
        answered.map(|metrics| metrics.metric_values[0].metric_value_float)
    };
    until("they are counted", || (metric("s0-forebay-requests").unwrap() >= 3.0).then_some(()));
    assert!(metric("s1-forebay-busy").unwrap() < 0.001, "nobody is there to be busy");
    assert_eq!(metric("more").unwrap_err().code(), Code::InvalidArgument);
    let _backend = elastic.wakes();
    assert!(held.iter_mut().all(|held| held.read().unwrap().status == 200));
    assert!(!next(), "all are answered, and nothing else is asked");
    let ended = elastic.gate.ended();
    assert!(!ended.contains("cut"), "an open stream holds up nobody: {ended}");
}
