//! gRPC calls of the V2 protocol in bytes of the test's own, over [`http2`](crate::http2); and calls that are cancelled
//! faster than any client's library can.

use crate::http2::Connection;
use rig::http::Answer;
use rig::process::PATIENCE;
use std::io::{Read, Write};
use std::net::TcpStream;

/// The V2 protocol's service.
pub const SERVICE: &str = "inference.GRPCInferenceService";

/// What every call's headers say.
const HEADERS: [(&str, &str); 2] = [("content-type", "application/grpc"), ("te", "trailers")];

/// A length-delimited field of protobuf.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).ok().filter(|length| *length < 128).expect("a short field");
    [&[(number << 3) | 2, length][..], bytes].concat()
}

/// `ModelInferRequest`: `x` of shape `[1, 1]` and FP32.
pub fn infer_request(model: &str, value: f32) -> Vec<u8> {
    let tensor = [field(1, b"x"), field(2, b"FP32"), field(3, &[1, 1])].concat();
    [field(1, model.as_bytes()), field(5, &tensor), field(7, &value.to_le_bytes())].concat()
}

/// A message with gRPC's prefix: not compressed, and how long it is.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short message");
    [&[0][..], &length.to_be_bytes(), message].concat()
}

/// Calls `method` (`service/name`); its status is header `grpc-status` of the answer.
///
/// # Panics
/// The stream is reset.
pub fn call(connection: &Connection, method: &str, message: &[u8]) -> Answer {
    connection.post(&format!("/{method}"), &HEADERS, vec![framed(message)]).remove(0)
}

/// HTTP/2's frames, by their type.
const DATA: u8 = 0;
const HEADERS_FRAME: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
/// Flags of them.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The reason of a reset: the client wants the answer no more.
const CANCEL: u32 = 8;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// HPACK without its tables: each name and value as it is.
fn literals(headers: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("short")][..], text.as_bytes()].concat();
    headers.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// When calls are cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// Right behind their message, in the same write.
    AtOnce,
    /// When the other side has read them.
    Read,
}

/// Makes `count` calls on a connection of their own and cancels them all. Returns when the other side has read that, so that
/// who does it again and again asks for no more than is handled.
///
/// # Errors
/// The other side has closed.
pub fn cancel(port: u16, method: &str, message: &[u8], count: u32, when: Cancelled) -> std::io::Result<()> {
    let path = format!("/{method}");
    let pseudo = [(":method", "POST"), (":scheme", "http"), (":path", path.as_str()), (":authority", "test")];
    let head = literals(&[&pseudo[..], &HEADERS].concat());
    let call = |stream| {
        let headers = frame(HEADERS_FRAME, END_HEADERS, stream, &head);
        [headers, frame(DATA, END_STREAM, stream, &framed(message))].concat()
    };
    let reset = |stream| frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
    let streams = (0..count).map(|number| 2 * number + 1);
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
    connection.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    if when == Cancelled::AtOnce {
        return written(&mut connection, streams.flat_map(|stream| [call(stream), reset(stream)].concat()));
    }
    written(&mut connection, streams.clone().flat_map(call))?;
    written(&mut connection, streams.flat_map(reset))
}

/// Writes the bytes in one piece and waits until the other side has read them.
fn written(connection: &mut TcpStream, bytes: impl Iterator<Item = u8>) -> std::io::Result<()> {
    connection.write_all(&bytes.chain(frame(PING, 0, 0, &[0; 8])).collect::<Vec<_>>())?;
    until_acknowledged(connection)
}

/// Reads frames until the ping's answer comes.
fn until_acknowledged(connection: &mut TcpStream) -> std::io::Result<()> {
    loop {
        let mut head = [0; 9];
        connection.read_exact(&mut head)?;
        let length = usize::from_be_bytes([0, 0, 0, 0, 0, head[0], head[1], head[2]]);
        connection.read_exact(&mut vec![0; length])?;
        if head[3] == PING && head[4] & ACK != 0 {
            return Ok(());
        }
    }
}
