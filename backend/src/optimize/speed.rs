//! Rounds of the original and a variant in turns -> how much faster the variant is, and how sure that is. "Not slower" holds by CPU time
//! and by wall time together: a short run fits between what disturbs the machine, so wall time alone flatters it.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

use super::judge::{Round, Took};
use super::loss::bounds::{CONFIDENCE, quantile};

/// A variant with a lower bound under it is slower: three in a hundred are no more than two equal programs differ by.
pub(crate) const NOT_SLOWER: f64 = 0.97;
/// Wall time over CPU time past which something else works on the machine.
const LOADED: f64 = 1.3;
/// Times that rounds are drawn again.
const DRAWN: usize = 500;

/// How fast a variant is with one batch size, against the original.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Speed {
    pub(crate) batch: usize,
    pub(crate) rounds: usize,
    /// Median CPU time of the original over the variant's.
    pub(crate) cpu: Ratio,
    /// The same of wall time.
    pub(crate) wall: Ratio,
    pub(crate) original: Latency,
    pub(crate) variant: Latency,
    /// Something else worked on the machine.
    pub(crate) was_loaded: bool,
}

/// More than 1 is faster.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) estimate: f64,
    /// One-sided 95 % lower bound.
    pub(crate) low: f64,
}

/// Wall time of one run, in seconds, and items a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) throughput: f64,
}

impl Speed {
    /// What rounds say.
    pub(crate) fn of(rounds: &[Round], batch: usize, seed: u64) -> Self {
        let (cpu, wall) = (|took: Took| took.cpu, |took: Took| took.wall);
        let all = |of: fn(&Round) -> f64| rounds.iter().map(of).collect::<Vec<f64>>();
        let (original, variant) = (all(|round| round.original.wall), all(|round| round.variant.wall));
        let used: f64 = all(|round| round.original.cpu + round.variant.cpu).iter().sum();
        let passed: f64 = original.iter().chain(&variant).sum();
        Self {
            batch,
            rounds: rounds.len(),
            cpu: ratio(rounds, cpu, seed),
            wall: ratio(rounds, wall, seed),
            original: latency(original, batch),
            variant: latency(variant, batch),
            was_loaded: passed > LOADED * used,
        }
    }

    /// How much faster, by what says less.
    pub(crate) fn estimate(&self) -> f64 {
        self.cpu.estimate.min(self.wall.estimate)
    }

    /// The same while variants are chosen. Where the machine does other work, wall time says who was disturbed: CPU time counts alone then.
    /// The verdict asks for both.
    pub(crate) fn likely(&self) -> f64 {
        if self.was_loaded { self.cpu.estimate } else { self.estimate() }
    }

    /// The lower bound of it.
    pub(crate) fn low(&self) -> f64 {
        self.cpu.low.min(self.wall.low)
    }
}

fn latency(mut walls: Vec<f64>, batch: usize) -> Latency {
    let p50 = quantile(&mut walls, 0.5);
    Latency { p50, p99: quantile(&mut walls, 0.99), throughput: batch as f64 / p50 }
}

/// The ratio of medians; rounds are drawn again as pairs.
fn ratio(rounds: &[Round], of: impl Fn(Took) -> f64, seed: u64) -> Ratio {
    let pairs: Vec<(f64, f64)> = rounds.iter().map(|round| (of(round.original), of(round.variant))).collect();
    let of_medians = |pairs: &mut dyn Iterator<Item = (f64, f64)>| {
        let (mut original, mut variant): (Vec<f64>, Vec<f64>) = pairs.unzip();
        quantile(&mut original, 0.5) / quantile(&mut variant, 0.5)
    };
    let mut random = SmallRng::seed_from_u64(seed);
    let mut drawn: Vec<f64> = (0..DRAWN)
        .map(|_| of_medians(&mut (0..pairs.len()).map(|_| pairs[random.random_range(0..pairs.len())])))
        .collect();
    Ratio { estimate: of_medians(&mut pairs.iter().copied()), low: quantile(&mut drawn, 1.0 - CONFIDENCE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(ratio: f64, noise: f64) -> Vec<Round> {
        let mut random = SmallRng::seed_from_u64(3);
        let mut took = |base: f64| {
            let cpu = base * (1.0 + noise * random.random::<f64>());
            Took { cpu, wall: cpu * 1.01 }
        };
        (0..200).map(|_| Round { original: took(1e-3 * ratio), variant: took(1e-3) }).collect()
    }

    #[test]
    fn the_bound_lies_under_the_estimate_and_both_near_the_truth() {
        let speed = Speed::of(&rounds(2.0, 0.2), 8, 1);
        assert!((speed.estimate() - 2.0).abs() < 0.05 && speed.low() < speed.estimate(), "{speed:?}");
        assert!(speed.low() > 1.9 && !speed.was_loaded, "{speed:?}");
        assert!((speed.variant.throughput * speed.variant.p50 - 8.0).abs() < 1e-9);
    }

    #[test]
    fn one_that_takes_as_long_is_not_slower_and_one_that_takes_a_tenth_more_is() {
        assert!(Speed::of(&rounds(1.0, 0.1), 1, 1).low() > NOT_SLOWER);
        assert!(Speed::of(&rounds(1.0 / 1.1, 0.1), 1, 1).low() < NOT_SLOWER);
    }

    #[test]
    fn a_machine_that_does_other_work_is_seen() {
        let mut rounds = rounds(1.0, 0.1);
        for round in &mut rounds {
            round.variant.wall *= 3.0;
        }
        let speed = Speed::of(&rounds, 1, 1);
        assert!(speed.was_loaded);
        // It may be chosen, and is not installed.
        assert!(speed.likely() > NOT_SLOWER && speed.low() < NOT_SLOWER, "{speed:?}");
    }
}
