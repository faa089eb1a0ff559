//! What is counted twice: for Triton's statistics, which are read, and for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge};

use crate::proto::StatisticDuration;

/// One more on a gauge, until it is dropped.
pub(crate) struct Gauged<'a>(&'a Gauge);

impl<'a> Gauged<'a> {
    pub(crate) fn by_one(gauge: &'a Gauge) -> Self {
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for Gauged<'_> {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// How often: here, and in a metric.
pub(super) struct Count {
    count: AtomicU64,
    published: Counter,
}

impl Count {
    pub(super) fn new(published: Counter) -> Self {
        Self { count: AtomicU64::new(0), published }
    }

    pub(super) fn add(&self, more: u64) {
        self.count.fetch_add(more, Ordering::Relaxed);
        self.published.increment(more);
    }

    pub(super) fn get(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// How often, and how long in all: nanoseconds here, microseconds in the metric.
pub(super) struct Timed {
    count: Count,
    ns: AtomicU64,
    us: Counter,
}

impl Timed {
    pub(super) fn new(count: Counter, us: Counter) -> Self {
        Self { count: Count::new(count), ns: AtomicU64::new(0), us }
    }

    pub(super) fn add(&self, count: u32, took: Duration) {
        const NS_PER_US: u64 = 1000;
        self.count.add(count.into());
        let more = nanos(took);
        let before = self.ns.fetch_add(more, Ordering::Relaxed);
        // No fraction of a microsecond is lost from one event to the next.
        self.us.increment(before.wrapping_add(more) / NS_PER_US - before / NS_PER_US);
    }

    pub(super) fn get(&self) -> StatisticDuration {
        StatisticDuration { count: self.count.get(), ns: self.ns.load(Ordering::Relaxed) }
    }
}

/// Whole nanoseconds.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
