//! A gate as the buffer of a service without backends: who asks is answered by the pool, or waits for a backend to wake.

mod crowd;
mod cycles;
mod elastic;
mod gates;
mod keda;
mod operator;
mod scaler;
mod trouble;

use std::time::{Duration, Instant};

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rig::http::{Connection, request};
use rig::process::until;
use rig::v2::{JSON, binary, fp32, fp32_binary};
use tonic::{Code, Request};

use crate::client::begun;
use crate::grpc::{SERVICE, answer, channel_at, raw};
use crate::mesh::Mesh;
pub(crate) use elastic::{Elastic, PATH, asks};
use forebay_protocol::messages::ModelInferResponse;

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
        until("one is wanted", || (elastic.gate.metric_line("forebay_hold_wakes") == 1).then_some(()));
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
        assert_eq!(elastic.gate.metric_line("forebay_hold_wakes"), 1, "one wake for all");
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
