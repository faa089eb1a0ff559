//! Sizes that nobody has said -> shares of the memory that there is, so that a small container refuses what would end it.

use super::memory::Memory;
use super::{HttpSettings, PoolKind, PoolSettings};

/// What the program takes itself, without models: as seen 85 to 96 MB.
const ITSELF: u64 = 96 << 20;
/// Of a small memory so much, one part of it, is shared out in any case.
const LEAST: u64 = 4;
/// Each size is one part of so many of what is left. Requests take about four times what is counted of them, as seen: while JSON
/// becomes tensors, and as answers, which nobody counts.
const PARTS: u64 = 8;

/// What a size may be by default.
#[derive(Clone, Copy)]
pub(super) struct Share(usize);

impl Share {
    /// A share of that memory; without bounds where it isn't known.
    pub(super) fn of(memory: Option<&Memory>) -> Self {
        let left = |memory: &Memory| memory.bytes.saturating_sub(ITSELF).max(memory.bytes / LEAST) / PARTS;
        Self(memory.map_or(usize::MAX, |memory| usize::try_from(left(memory)).unwrap_or(usize::MAX)))
    }

    /// The default, or the share where that is less.
    pub(super) fn at_most(self, default: usize) -> usize {
        self.0.min(default)
    }
}

/// The sizes that hold, as they are told at start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sizes {
    memory: Option<Memory>,
    body_budget_bytes: usize,
    max_body_bytes: usize,
    /// `serve` only.
    pub(super) max_queue_bytes: Option<usize>,
    /// With the pool in memory; of `serve`, with any.
    pub(super) pool_bytes: Option<usize>,
    /// With a pool that is shared.
    pool_queue_bytes: Option<usize>,
    /// Where requests are recorded.
    pub(super) record_queue_bytes: Option<usize>,
    /// Where they are replayed.
    pub(super) replay_bytes: Option<usize>,
}

impl Sizes {
    /// Those that `serve` and `gate` have.
    pub(super) fn of(memory: Option<Memory>, http: &HttpSettings, pool: &PoolSettings) -> Self {
        Self {
            memory,
            body_budget_bytes: http.body_budget_bytes(),
            max_body_bytes: http.max_body_bytes(),
            max_queue_bytes: None,
            pool_bytes: (pool.tier.pool == PoolKind::Memory).then(|| pool.pool_bytes()),
            pool_queue_bytes: pool.tier.is_shared().then(|| pool.pool_queue_bytes()),
            record_queue_bytes: None,
            replay_bytes: None,
        }
    }

    /// Says them in one line, and in another if memory is not enough for them.
    pub(crate) fn tell(&self) {
        let &Self {
            body_budget_bytes,
            max_body_bytes,
            max_queue_bytes,
            pool_bytes,
            pool_queue_bytes,
            record_queue_bytes,
            replay_bytes,
            ..
        } = self;
        let memory_bytes = self.memory.as_ref().map(|memory| memory.bytes);
        let memory_by = self.memory.as_ref().map(|memory| memory.by.display().to_string());
        tracing::info!(
            memory_bytes,
            memory_by,
            body_budget_bytes,
            max_body_bytes,
            max_queue_bytes,
            pool_bytes,
            pool_queue_bytes,
            record_queue_bytes,
            replay_bytes,
            "sizes"
        );
        if let Some(warning) = self.excess() {
            tracing::warn!("{warning}");
        }
    }

    /// What is wrong with them together. What waits in queues is in the budget of bodies.
    fn excess(&self) -> Option<String> {
        let memory = self.memory.as_ref()?;
        let parts = [
            ("--body-budget-bytes", Some(self.body_budget_bytes)),
            ("--pool-bytes", self.pool_bytes),
            ("--pool-queue-bytes", self.pool_queue_bytes),
            ("--record-queue-bytes", self.record_queue_bytes),
            ("--replay-within", self.replay_bytes),
        ];
        let held: Vec<(&str, u64)> =
            parts.iter().filter_map(|(flag, bytes)| Some((*flag, u64::try_from((*bytes)?).ok()?))).collect();
        let sum = held.iter().fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes));
        let flags = held.iter().map(|(flag, _)| *flag).collect::<Vec<_>>().join(" and ");
        (sum > memory.bytes).then(|| {
            format!(
                "{flags} allow {sum} bytes, but by {} there are {}: the kernel ends this program when it takes more",
                memory.by.display(),
                memory.bytes
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const MIB: usize = 1 << 20;

    fn memory(mib: usize) -> Memory {
        Memory { bytes: (mib * MIB) as u64, by: PathBuf::from("/limit") }
    }

    #[test]
    fn a_share_grows_with_memory_up_to_the_default() {
        let default = 256 * MIB;
        for (mib, share) in [(64, 2), (128, 4), (256, 20), (1120, 128), (4096, 256), (65_536, 256)] {
            assert_eq!(Share::of(Some(&memory(mib))).at_most(default), share * MIB, "{mib}");
        }
        assert_eq!(Share::of(None).at_most(default), default);
    }

    #[test]
    fn sizes_that_memory_is_not_enough_for_are_told_by_their_flags() {
        let sizes = |budget: usize, pool: usize| Sizes {
            memory: Some(memory(256)),
            body_budget_bytes: budget * MIB,
            pool_bytes: Some(pool * MIB),
            ..Sizes::default()
        };
        assert_eq!(sizes(20, 20).excess(), None);
        let warning = sizes(200, 100).excess().unwrap();
        for named in ["--body-budget-bytes and --pool-bytes", "314572800", "268435456", "/limit"] {
            assert!(warning.contains(named), "{warning}");
        }
        let replay = Sizes { replay_bytes: Some(300 * MIB), ..sizes(20, 20) };
        assert!(replay.excess().unwrap().contains("--replay-within"));
        assert_eq!(Sizes { memory: None, ..sizes(200, 100) }.excess(), None);
    }
}
