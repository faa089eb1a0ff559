//! How the tests ask a `forebay`.

use rig::http::{Answer, Connection, Headers, head, request};
pub(crate) use rig::v2::request as fp32;
use rig::v2::{binary, in_binary};
use serde_json::Value;

use crate::process::Forebay;

/// Sends one request and reads the answer. A body that says where it ends is sent as it is.
pub(crate) fn send(port: u16, method: &str, path: &str, headers: Headers<'_>, body: &[u8]) -> Answer {
    let sent = if headers.iter().any(|(name, _)| *name == "transfer-encoding") {
        [&head(method, path, headers), body].concat()
    } else {
        request(method, path, headers, body)
    };
    rig::http::send(port, &sent).unwrap()
}

/// A connection on which that was sent.
pub(crate) fn begun(port: u16, sent: &[u8]) -> Connection {
    let mut connection = Connection::open(port).unwrap();
    connection.write(sent).unwrap();
    connection
}

impl Forebay {
    pub(crate) fn get(&self, path: &str) -> Answer {
        send(self.http_port, "GET", path, &[], b"")
    }

    /// Of the gate's port.
    pub(crate) fn get_of_gate(&self, path: &str) -> Answer {
        send(self.gate_port, "GET", path, &[], b"")
    }

    pub(crate) fn infer(&self, model: &str, headers: Headers<'_>, body: &Value) -> Answer {
        let path = format!("/v2/models/{model}/infer");
        send(self.http_port, "POST", &path, headers, body.to_string().as_bytes())
    }

    /// A request with one binary input and all outputs as binary.
    pub(crate) fn infer_binary(&self, model: &str, datatype: &str, shape: &[i64], data: &[u8]) -> Answer {
        let (length, body) = in_binary(datatype, shape, data);
        send(self.http_port, "POST", &format!("/v2/models/{model}/infer"), &binary(&length), &body)
    }

    /// The value of a metric with these labels, 0 when it isn't there.
    pub(crate) fn metric(&self, name: &str, model: &str) -> u64 {
        self.metric_line(&format!("{name}{{model=\"{model}\""))
    }

    /// The value of the first metric whose line starts so, 0 when there is none.
    pub(crate) fn metric_line(&self, start: &str) -> u64 {
        let text = send(self.metrics_port, "GET", "/metrics", &[], b"").body;
        let text = String::from_utf8(text).unwrap();
        let value =
            text.lines().find(|line| line.starts_with(start)).and_then(|line| line.rsplit(' ').next());
        value.map_or(0, |value| value.parse().unwrap())
    }
}
