//! Which generations are live. What each instance of `serve` says about itself (`herald`) goes to the `registry`, which is of this
//! process alone or in the pool, and from there into the table (`table`) that the filters poll and that lookups go by. `heard` says
//! how a table is made, `proxies` keeps who has which, `purges` what was purged, `reports` whose reports were counted. `fleet` tells of the servers that are alive,
//! and in a `ledger` those of one service keep what they must agree on, and its gates what waits at them.

pub(crate) mod fleet;
mod heard;
mod herald;
pub(crate) mod ledger;
mod proxies;
mod purges;
mod registry;
mod reports;
mod table;

#[cfg(test)]
mod laws;

use std::time::Duration;

pub(crate) use heard::{Record, Served};
pub(crate) use herald::Herald;
pub(crate) use proxies::{Proxies, TooMany};
pub(crate) use purges::{Name, Purged};
pub(crate) use registry::{
    Known, Leaving, MemcachedSteps, Own, PurgeError, Registry, Shared, Steps, Untold, random_name,
};
pub(crate) use reports::{Fate, Uncounted};
pub(crate) use table::{LiveTable, Standing};

/// Reads a board and writes it, for the fuzz targets: what is read is read again.
pub(crate) fn board_again(bytes: &[u8]) {
    if let Ok(board) = registry::board::Board::decode(bytes) {
        assert!(registry::board::Board::decode(&board.encode()).is_ok_and(|again| again == board));
    }
}

/// Writes a name and reads it, for the fuzz targets.
pub(crate) fn name_again(name: &Name) {
    assert_eq!(Name::read(&name.text()).as_ref(), Some(name));
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
