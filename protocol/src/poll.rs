//! What a proxy tells the gate when it polls: which table it has, and what only it knows, hits and the compute time that they
//! saved, what became of requests and how long that took, with a trace of sampled keys. A filter makes it, the gate takes it.

use crate::gate::FORMAT;
use crate::proof::PROOF_BYTES;
use serde::{Deserialize, Serialize};

/// Largest poll that the gate takes, in bytes of JSON.
pub const MAX_POLL_BYTES: usize = 256 << 10;
/// Longest name of a proxy.
pub const MAX_PROXY_BYTES: usize = 64;
/// Most rows of each kind in one report.
pub const MAX_ROWS: usize = 1024;
/// Upper bounds of the steps in which `latency` counts, in milliseconds; one more step is for what took longer.
pub const LATENCY_MS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 30_000];
/// Highest number of a report: beyond, doubles don't tell all whole numbers apart.
pub const MAX_SEQ: u64 = 1 << 53;
/// Longest that the gate holds a poll, in milliseconds.
pub const MAX_WAIT_MS: u64 = 30_000;

/// A poll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// Version of this form.
    pub format: u32,
    /// Which proxy asks: a random name that it keeps while it runs.
    pub proxy: String,
    /// Which of its VMs: reports are counted by VM.
    pub vm: u64,
    /// Epoch of the table that all its workers have, 0 for none: what is older is acknowledged with it.
    pub epoch: u64,
    /// The proof that came with that table. An epoch without it is taken for 0.
    #[serde(default)]
    pub proof: String,
    /// How long the gate may hold the poll while that is the newest table, in milliseconds; 0: answer at once.
    pub wait_ms: u64,
    /// Number of the report within its VM, from 1. One that comes again is counted once at most.
    pub seq: u64,
    /// What happened since the report before.
    #[serde(default)]
    pub report: Report,
}

/// What only a proxy knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Sums by service and model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub saved: Vec<Saved>,
    /// What became of requests, by service. Older filters say nothing of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ends: Vec<End>,
    /// How long it took, by what answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latency: Vec<Latency>,
    /// Requests of the sampled keys, in the order in which they were answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<Trace>,
    /// A key is sampled when its keyed hash is below this part of 2^32.
    #[serde(default)]
    pub trace_rate: u32,
}

impl Report {
    /// Is there nothing to say?
    pub fn is_empty(&self) -> bool {
        self.saved.is_empty() && self.ends.is_empty() && self.latency.is_empty() && self.trace.is_empty()
    }
}

/// Hits in a proxy, and the compute time that they saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The service.
    pub service: String,
    /// The model.
    pub model: String,
    /// Requests answered without the backend.
    pub hits: u64,
    /// Compute time of the answers given, in microseconds.
    pub cost_us: u64,
}

/// Requests of a service that came to the same end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The service.
    pub service: String,
    /// As in the proxy's own `forebay_requests`: `hit_raw`, `miss`.
    pub result: String,
    /// Why, in the words of `Cache-Status`: `stale`, `no-store`. A hit has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// How long answers took in the proxy, from a complete request to the begin of its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// What answered.
    pub tier: Tier,
    /// How many took up to each of [`LATENCY_MS`] and longer than the one before; the last, how many took longer than all.
    pub counts: Vec<u64>,
}

/// One request of a sampled key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// When it was answered, in milliseconds since 1970.
    pub at_ms: u64,
    /// The service.
    pub service: String,
    /// The model.
    pub model: String,
    /// Hash of the tenant's name; 0 without tenants.
    pub tenant: u64,
    /// The key's keyed hash, the first eight bytes.
    pub key: u64,
    /// Size of the answer, in bytes.
    pub bytes: u64,
    /// Compute time of the answer, in microseconds; 0 when it is not known.
    pub cost_us: u64,
    /// What answered.
    pub tier: Tier,
}

/// What answered a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// L1, for an exact repeat.
    Raw,
    /// L1, the worker's own map.
    Vm,
    /// L1, the slots that the workers share.
    Shared,
    /// The pool, through the gate.
    L2,
    /// An equal request that was on its way.
    Collapsed,
    /// The upstream.
    Upstream,
}

impl Tier {
    /// As it is sent.
    pub fn text(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Vm => "vm",
            Self::Shared => "shared",
            Self::L2 => "l2",
            Self::Collapsed => "collapsed",
            Self::Upstream => "upstream",
        }
    }
}

/// Bytes that are no poll of this version.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// Not JSON, or of another shape.
    #[error("the poll is not the JSON expected: {0}")]
    Shape(#[from] serde_json::Error),
    /// Of another version.
    #[error("the poll has format {0}: this program reads format {FORMAT}")]
    UnknownFormat(u32),
    /// A name that could break lines and keys.
    #[error("the poll's name of the proxy must be 1 to {MAX_PROXY_BYTES} visible ASCII characters")]
    Proxy,
    /// More than is taken.
    #[error("the poll's {field} is {found}: at most {most} is taken")]
    TooLarge {
        /// Which member.
        field: &'static str,
        /// How much came.
        found: u64,
        /// How much is taken.
        most: u64,
    },
}

/// What is looked at first: a later version may have any other members.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

impl Poll {
    /// Reads a poll and checks its bounds.
    ///
    /// # Errors
    /// [`PollError`].
    pub fn parse(json: &[u8]) -> Result<Self, PollError> {
        let within = |field, found: u64, most: u64| {
            if found > most { Err(PollError::TooLarge { field, found, most }) } else { Ok(()) }
        };
        within("size in bytes", json.len() as u64, MAX_POLL_BYTES as u64)?;
        let Versioned { format } = serde_json::from_slice(json)?;
        if format != FORMAT {
            return Err(PollError::UnknownFormat(format));
        }
        let poll: Self = serde_json::from_slice(json)?;
        let is_visible = poll.proxy.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_visible || !(1..=MAX_PROXY_BYTES).contains(&poll.proxy.len()) {
            return Err(PollError::Proxy);
        }
        within("proof in bytes", poll.proof.len() as u64, PROOF_BYTES as u64)?;
        within("wait_ms", poll.wait_ms, MAX_WAIT_MS)?;
        within("seq", poll.seq, MAX_SEQ)?;
        within("number of sums", poll.report.saved.len() as u64, MAX_ROWS as u64)?;
        within("number of ends", poll.report.ends.len() as u64, MAX_ROWS as u64)?;
        within("number of latencies", poll.report.latency.len() as u64, MAX_ROWS as u64)?;
        within("number of traces", poll.report.trace.len() as u64, MAX_ROWS as u64)?;
        Ok(poll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = r#"{"format":2,"proxy":"p","vm":1,"epoch":0,"wait_ms":2000,"seq":1}"#;

    #[test]
    fn a_poll_needs_no_report_and_reads_back() {
        let mut poll = Poll::parse(PLAIN.as_bytes()).unwrap();
        assert!(poll.report.is_empty());
        poll.report.saved.push(Saved { service: "s".into(), model: "m".into(), hits: 2, cost_us: 9 });
        let (service, result) = ("s".to_owned(), "miss".to_owned());
        poll.report.ends.push(End { service, result, reason: "stale".into(), count: 3 });
        poll.report.latency.push(Latency { tier: Tier::Upstream, counts: vec![0, 3] });
        poll.report.trace.push(Trace {
            at_ms: 1,
            service: "s".into(),
            model: "m".into(),
            tenant: 0,
            key: 7,
            bytes: 10,
            cost_us: 4,
            tier: Tier::L2,
        });
        assert_eq!(Poll::parse(&serde_json::to_vec(&poll).unwrap()).unwrap(), poll);
    }

    #[test]
    fn a_tier_is_called_as_it_is_sent() {
        for tier in [Tier::Raw, Tier::Vm, Tier::Shared, Tier::L2, Tier::Collapsed, Tier::Upstream] {
            assert_eq!(serde_json::to_value(tier).unwrap(), tier.text());
        }
    }

    #[test]
    fn other_formats_and_what_is_too_large_are_refused_by_name() {
        let refused =
            |from: &str, to: &str| Poll::parse(PLAIN.replace(from, to).as_bytes()).unwrap_err().to_string();
        assert!(refused("\"format\":2", "\"format\":9").contains("format 9"));
        assert!(refused("2000", "2000000").contains("wait_ms"));
        assert!(refused("\"seq\":1", "\"seq\":9007199254740993").contains("seq"));
        assert!(refused("\"p\"", &format!("\"{}\"", "p".repeat(65))).contains("name of the proxy"));
        for name in ["", "a b", "a\\nb", "\u{e9}"] {
            assert!(refused("\"p\"", &format!("\"{name}\"")).contains("name of the proxy"), "{name}");
        }
        assert!(refused("\"vm\":1,", "").contains("vm"));
    }
}
