//! What KEDA is told, and what anybody may ask of the scaler: it is bounded, and nobody else feels it.

use rig::http::Connection;
use rig::process::until;
use tonic::{Code, Streaming};

use super::elastic::Elastic;
use super::keda::{Asking, IsActiveResponse, Keda};
use crate::mesh::Mesh;

const SCALES: [&str; 2] = ["--scaler-port", "0"];
/// Streams that a gate tells at a time.
const STREAMS: usize = 64;
/// Streams that somebody asks for.
const CALLS: usize = 1000;

#[test]
fn keda_is_told_at_once_that_a_backend_is_wanted_and_what_there_is_to_do() {
    let elastic = Elastic::asleep(Mesh::redis(), &SCALES);
    let port = elastic.gate.scaler_port;
    let mut keda = Asking::at(port, &[("requests", "5"), ("busy", "0.5")]);
    let mut told = keda.stream().unwrap();
    assert!(!keda.next(&mut told) && !keda.is_active(), "nobody waits");
    let mut held: Vec<Connection> = (0..3_u8).map(|value| elastic.ask(f32::from(value))).collect();
    assert!(keda.next(&mut told) && keda.is_active(), "somebody waits");
    elastic.until_held(3);
    let specs = [("forebay-requests".to_owned(), 5.0), ("forebay-busy".to_owned(), 0.5)];
    assert_eq!(keda.specs().unwrap(), specs);
    for wrong in ["0", "many", "-1", "NaN"] {
        let refused = Asking::at(port, &[("busy", wrong)]).specs().unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    }
    until("they are counted", || (keda.metric("s0-forebay-requests").unwrap() >= 3.0).then_some(()));
    assert!(keda.metric("s1-forebay-busy").unwrap() < 0.001, "nobody is there to be busy");
    assert_eq!(keda.metric("more").unwrap_err().code(), Code::InvalidArgument);
    let _backend = elastic.wakes();
    assert!(held.iter_mut().all(|held| held.read().unwrap().status == 200));
    assert!(!keda.next(&mut told) && !keda.is_active(), "all are answered, and nothing else is asked");
    let ended = elastic.gate.ended();
    assert!(!ended.contains("cut"), "an open stream holds up nobody: {ended}");
}

#[test]
fn who_opens_streams_and_reads_none_takes_no_more_than_his_share_and_kedas_others_go_on() {
    let elastic = Elastic::asleep(Mesh::redis(), &SCALES);
    let port = elastic.gate.scaler_port;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (open, refused) = runtime.block_on(async {
        let mut open: Vec<Streaming<IsActiveResponse>> = Vec::new();
        let mut refused = 0;
        let mut keda = Keda::at(port, &[]);
        for _ in 0..CALLS {
            match keda.stream().await {
                Ok(stream) => open.push(stream),
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                    refused += 1;
                }
            }
        }
        (open, refused)
    });
    assert_eq!((open.len(), refused), (STREAMS, CALLS - STREAMS));
    // Whoever polls is answered all the same, and hears of what waits.
    let mut keda = Asking::at(port, &[]);
    let held: Vec<Connection> = (0..3_u8).map(|value| elastic.ask(f32::from(value))).collect();
    until("they are counted", || (keda.metric("forebay-requests").unwrap() >= 3.0).then_some(()));
    drop((held, open, runtime));
    until("the places are free again", || keda.stream().ok().map(drop));
}

#[test]
fn names_without_end_are_refused_by_a_short_sentence() {
    let elastic = Elastic::asleep(Mesh::redis(), &SCALES);
    let port = elastic.gate.scaler_port;
    let name = |bytes: usize| "n".repeat(bytes);
    let mut keda = Asking::at(port, &[]);
    for (bytes, code) in [(60 << 10, Code::InvalidArgument), (1 << 20, Code::OutOfRange)] {
        let refused = keda.metric(&name(bytes)).unwrap_err();
        assert_eq!(refused.code(), code, "{refused:?}");
        assert!(refused.message().len() < 300, "{} bytes", refused.message().len());
        let refused = Asking::at(port, &[("busy", &name(bytes))]).specs().unwrap_err();
        assert!(refused.code() == code && refused.message().len() < 300, "{refused:?}");
    }
    assert!(keda.metric("forebay-requests").is_ok());
}
