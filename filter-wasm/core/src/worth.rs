//! Whether lookups of a model are worth their price: what became of the last ones enters, to ask or not comes out. The backend looks into
//! the pool itself, so what a lookup spares is the way to it; where it spares less than it costs, only one now and then is made, to
//! notice when that changes. A backend of ours tells the rest: what it found in the pool a lookup would have found.

use std::collections::HashMap;

/// A lookup's price: CPU of proxy and gate, in microseconds. Measured on 2026-11-30 by `cargo xtask bench --only "callout and gate"`: a miss
/// with a gate is 280.4 where one without is 184.6, and of 64 KB 417.1 where it is 325.8.
const LOOKUP_US: f32 = 95.0;
/// What the way to a backend costs that has the answer in the pool, beyond giving it in the proxy: CPU of proxy and backend, in
/// microseconds. Measured then by `--only "way to"`: 94.8 where the proxy's own answer is 25.3.
const WAY_US: f32 = 70.0;
/// Bytes of a request that cost a microsecond on that way: 64 KB are 149.3 and 69.7.
const BYTES_PER_US: f32 = 6500.0;
/// So many of the last misses count.
const WINDOW: u8 = 64;
/// A model of which less is known is looked up in any case.
const TRIAL: u8 = 32;
/// Of a model that is not worth it one of so many misses is looked up: 1/32 of a lookup is a hundredth of a small miss.
const EVERY: u8 = 32;
/// More models than these are asked for always.
const MOST_MODELS: usize = 1024;
/// So long after it was seen that no backend was there lookups are made always, in milliseconds.
const AWAY_MS: u64 = 5000;

/// What this worker has learned, by service and model.
#[derive(Debug, Default)]
pub(crate) struct Worth {
    models: HashMap<(u16, String), Learned>,
    /// When a service was last seen without a backend.
    away_ms: HashMap<u16, u64>,
}

#[derive(Clone, Copy, Debug)]
struct Learned {
    /// What a lookup spares on average, in microseconds.
    spares_us: f32,
    /// Misses that the average is of; [`WINDOW`] at most. One whose lookup failed is none of them.
    seen: u8,
    /// Misses since the last one that was looked up.
    passed: u8,
}

impl Worth {
    /// Is a lookup of that service's model worth it now?
    pub(crate) fn asks(&mut self, of: (u16, &str), now_ms: u64) -> bool {
        let is_away = self.lacks_backend(of.0, now_ms);
        let Some(learned) = self.learned(of).filter(|_| !is_away) else { return true };
        if learned.seen < TRIAL || learned.spares_us >= LOOKUP_US || learned.passed >= EVERY - 1 {
            learned.passed = 0;
            return true;
        }
        learned.passed += 1;
        false
    }

    /// A lookup found an entry that took `cost_us` to compute, for a request of so many bytes, or would have; `None`: nothing.
    pub(crate) fn found(&mut self, of: (u16, &str), found: Option<(u64, usize)>) {
        let Some(learned) = self.learned(of) else { return };
        let spares = |(cost_us, bytes): (u64, usize)| WAY_US + cost_us as f32 + bytes as f32 / BYTES_PER_US;
        let spares_us = found.map_or(0.0, spares);
        learned.seen = learned.seen.saturating_add(1).min(WINDOW);
        learned.spares_us += (spares_us - learned.spares_us) / f32::from(learned.seen);
    }

    /// Has a request of that service met no backend lately?
    pub(crate) fn lacks_backend(&self, service: u16, now_ms: u64) -> bool {
        self.away_ms.get(&service).is_some_and(|at| now_ms.abs_diff(*at) <= AWAY_MS)
    }

    /// A request of that service met no backend.
    pub(crate) fn met_no_backend(&mut self, service: u16, now_ms: u64) {
        self.away_ms.insert(service, now_ms);
    }

    fn learned(&mut self, (service, model): (u16, &str)) -> Option<&mut Learned> {
        let (is_full, key) = (self.models.len() >= MOST_MODELS, (service, model.to_owned()));
        if is_full && !self.models.contains_key(&key) {
            return None;
        }
        Some(self.models.entry(key).or_insert(Learned { spares_us: 0.0, seen: 0, passed: 0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many misses are looked up, of which one in `every` is in the pool and took so long to compute.
    fn asked(worth: &mut Worth, misses: u32, every: u32, cost_us: u64) -> u32 {
        let mut asked = 0;
        for number in 1..=misses {
            asked += u32::from(worth.asks((0, "m"), 0));
            worth.found((0, "m"), number.is_multiple_of(every).then_some((cost_us, 1024)));
        }
        asked
    }

    #[test]
    fn a_model_whose_lookups_find_nothing_is_soon_looked_up_now_and_then() {
        let mut worth = Worth::default();
        assert_eq!(asked(&mut worth, 32, 33, 50), 32);
        let asked = asked(&mut worth, 3200, u32::MAX, 50);
        assert_eq!(asked, 100);
    }

    #[test]
    fn what_is_found_often_or_is_dear_is_looked_up_always() {
        assert_eq!(asked(&mut Worth::default(), 3200, 1, 50), 3200);
        let mut dear = Worth::default();
        let (misses, all) = (3200, asked(&mut dear, 3200, 20, 1_000_000));
        assert!(all > misses - 64, "{all}");
        let cheap = asked(&mut Worth::default(), 3200, 20, 50);
        assert!(cheap < 200, "{cheap}");
    }

    #[test]
    fn what_backends_find_in_the_pool_has_it_looked_up_again() {
        let mut worth = Worth::default();
        asked(&mut worth, 1000, u32::MAX, 0);
        for _ in 0..200 {
            worth.found((0, "m"), Some((100, 0)));
        }
        assert!((0..10).all(|_| worth.asks((0, "m"), 0)));
    }

    #[test]
    fn without_a_backend_all_are_looked_up_and_others_are_not() {
        let mut worth = Worth::default();
        asked(&mut worth, 1000, u32::MAX, 0);
        worth.met_no_backend(1, 10_000);
        assert!((0..10).filter(|_| worth.asks((0, "m"), 10_000)).count() <= 1);
        worth.met_no_backend(0, 10_000);
        assert!((0..100).all(|_| worth.asks((0, "m"), 10_000 + AWAY_MS)));
        assert!((0..10).filter(|_| worth.asks((0, "m"), 10_001 + AWAY_MS)).count() <= 1);
    }

    #[test]
    fn more_models_than_are_remembered_are_looked_up() {
        let mut worth = Worth::default();
        for number in 0..MOST_MODELS {
            worth.found((0, &number.to_string()), None);
        }
        assert!((0..100).all(|_| worth.asks((0, "another"), 0)));
    }
}
