//! gRPC calls of the V2 protocol in bytes of the test's own, over [`http2`](crate::http2); and calls that are cancelled
//! faster than any client's library can.

use crate::http2::Connection;
use rig::frames::{self, CALL, framed};
use rig::http::Answer;

/// The V2 protocol's service.
pub const SERVICE: &str = "inference.GRPCInferenceService";

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

/// Calls `method` (`service/name`); its status is header `grpc-status` of the answer.
///
/// # Panics
/// The stream is reset.
pub fn call(connection: &Connection, method: &str, message: &[u8]) -> Answer {
    connection.post(&format!("/{method}"), &CALL, vec![framed(message)]).remove(0)
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
    let mut connection = frames::Connection::open(port)?;
    let mut begun = Vec::new();
    for _ in 0..count {
        let stream = connection.put_call(method);
        connection.put_message(stream, message);
        match when {
            Cancelled::AtOnce => connection.put_reset(stream),
            Cancelled::Read => begun.push(stream),
        }
    }
    connection.until_read()?;
    for stream in begun {
        connection.put_reset(stream);
    }
    connection.until_read()
}
