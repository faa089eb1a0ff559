//! Clients that cancel over HTTP/2. A proxy puts their calls on one connection with those of others, who must not notice.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use prost::Message as _;
use rig::process::PATIENCE;

use crate::grpc::raw;
use crate::process::Forebay;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
/// Of DATA and HEADERS; of SETTINGS and PING it is ACK.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A connection whose frames are written as they are, so many at a time as are wanted.
struct Connection {
    stream: TcpStream,
    unsent: Vec<u8>,
    next: u32,
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Connection {
    fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connection = Self { stream, unsent: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), next: 1 };
        connection.put(SETTINGS, 0, 0, &[]);
        connection
    }

    fn put(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.unsent.extend(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
        self.unsent.extend([kind, flags]);
        self.unsent.extend(stream.to_be_bytes());
        self.unsent.extend(payload);
    }

    /// The head of a call; its stream.
    fn put_call(&mut self) -> u32 {
        let stream = self.next;
        self.next += 2;
        let mut block = Vec::new();
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "test"),
            (":path", "/inference.GRPCInferenceService/ModelInfer"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ] {
            // A literal without indexing.
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).unwrap());
                block.extend(text.as_bytes());
            }
        }
        self.put(HEADERS, END_HEADERS, stream, &block);
        stream
    }

    fn put_message(&mut self, stream: u32, message: &[u8]) {
        let framed = [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat();
        self.put(DATA, END_STREAM, stream, &framed);
    }

    fn put_cancelled(&mut self) {
        let stream = self.put_call();
        self.put(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
    }

    /// What can't be sent shows in what is received: the server says why it ended the connection.
    fn send(&mut self) {
        let _ = self.stream.write_all(&std::mem::take(&mut self.unsent));
    }

    fn receive(&mut self) -> std::io::Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload)?;
        let frame = Frame { kind, flags, stream: u32::from_be_bytes(stream), payload };
        if [SETTINGS, PING].contains(&kind) && flags & END_STREAM == 0 {
            let echo = if kind == PING { frame.payload.clone() } else { Vec::new() };
            self.put(kind, END_STREAM, 0, &echo);
            self.send();
        }
        Ok(frame)
    }
}

#[test]
fn eight_clients_that_cancel_all_the_time_are_not_noticed_by_eight_that_share_their_connection() {
    const EACH: usize = 8;
    const ROUNDS: usize = 50;
    let forebay = Forebay::serve(&["--instances", "1"]);
    let mut connection = Connection::open(forebay.grpc_port);
    let message = raw("identity_fp32", "FP32", &[1, 1], &1.0_f32.to_le_bytes()).encode_to_vec();
    for round in 0..ROUNDS {
        let mut asked = Vec::new();
        for _ in 0..EACH {
            // Each cancels several times while another asks once; all of it comes in one piece, as from a busy proxy.
            (0..EACH).for_each(|_| connection.put_cancelled());
            let stream = connection.put_call();
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
    let mut connection = Connection::open(forebay.grpc_port);
    (0..200).for_each(|_| connection.put_cancelled());
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
