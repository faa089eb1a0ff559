//! Rows that are in no trace -> what is counted of them.

use metrics::{Counter, counter};

/// Rows that are in no trace, by why.
pub(super) struct Dropped {
    /// A minute and more after its time was over.
    pub(super) late: Counter,
    /// From a time that is to come.
    pub(super) ahead: Counter,
    /// Of a key that its own report leaves out.
    pub(super) rate: Counter,
    /// Of a model too many, or of a name that none has.
    pub(super) models: Counter,
    /// Of keys so few that no rate makes room.
    pub(super) room: Counter,
}

impl Dropped {
    pub(super) fn new() -> Self {
        let by = |reason: &'static str| counter!("forebay_key_trace_dropped", "reason" => reason);
        Self {
            late: by("late"),
            ahead: by("ahead"),
            rate: by("rate"),
            models: by("models"),
            room: by("room"),
        }
    }
}
