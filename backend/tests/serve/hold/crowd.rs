//! Many tiny requests that wait at once: as many as may, in bounded memory; all more are refused at once, and who has left costs nothing.

use axum::body::Body;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use rig::v2::fp32;
use tokio::runtime::Runtime;

use super::elastic::{Elastic, PATH, is_right};
use crate::mesh::Mesh;

const HELD: usize = 10_000;
const MORE: usize = 10_000;
/// Of one connection.
const STREAMS: usize = 1000;
/// What one that waits may cost, its connection's share included.
const MOST_KIB: u64 = 24;

type Http2 = Client<HttpConnector, Body>;

fn clients(count: usize) -> Vec<Http2> {
    (0..count).map(|_| Client::builder(TokioExecutor::new()).http2_only(true).build_http()).collect()
}

/// The status of the answer.
async fn ask(client: Http2, port: u16, value: f32) -> u16 {
    let uri = format!("http://127.0.0.1:{port}{PATH}");
    let asked = http::Request::post(uri).header("content-type", "application/json");
    let asked = asked.body(Body::from(fp32(&[value]))).unwrap();
    client.request(asked).await.unwrap().status().as_u16()
}

#[test]
fn ten_thousand_wait_in_bounded_memory_and_all_more_are_refused_at_once() {
    let (held, streams) = (HELD.to_string(), STREAMS.to_string());
    // A busy machine is no slow client.
    let patient = ["--min-body-rate", "0", "--body-timeout-secs", "60"];
    let bounds = [&["--hold-requests", &held, "--http2-max-streams", &streams], &patient[..]].concat();
    let elastic = Elastic::asleep(Mesh::redis(), &bounds);
    let (port, runtime) = (elastic.gate.http_port, Runtime::new().unwrap());
    let before = elastic.gate.peak_memory_kib();
    let holding = clients(HELD / STREAMS);
    for value in 0..HELD {
        runtime.spawn(ask(holding[value / STREAMS].clone(), port, value as f32));
    }
    elastic.until_held(HELD as u64);
    let each = (elastic.gate.peak_memory_kib() - before) / HELD as u64;
    assert!(each <= MOST_KIB, "{each} KiB each");
    let refused = clients(MORE / STREAMS);
    let more = (0..MORE)
        .map(|value| runtime.spawn(ask(refused[value / STREAMS].clone(), port, (HELD + value) as f32)));
    for status in more.collect::<Vec<_>>() {
        assert_eq!(runtime.block_on(status).unwrap(), 503);
    }
    let all = (elastic.gate.peak_memory_kib() - before) / HELD as u64;
    assert!(all <= MOST_KIB, "{all} KiB each, those included that were refused");
    runtime.shutdown_background();
    drop((holding, refused));
    elastic.until_held(0);
    let _backend = elastic.wakes();
    is_right(&elastic.asked(1.0), 1.0);
}
