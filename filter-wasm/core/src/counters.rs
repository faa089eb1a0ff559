//! Metrics: counted here in plain memory (a host call on the hot path would cost as much as the lookup), written to the
//! proxy on the root tick.
//!
//! Names carry their labels as `.key=value` parts, which the `stats_tags` of Envoy's bootstrap turn into tags.

use crate::cache_status::Tier;
use crate::host::{Host, MetricKind};
use std::collections::HashMap;

/// What became of an inference request; one of these a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Result {
    /// Answered from the cache.
    Hit(Tier),
    /// Answered from the cache with what is not fresh any more.
    Stale,
    /// Given another request's answer.
    Collapsed,
    /// Sent upstream.
    Miss,
    /// Sent upstream unlooked-at.
    Bypass,
    /// `only-if-cached` without a usable answer: 504.
    Unsatisfiable,
    /// A call whose own time was over while it waited.
    Late,
}

/// Things counted that are not a request's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Answers stored in L1.
    Stored,
    /// Upstream answers that may not be stored, were broken off, or too large.
    NotStored,
    /// Waiters sent upstream on their own.
    Freed,
    /// Waiters sent upstream to lead.
    Promoted,
    /// Callouts to the gate that failed or timed out.
    GateFailed,
    /// Callouts that the gate refused: this proxy may not ask, or not for that tenant.
    GateRefused,
    /// Answers of a gate of another version.
    GateUnknownFormat,
    /// Callouts not made because the breaker was open.
    GateSkipped,
    /// Stale answers that were made anew behind the requests that got them.
    Refreshed,
    /// Those that could not be.
    RefreshFailed,
    /// Stale answers that were given instead of an upstream's error.
    StaleIfError,
    /// Lookups not made because those of the model cost more than they spare.
    LookupSpared,
    /// Lookups that went to the gate with others, in one message.
    LookupBatched,
    /// Answers to calls that were not given, because the proxy has no route for them.
    NoRoute,
    /// Answers not collected or not given, and requests that were not looked at, or neither waited nor asked, because the worker's
    /// memory for them was spent.
    OutOfMemory,
    /// Shadow mode: the stored answer equals the upstream's.
    ShadowMatch,
    /// Shadow mode: it does not.
    ShadowMismatch,
}

impl Result {
    /// As a metric's label.
    pub fn text(self) -> &'static str {
        match self {
            Self::Hit(Tier::Raw) => "hit_raw",
            Self::Hit(Tier::Vm) => "hit_vm",
            Self::Hit(Tier::Shared) => "hit_shared",
            Self::Hit(Tier::L2) => "hit_l2",
            Self::Stale => "hit_stale",
            Self::Collapsed => "collapsed",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
            Self::Unsatisfiable => "unsatisfiable",
            Self::Late => "late",
        }
    }
}

fn event_label(event: Event) -> &'static str {
    match event {
        Event::Stored => "stored",
        Event::NotStored => "not_stored",
        Event::Freed => "waiter_freed",
        Event::Promoted => "waiter_promoted",
        Event::GateFailed => "gate_failed",
        Event::GateRefused => "gate_refused",
        Event::GateUnknownFormat => "gate_unknown_format",
        Event::GateSkipped => "gate_skipped",
        Event::Refreshed => "refreshed",
        Event::RefreshFailed => "refresh_failed",
        Event::StaleIfError => "stale_if_error",
        Event::LookupSpared => "lookup_spared",
        Event::LookupBatched => "lookup_batched",
        Event::NoRoute => "no_hit_route",
        Event::OutOfMemory => "out_of_memory",
        Event::ShadowMatch => "shadow_match",
        Event::ShadowMismatch => "shadow_mismatch",
    }
}

/// A counter: a request's result by service, or an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Counter {
    Requests(u16, Result),
    Event(Event),
}

/// Counts since the last flush, and the proxy's numbers for the metrics seen so far.
#[derive(Default)]
pub struct Counters {
    pending: HashMap<Counter, u64>,
    ids: HashMap<String, u32>,
    /// What this worker's share of each gauge was when it was written last.
    shares: HashMap<&'static str, u64>,
}

impl Counters {
    /// Counts a request of the service with that number.
    pub fn request(&mut self, service: u16, result: Result) {
        self.add(Counter::Requests(service, result));
    }

    /// Counts an event.
    pub fn event(&mut self, event: Event) {
        self.add(Counter::Event(event));
    }

    fn add(&mut self, counter: Counter) {
        let count = self.pending.entry(counter).or_default();
        *count = count.saturating_add(1);
    }

    /// Writes what was counted to the proxy, and this worker's share of the gauges with it: all VMs write the same gauge, so each
    /// adds what its share has changed by. `services` gives each number its name.
    pub fn flush(&mut self, host: &dyn Host, services: &[String], gauges: &[(&'static str, u64)]) {
        let pending = std::mem::take(&mut self.pending);
        for (counter, amount) in pending {
            let name = match counter {
                Counter::Requests(service, result) => {
                    let service = services.get(usize::from(service)).map_or("", String::as_str);
                    format!("forebay_requests.service={service}.result={}", result.text())
                }
                Counter::Event(event) => format!("forebay_events.event={}", event_label(event)),
            };
            if let Some(id) = self.id(host, MetricKind::Counter, name) {
                host.add_metric(id, i64::try_from(amount).unwrap_or(i64::MAX));
            }
        }
        for (name, share) in gauges {
            let before = self.shares.insert(name, *share).unwrap_or(0);
            let change = i64::try_from(share.abs_diff(before)).unwrap_or(i64::MAX);
            if let Some(id) = self.id(host, MetricKind::Gauge, (*name).to_owned()).filter(|_| change != 0) {
                host.add_metric(id, if *share > before { change } else { change.saturating_neg() });
            }
        }
    }

    /// Writes what was counted, for the last time, and takes this worker's share out of every gauge.
    pub fn end(&mut self, host: &dyn Host, services: &[String]) {
        let gone: Vec<_> = self.shares.keys().map(|name| (*name, 0)).collect();
        self.flush(host, services, &gone);
    }

    fn id(&mut self, host: &dyn Host, kind: MetricKind, name: String) -> Option<u32> {
        if let Some(id) = self.ids.get(&name) {
            return Some(*id);
        }
        let id = host.define_metric(kind, &name)?;
        self.ids.insert(name, id);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::double::Double;

    #[test]
    fn the_page_names_every_label() {
        let page = include_str!("../../README.md");
        let hits = Tier::ALL.iter().map(|tier| Result::Hit(*tier));
        let results = hits
            .chain([Result::Stale, Result::Collapsed, Result::Miss, Result::Bypass, Result::Unsatisfiable])
            .map(Result::text);
        let events = [
            Event::Stored,
            Event::NotStored,
            Event::Freed,
            Event::Promoted,
            Event::GateFailed,
            Event::GateRefused,
            Event::GateUnknownFormat,
            Event::GateSkipped,
            Event::OutOfMemory,
            Event::ShadowMatch,
            Event::ShadowMismatch,
        ];
        for label in results.chain(events.map(event_label)) {
            assert!(page.contains(&format!("`{label}`")), "filter-wasm/README.md does not name `{label}`");
        }
    }

    #[test]
    fn what_was_counted_is_written_once() {
        let host = Double::default();
        let mut counters = Counters::default();
        let services = ["demo".to_owned()];
        counters.request(0, Result::Miss);
        counters.request(0, Result::Miss);
        counters.event(Event::Stored);
        counters.flush(&host, &services, &[("forebay_waiters", 3)]);
        counters.flush(&host, &services, &[("forebay_waiters", 1)]);
        Counters::default().flush(&host, &services, &[("forebay_waiters", 5)]);
        let metrics = host.metrics.borrow();
        assert_eq!(metrics.get("forebay_requests.service=demo.result=miss"), Some(&2));
        assert_eq!(metrics.get("forebay_events.event=stored"), Some(&1));
        assert_eq!(metrics.get("forebay_waiters"), Some(&6), "the shares of two workers");
        drop(metrics);
        counters.event(Event::Stored);
        counters.end(&host, &services);
        let metrics = host.metrics.borrow();
        assert_eq!(metrics.get("forebay_waiters"), Some(&5), "the share of the one that is left");
        assert_eq!(metrics.get("forebay_events.event=stored"), Some(&2));
    }
}
