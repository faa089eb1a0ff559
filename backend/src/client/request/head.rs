//! The head of a request over HTTP/1.1, as bytes.

use forebay_protocol::header::{CONTENT_TYPE_BINARY, CONTENT_TYPE_JSON, INFERENCE_HEADER_CONTENT_LENGTH};

use crate::client::connection::Server;

/// What every request says of who asks.
pub(super) const AGENT: &str = concat!("forebay/", env!("CARGO_PKG_VERSION"));

/// The head. `json_length`: of a body with binary tensors.
pub(super) fn head(
    server: &Server,
    method: &str,
    path: &str,
    json_length: Option<usize>,
    body_length: usize,
) -> Vec<u8> {
    let mut bytes = format!("{method} {}{path} HTTP/1.1\r\n", server.address.prefix).into_bytes();
    let mut header = |name: &str, value: &[u8]| {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    };
    header("host", server.name().as_bytes());
    header("user-agent", AGENT.as_bytes());
    if method == "POST" {
        let content_type = if json_length.is_some() { CONTENT_TYPE_BINARY } else { CONTENT_TYPE_JSON };
        header("content-type", content_type.as_bytes());
        header("content-length", body_length.to_string().as_bytes());
    }
    if let Some(length) = json_length {
        header(INFERENCE_HEADER_CONTENT_LENGTH, length.to_string().as_bytes());
    }
    for own in server.more_headers() {
        header(own.name.as_str(), own.value.as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}
