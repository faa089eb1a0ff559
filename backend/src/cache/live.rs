//! Which generations are live. What each instance of `serve` says about itself (`tier`) -> the table (`table`) that the filters
//! poll and that lookups go by. With the pool in memory the table has one instance; with Redis (`redis`) all of them. `heard` says
//! how a table is made, `script` counts its epochs, `proxies` keeps who has which,
//! `reports` whose reports were counted.

mod heard;
mod proxies;
mod redis;
mod reports;
mod script;
mod table;
mod tier;

#[cfg(test)]
mod board;
#[cfg(test)]
mod laws;

use std::time::Duration;

pub(crate) use heard::{Record, Served};
pub(crate) use proxies::{Proxies, TooMany};
pub(crate) use redis::Follow;
pub(crate) use reports::{Fate, Reports, Uncounted};
pub(crate) use table::{LiveTable, Standing};
pub(crate) use tier::{Tier, Untold, random_name};

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
