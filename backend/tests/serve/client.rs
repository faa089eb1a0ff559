//! A small HTTP client over plain sockets: one connection a request, so that what is sent is what is meant.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rig::process::PATIENCE;
use serde_json::Value;

use crate::process::Forebay;

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The sentence of V2's error form.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_else(|| panic!("no error in {self:?}")).to_owned()
    }

    pub(crate) fn is_hit(&self) -> bool {
        self.header("cache-status").contains("; hit")
    }
}

/// Names and values.
pub(crate) type Headers<'a> = &'a [(&'a str, &'a str)];

/// Sends one request and reads the answer.
pub(crate) fn send(port: u16, method: &str, path: &str, headers: Headers<'_>, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut lines =
        vec![format!("{method} {path} HTTP/1.1"), "host: test".into(), "connection: close".into()];
    if !headers.iter().any(|(name, _)| *name == "transfer-encoding") {
        lines.push(format!("content-length: {}", body.len()));
    }
    lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
    let head = lines.join("\r\n") + "\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    // A server may refuse a body before it is sent whole; its answer counts.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    parse(&answer)
}

pub(crate) fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
        (name.to_ascii_lowercase(), value.to_owned())
    };
    Answer { status, headers: lines.map(header).collect(), body: bytes[end + 4..].to_vec() }
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
        let head = serde_json::json!({
            "parameters": { "binary_data_output": true },
            "inputs": [{
                "name": "x", "datatype": datatype, "shape": shape,
                "parameters": { "binary_data_size": data.len() },
            }],
        })
        .to_string();
        let body = [head.as_bytes(), data].concat();
        let length = head.len().to_string();
        let path = format!("/v2/models/{model}/infer");
        send(self.http_port, "POST", &path, &[("inference-header-content-length", &length)], &body)
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

/// A JSON request for an FP32 model with one input `x` of one row.
pub(crate) fn fp32(values: &[f32]) -> Value {
    serde_json::json!({ "inputs": [
        { "name": "x", "datatype": "FP32", "shape": [1, values.len()], "data": values }
    ] })
}
