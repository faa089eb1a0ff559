//! What the host calls of one VM act on: its worker's streams and callouts, and who is calling.

use super::shared::Shared;
use super::stream::{Call, Headers, Stream, StreamId};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::rc::Rc;
use wasmtime::{StoreLimits, StoreLimitsBuilder};

/// What a VM's memory may grow to in Envoy: V8 refuses more. What is freed stays the VM's.
pub const MEMORY_LIMIT_BYTES: usize = 1 << 30;

/// What the filter asked for, to be done when its callback has returned.
pub(crate) enum Action {
    Reply { context: StreamId, status: u16, headers: Headers, body: Vec<u8> },
    Continue { context: StreamId },
}

/// The answer of a callout while it is told; no headers: it was reset.
#[derive(Default)]
pub(crate) struct Answered {
    pub(crate) headers: Option<Headers>,
    pub(crate) body: Vec<u8>,
}

/// One worker's state. It outlives the VM.
pub(crate) struct State {
    pub(crate) shared: Rc<Shared>,
    pub(crate) limits: StoreLimits,
    pub(crate) worker: usize,
    pub(crate) configuration: Vec<u8>,
    pub(crate) streams: BTreeMap<StreamId, Stream>,
    /// Contexts of the VM as it is now. A stream whose context is not among them was a dead one's.
    pub(crate) contexts: HashSet<u32>,
    /// Whose callback runs.
    pub(crate) current: u32,
    /// On whose behalf it acts, if not its own; 0: its own.
    pub(crate) effective: u32,
    pub(crate) actions: VecDeque<Action>,
    pub(crate) calls: BTreeMap<u32, Call>,
    pub(crate) next_token: u32,
    pub(crate) answered: Answered,
    /// Clusters that Envoy does not know.
    pub(crate) unknown_clusters: HashSet<String>,
    pub(crate) logs: Vec<String>,
    pub(crate) tick_ms: u32,
    /// Replies that the running callback has asked for.
    pub(crate) replies: usize,
    pub(crate) most_replies: usize,
    /// The callback that returned last has asked for a reply.
    pub(crate) replied: bool,
}

impl State {
    pub(crate) fn new(shared: Rc<Shared>, worker: usize, configuration: &str) -> Self {
        Self {
            shared,
            limits: StoreLimitsBuilder::new().memory_size(MEMORY_LIMIT_BYTES).build(),
            worker,
            configuration: configuration.as_bytes().to_vec(),
            streams: BTreeMap::new(),
            contexts: HashSet::new(),
            current: 0,
            effective: 0,
            actions: VecDeque::new(),
            calls: BTreeMap::new(),
            next_token: 1,
            answered: Answered::default(),
            unknown_clusters: HashSet::new(),
            logs: Vec::new(),
            tick_ms: 0,
            replies: 0,
            most_replies: 0,
            replied: false,
        }
    }

    /// The context that a host call acts on.
    pub(crate) fn acting(&self) -> u32 {
        if self.effective != 0 && self.contexts.contains(&self.effective) {
            self.effective
        } else {
            self.current
        }
    }

    /// The stream that a host call acts on, if it is one's.
    pub(crate) fn stream(&mut self) -> Option<&mut Stream> {
        let acting = self.acting();
        self.streams.get_mut(&acting)
    }
}
