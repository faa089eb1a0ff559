//! A worker and its proxy: what a client, the upstream and the gate do goes in, callback by callback.

use super::*;
use crate::config::Config;
use crate::host::double::Double;
use forebay_protocol::entry::Entry;
use forebay_protocol::messages::{InferOutputTensor, ModelInferResponse};

pub(super) const NOW_MS: u64 = 1_790_000_000_000;
pub(super) const BODY: &[u8] = br#"{"inputs":[{"name":"x","shape":[1],"datatype":"INT32","data":[7]}]}"#;
pub(super) const SPACED: &[u8] = br#"{"inputs": [{"name":"x","shape":[1],"datatype":"INT32","data":[7]}]}"#;
pub(super) const WITH_ID: &[u8] =
    br#"{"id":"mine","inputs":[{"name":"x","shape":[1],"datatype":"INT32","data":[7]}]}"#;
pub(super) const AS_BINARY: &[u8] = br#"{"parameters":{"binary_data_output":true},"inputs":[{"name":"x","shape":[1],"datatype":"INT32","data":[7]}]}"#;
pub(super) const ANSWER: &[u8] = br#"{"model_name":"m","outputs":[]}"#;
pub(super) const POST: [(&str, &str); 2] = [(":method", "POST"), (":path", "/v2/models/m/infer")];
pub(super) const FRESH: [(&str, &str); 2] = [(":status", "200"), ("cache-control", "max-age=60")];
pub(super) const GENERATION: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// A worker, and its proxy.
pub(super) struct World {
    pub(super) worker: Worker,
    pub(super) host: Double,
    pub(super) next: u32,
    /// Of the poll under way.
    poll: Option<Ticket>,
}

impl World {
    pub(super) fn new(settings: &str) -> Self {
        let config = format!(r#"{{"service": "demo"{settings}}}"#);
        let host = Double::default();
        host.now_ms.set(NOW_MS);
        let mut worker = Worker::new(Config::parse(config.as_bytes()).unwrap());
        worker.on_start(&host, 1);
        let mut world = Self { worker, host, next: 100, poll: None };
        world.hears_what_lives();
        world
    }

    /// Where there is a gate, it tells that all generations of these tests live.
    pub(super) fn hears_what_lives(&mut self) {
        let acts = self.worker.on_tick(&self.host);
        if acts.list.is_empty() {
            return;
        }
        self.takes(acts);
        let entries = "01".repeat(32);
        let table = format!(
            r#"{{"format": 2, "epoch": 1, "now_ms": 0, "models": [{{"service": "demo", "model": "m", "version": "", "generations": ["{GENERATION}", "{entries}"]}}]}}"#
        );
        self.hears(&[(":status", "200")], table.as_bytes());
    }

    /// The gate's answer to the poll.
    pub(super) fn hears(&mut self, headers: &[(&str, &str)], body: &[u8]) {
        let format = [("x-forebay-format", "2")];
        self.host.shows(Of::Call, &[headers, &format].concat(), body);
        let poll = self.poll.take().expect("a poll is under way");
        // It was held for a while.
        self.host.now_ms.set(self.host.now_ms.get() + 100);
        let acts = self.worker.on_call_response(&self.host, poll, Some(body.len()));
        self.takes(acts);
    }

    fn takes(&mut self, acts: Acts) {
        self.poll = acts.list.into_iter().find_map(|act| match act {
            Act::Call(poll) => Some(poll.ticket),
            _ => None,
        });
    }

    /// A request's headers, with more of them.
    pub(super) fn opens(&mut self, more: &[(&str, &str)]) -> (Exchange, Acts) {
        self.next += 1;
        let mut exchange = Exchange::new(self.next);
        self.host.shows(Of::Request, &[&POST[..], more].concat(), b"");
        let acts = exchange.on_request_headers(&mut self.worker, &self.host, false);
        (exchange, acts)
    }

    pub(super) fn sends_body(&mut self, exchange: &mut Exchange, body: &[u8], ends: bool) -> Acts {
        self.host.shows(Of::Request, &[], body);
        exchange.on_request_body(&mut self.worker, &self.host, body.len(), ends)
    }

    /// A whole request, with more headers.
    pub(super) fn asks_with(&mut self, more: &[(&str, &str)], body: &[u8]) -> (Exchange, Acts) {
        let (mut exchange, acts) = self.opens(more);
        assert_eq!(acts.flow, Flow::Pause);
        let acts = self.sends_body(&mut exchange, body, true);
        (exchange, acts)
    }

    pub(super) fn asks(&mut self, body: &[u8]) -> (Exchange, Acts) {
        self.asks_with(&[], body)
    }

    /// The upstream's headers: what the client is told, and whether the root context is woken.
    pub(super) fn begins(&mut self, exchange: &mut Exchange, headers: &[(&str, &str)]) -> (String, bool) {
        self.host.shows(Of::Response, headers, b"");
        let acts = exchange.on_response_headers(&mut self.worker, &self.host, false);
        let mut told = String::new();
        for act in &acts.list {
            if let Act::SetResponseHeader { name: "cache-status", value } = act {
                told.clone_from(value);
            }
        }
        (told, acts.list.contains(&Act::Wake))
    }

    pub(super) fn ends(&mut self, exchange: &mut Exchange, body: &[u8]) -> Acts {
        self.host.shows(Of::Response, &[], body);
        exchange.on_response_body(&mut self.worker, &self.host, body.len(), true)
    }

    /// An answer of the upstream's, whole.
    pub(super) fn answers(
        &mut self,
        exchange: &mut Exchange,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> String {
        let (told, _) = self.begins(exchange, headers);
        self.ends(exchange, body);
        told
    }

    /// The gate's answer.
    pub(super) fn gate_says(&mut self, exchange: &mut Exchange, status: &str, body: &[u8]) -> Acts {
        self.host.shows(Of::Call, &[(":status", status), ("x-forebay-format", "2")], body);
        exchange.on_call_response(&mut self.worker, &self.host, Ticket::Lookup, Some(body.len()))
    }

    pub(super) fn leaves(&mut self, mut exchange: Exchange) -> Acts {
        exchange.on_end(&mut self.worker, &self.host)
    }

    /// The root context's turn: whom it answers, with what status, and whom it sends upstream.
    pub(super) fn wakes(&mut self) -> Vec<(u32, String)> {
        let acts = self.worker.on_wake(&self.host);
        let acts = acts.list.into_iter().filter(|act| *act != Act::Wake);
        acts.map(|act| match act {
            Act::Answer { context, reply: Reply::Kept { status, id, .. } } => {
                (context, format!("{id}{status}"))
            }
            Act::Resume { context } => (context, "goes on".to_owned()),
            other => panic!("{other:?}"),
        })
        .collect()
    }
}

/// How `acts` answer, if that is all they do: the tier and the id.
pub(super) fn hit(acts: &Acts) -> Option<(String, &str)> {
    match (acts.flow, acts.list.as_slice()) {
        (Flow::Pause, [Act::Answer { reply: Reply::Kept { status, id, .. }, .. }]) => {
            Some((status.to_string(), id))
        }
        _ => None,
    }
}

pub(super) fn call(acts: &Acts) -> Option<&Call> {
    match (acts.flow, acts.list.as_slice()) {
        (Flow::Pause, [Act::Call(call)]) => Some(call),
        _ => None,
    }
}

pub(super) fn entry(age_s: u64) -> Vec<u8> {
    let output = InferOutputTensor {
        name: "y".into(),
        datatype: "INT32".into(),
        shape: vec![1],
        ..Default::default()
    };
    let response = ModelInferResponse {
        model_name: "m".into(),
        outputs: vec![output],
        raw_output_contents: vec![7_i32.to_le_bytes().to_vec().into()],
        ..Default::default()
    };
    let entry = Entry {
        response: Some(response),
        generation: vec![1; 32].into(),
        created_ms: NOW_MS - 1000 * age_s,
        max_age_s: 60,
        ..Entry::default()
    };
    entry.encode_plain()
}

pub(super) const GATE: &str = r#", "gate": {"cluster": "gate"}"#;
