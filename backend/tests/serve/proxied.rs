//! A gate's endpoints as a proxy uses them: polls, and lookups that say what is live.

use forebay_protocol::gate::{LOOKUP_PATH, POLL_PATH};
use forebay_protocol::generations::Table;
use rig::http::{Answer, Headers};
use serde_json::{Value, json};

use crate::client::send;
use crate::process::Forebay;

/// A proxy that has no table yet.
pub(crate) const NONE: Option<&Table> = None;

/// One poll of a proxy that has a table, or none yet.
pub(crate) fn poll(gate: &Forebay, proxy: &str, has: Option<&Table>, wait_ms: u64) -> Answer {
    let (epoch, proof) = has.map_or((0, ""), |has| (has.epoch, has.proof.as_str()));
    claim(gate, proxy, (epoch, proof), wait_ms)
}

/// One poll of whoever says that of himself.
pub(crate) fn claim(gate: &Forebay, proxy: &str, (epoch, proof): (u64, &str), wait_ms: u64) -> Answer {
    let poll = json!({
        "format": 2, "proxy": proxy, "vm": 1, "epoch": epoch, "proof": proof, "wait_ms": wait_ms, "seq": 1,
    });
    polled(gate, &[], &poll)
}

/// A report by itself.
pub(crate) fn report(gate: &Forebay, proxy: &str, seq: u64, report: &Value) -> Answer {
    let poll = json!({
        "format": 2, "proxy": proxy, "vm": 1, "epoch": 0, "wait_ms": 0, "seq": seq, "report": report,
    });
    polled(gate, &[], &poll)
}

fn polled(gate: &Forebay, headers: Headers<'_>, poll: &Value) -> Answer {
    let answer = send(gate.gate_port, "POST", POLL_PATH, headers, poll.to_string().as_bytes());
    assert_eq!(answer.header("x-forebay-format"), "2", "{answer:?}");
    answer
}

/// The table that a poll got.
pub(crate) fn table(answer: &Answer) -> Table {
    assert_eq!(answer.status, 200, "{answer:?}");
    Table::parse(&answer.body).unwrap()
}

/// The generations of `m` in it.
pub(crate) fn live(table: &Table) -> Vec<String> {
    let rows = table.models.iter().filter(|row| row.model == "m" && row.version.is_empty());
    rows.flat_map(|row| row.generations.iter().map(ToString::to_string)).collect()
}

/// What a lookup says is live of a model; `None` when the gate does not know. Nobody has to be told of who looks up.
pub(crate) fn looked_up(gate: &Forebay, model: &str) -> Option<String> {
    let digest = "0".repeat(64);
    let headers =
        [("x-forebay-service", "default"), ("x-forebay-model", model), ("x-forebay-digest", &digest)];
    let answer = send(gate.gate_port, "GET", LOOKUP_PATH, &headers, b"");
    (answer.status == 404).then(|| answer.header("x-forebay-generation").to_owned())
}
