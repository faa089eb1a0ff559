//! Which request comes next: always the same, one that never was, or one of many, some of them often.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand_distr::{Distribution as _, Zipf};

use crate::settings::Repeats;

/// Makes neighbours far apart (the golden ratio, as 64 bits).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The law of a whole command.
#[derive(Clone)]
pub(super) struct Law {
    pub(super) repeats: Repeats,
    pub(super) keys: u64,
    pub(super) skew: f64,
    pub(super) seed: u64,
    /// The first number that was never drawn; runs after one another share it.
    fresh: Arc<AtomicU64>,
    /// The same, of ids.
    ids: Arc<AtomicU64>,
}

impl Law {
    pub(super) fn new(repeats: Repeats, keys: u64, skew: f64, seed: u64) -> Self {
        // Commands begin far from each other, for what differs by the number may be all that differs.
        let first = || Arc::new(AtomicU64::new(seed.wrapping_mul(SPREAD) >> 17));
        Self { repeats, keys, skew, seed, fresh: first(), ids: first() }
    }

    /// An id that no request had.
    pub(super) fn id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Do requests differ at all?
    pub(super) fn is_varied(&self) -> bool {
        self.repeats != Repeats::Same
    }

    /// The draws of one connection.
    pub(super) fn draws(&self, connection: u64) -> Draws {
        match self.repeats {
            Repeats::Same => Draws::Same,
            Repeats::Unique => Draws::Unique(self.fresh.clone()),
            Repeats::Zipf => Draws::Zipf(
                Zipf::new(self.keys as f64, self.skew).expect("there are keys, and the skew is 0 or more"),
                Box::new(SmallRng::seed_from_u64(self.seed ^ connection.wrapping_mul(SPREAD))),
            ),
        }
    }
}

/// The numbers of a connection's requests.
pub(super) enum Draws {
    Same,
    Unique(Arc<AtomicU64>),
    Zipf(Zipf<f64>, Box<SmallRng>),
}

impl Draws {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a whole number from 1 to `keys`
    pub(super) fn next(&mut self) -> u64 {
        match self {
            Self::Same => 0,
            Self::Unique(fresh) => fresh.fetch_add(1, Ordering::Relaxed),
            Self::Zipf(law, random) => law.sample(random) as u64 - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 200_000;

    /// How often each of 100 keys is drawn.
    fn counts(skew: f64) -> Vec<f64> {
        let mut draws = Law::new(Repeats::Zipf, 100, skew, 5).draws(0);
        let mut counts = vec![0.0; 100];
        for _ in 0..DRAWS {
            counts[usize::try_from(draws.next()).unwrap()] += 1.0;
        }
        counts
    }

    #[test]
    fn the_kth_key_is_drawn_by_its_weight() {
        for skew in [0.0, 0.7, 1.0, 2.0] {
            let weights: Vec<f64> = (1..=100).map(|rank| f64::from(rank).powf(-skew)).collect();
            let sum: f64 = weights.iter().sum();
            for (rank, (count, weight)) in counts(skew).into_iter().zip(&weights).enumerate() {
                let expected = DRAWS as f64 * weight / sum;
                // Five deviations of a count.
                assert!(
                    (count - expected).abs() < 5.0 * expected.sqrt() + 1.0,
                    "{skew}, {rank}: {count}, {expected}"
                );
            }
        }
    }

    #[test]
    fn connections_draw_alike_but_not_the_same() {
        let law = Law::new(Repeats::Zipf, 1_000_000, 0.0, 5);
        let draw = |connection| {
            let mut draws = law.draws(connection);
            (0..5).map(|_| draws.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn no_number_of_unique_requests_comes_twice_whoever_draws() {
        let law = Law::new(Repeats::Unique, 1, 1.0, 5);
        let (mut one, mut other) = (law.draws(0), law.draws(1));
        let first = one.next();
        assert_eq!([other.next(), other.next(), one.next()], [1, 2, 3].map(|more| first + more));
        let next = Law::new(Repeats::Unique, 1, 1.0, 6).draws(0).next();
        assert!(next.abs_diff(first) > 1 << 30, "another command's are far away: {first}, {next}");
    }
}
