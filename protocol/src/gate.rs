//! Where the filter finds the gate's endpoints. Every answer of theirs carries `x-forebay-format`; one without it, or with
//! another version, is a miss.

/// Version of lookup, table and poll: in their paths, in `x-forebay-format` and in their JSON.
pub const FORMAT: u32 = 2;

/// `GET`, with `x-forebay-service`, `-tenant`, `-model`, `-version` and `-digest`: 200 with a plain entry, 404, or 503 when
/// it is not known which generations are live.
pub const LOOKUP_PATH: &str = "/forebay/v2/lookup";
/// `POST` of [`crate::lookups::Lookups`]: 200 with what came of each of them.
pub const LOOKUPS_PATH: &str = "/forebay/v2/lookups";
/// `POST` of a [`crate::poll::Poll`]: 200 with the table of live generations, 204 when the poller's is the newest, or 503
/// when the gate itself has none.
pub const POLL_PATH: &str = "/forebay/v2/poll";
/// `POST` of what is to be purged, by an operator's token; `GET` with `epoch` and `number`: who does not know that purge yet.
pub const PURGE_PATH: &str = "/forebay/v2/purge";
/// `GET` by an operator's token: what a gate knows.
pub const STATS_PATH: &str = "/forebay/v2/stats";
