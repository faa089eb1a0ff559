//! What operators and gates say to each other, as JSON: `operate` answers it, `client::cache` asks.

use std::collections::BTreeMap;

use forebay_protocol::digest::Digest;
use forebay_protocol::generations::LiveModel;
use serde::{Deserialize, Serialize};

/// What is to be purged: all results of a service, or of one model, one tenant or both in it; or the result of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Purge {
    pub(crate) service: String,
    /// "" for all.
    #[serde(default)]
    pub(crate) model: String,
    /// "" for all.
    #[serde(default)]
    pub(crate) tenant: String,
    /// Of that request alone, whose service, model and tenant it has in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<Digest>,
}

/// A purge that was taken: it is over for a gate's proxies when they have the epoch, and for servers when they know the number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Purged {
    pub(crate) epoch: u64,
    pub(crate) number: u64,
    /// How many copies of the pool have it, of how many.
    pub(crate) copies: u64,
    pub(crate) of: u64,
}

/// Who doesn't know a purge yet, for one; `None`: all do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Lags {
    pub(crate) lags: Option<String>,
}

/// What a gate knows.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stats {
    /// Of its table of live generations.
    pub(crate) epoch: u64,
    /// The highest purge number; 0 for none.
    pub(crate) purged: u64,
    /// Those that poll this gate, and how many of them have an older table.
    pub(crate) proxies: usize,
    pub(crate) behind: usize,
    /// Servers that are alive, by service.
    pub(crate) replicas: BTreeMap<String, usize>,
    pub(crate) live: Vec<LiveModel>,
    pub(crate) saved: Vec<Saving>,
}

/// What proxies have reported to this gate of a model since it was started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Saving {
    pub(crate) service: String,
    pub(crate) model: String,
    pub(crate) hits: u64,
    pub(crate) saved_us: u64,
}
