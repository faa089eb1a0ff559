//! What equal requests share: which of them are equal, and what their flight lands with. Next: `infer` gives it to each.

use std::sync::Arc;

use forebay_protocol::cache_control::RequestDirectives;
use forebay_protocol::digest::Key;
use forebay_protocol::entry::Entry;
use forebay_protocol::freshness::Stored;
use forebay_protocol::manner::Manner;
use opentelemetry::trace::SpanContext;

use super::flight::Sought;
use super::given::Given;
use crate::time::clock::now_ms;

/// Results that equal requests share.
pub(crate) struct Answers;

/// What equal requests have in common. One that is urgent doesn't wait for one that isn't, nor one that has less time for one that
/// has more: who leads gives up before those who wait would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Same {
    pub(crate) key: Key,
    pub(crate) manner: Manner,
}

/// What a flight lands with.
#[derive(Debug, Clone)]
pub(crate) struct Landed {
    pub(crate) found: Found,
    /// The span of the one that led, if it is traced.
    pub(crate) by: Option<SpanContext>,
}

#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// In the pool.
    Kept(Arc<Entry>),
    Computed(Done),
    /// Nobody can compute on these tensors, whoever sends them.
    Refused(String),
}

impl Sought for Answers {
    type Key = Same;
    type Want = RequestDirectives;
    type Found = Landed;

    fn takes(directives: &RequestDirectives, landed: &Landed) -> bool {
        match &landed.found {
            Found::Kept(entry) => age_s(entry, directives).is_some(),
            Found::Computed(_) | Found::Refused(_) => true,
        }
    }
}

/// The entry's age, if it may be given to a request that says `directives`.
pub(crate) fn age_s(entry: &Entry, directives: &RequestDirectives) -> Option<u64> {
    let stored = Stored { created_ms: entry.created_ms, max_age_s: entry.max_age_s };
    stored.usable(directives, now_ms()).ok().map(|usable| usable.age_s)
}

/// What a session gave.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    pub(crate) response: Given,
    pub(crate) cost_us: u64,
    pub(crate) stored: bool,
}
