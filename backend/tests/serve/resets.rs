//! Clients that cancel over HTTP/2. A proxy puts their calls on one connection with those of others, who must not notice.

use prost::Message as _;
use rig::frames::{Connection, END_STREAM, GOAWAY, HEADERS, RST_STREAM};

use crate::grpc::raw;
use crate::process::Forebay;

const METHOD: &str = "inference.GRPCInferenceService/ModelInfer";
const ENHANCE_YOUR_CALM: u32 = 11;

fn put_cancelled(connection: &mut Connection) {
    let stream = connection.put_call(METHOD);
    connection.put_reset(stream);
}

#[test]
fn eight_clients_that_cancel_all_the_time_are_not_noticed_by_eight_that_share_their_connection() {
    const EACH: usize = 8;
    const ROUNDS: usize = 50;
    let forebay = Forebay::serve(&["--instances", "1"]);
    let mut connection = Connection::open(forebay.grpc_port).unwrap();
    let message = raw("identity_fp32", "FP32", &[1, 1], &1.0_f32.to_le_bytes()).encode_to_vec();
    for round in 0..ROUNDS {
        let mut asked = Vec::new();
        for _ in 0..EACH {
            // Each cancels several times while another asks once; all of it comes in one piece, as from a busy proxy.
            (0..EACH).for_each(|_| put_cancelled(&mut connection));
            let stream = connection.put_call(METHOD);
            connection.put_message(stream, &message);
            asked.push(stream);
        }
        connection.send();
        let mut answered = 0;
        while answered < EACH {
            let frame = connection.receive().unwrap_or_else(|error| panic!("round {round}: {error}"));
            assert_ne!(frame.kind, GOAWAY, "round {round}: {frame:?}");
            if asked.contains(&frame.stream) {
                assert_ne!(frame.kind, RST_STREAM, "round {round}: {frame:?}");
                answered += usize::from(frame.kind == HEADERS && frame.flags & END_STREAM > 0);
            }
        }
    }
    let computed = ["success", "failure"]
        .map(|outcome| forebay.metric(&format!("nv_inference_request_{outcome}"), "identity_fp32"));
    assert_eq!(computed, [(EACH * ROUNDS) as u64, 0]);
}

#[test]
fn a_bound_on_pending_resets_ends_the_connection_that_passes_it() {
    let forebay = Forebay::serve(&["--instances", "1", "--http2-max-pending-resets", "10"]);
    let mut connection = Connection::open(forebay.grpc_port).unwrap();
    (0..200).for_each(|_| put_cancelled(&mut connection));
    connection.send();
    let end = loop {
        let frame = connection.receive().unwrap();
        if frame.kind == GOAWAY {
            break frame;
        }
    };
    assert_eq!(end.payload[4..8], ENHANCE_YOUR_CALM.to_be_bytes(), "{end:?}");
    assert_eq!(forebay.get("/v2/health/ready").status, 200);
}
