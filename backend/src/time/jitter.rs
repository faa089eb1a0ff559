//! A pause -> one that is a little longer, so that what failed together isn't tried again together.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The pause and up to a quarter of it, by chance.
pub(crate) fn jittered(pause: Duration) -> Duration {
    // The standard library's one source of randomness: the keys of its hash maps.
    let chance = RandomState::new().hash_one(()) as f64 / u64::MAX as f64;
    pause + pause.mul_f64(chance / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_differ_and_stay_in_their_bounds() {
        let pause = Duration::from_secs(4);
        let pauses: Vec<Duration> = (0..64).map(|_| jittered(pause)).collect();
        assert!(pauses.iter().all(|jittered| (pause..=pause + pause / 4).contains(jittered)), "{pauses:?}");
        assert!(pauses.iter().any(|jittered| *jittered != pauses[0]), "{pauses:?}");
    }
}
