//! Whether more requests disagree than may: counts enter, evidence leaves. It may be looked at after each request, for ever.
//!
//! Requests are compared one after another, and each disagrees with some chance. As long as that chance is never above the budget b,
//! given all that came before, (p/b)^k ((1-p)/(1-b))^(n-k) is a supermartingale for each p above b (k of n disagreed): the expected
//! factor of the next request is linear in its chance, 1 where that is b, and less below. So is any mixture of these over p that is
//! fixed beforehand; and a supermartingale that begins at 1 ever reaches 1/a with a chance of a at most (J. Ville, Étude critique de
//! la notion de collectif, 1939). The mixture is H. Robbins' (Statistical methods related to the law of the iterated logarithm, Ann.
//! Math. Statist. 41, 1970) over a grid instead of a beta density, as in S. R. Howard et al., Time-uniform, nonparametric,
//! nonasymptotic confidence sequences, Ann. Statist. 49, 2021 (3.4): it needs no incomplete beta function, and is as exact. The
//! order of requests doesn't matter, so counts of several servers are added up to one test.

use super::Counts;

/// The chance of an alarm that is false, ever, is no higher.
pub(crate) const LEVEL: f64 = 0.05;
/// Points of the mixture lie at half powers of two between the budget and one: none nearer to the budget than this share of it.
/// What exceeds it by less is not worth an alarm, and a grid that is finer finds the rest later.
const NEAREST: f64 = 0.125;
/// No more than so many.
const MOST_POINTS: u32 = 64;

/// The natural logarithm of the evidence that requests disagree more often than `budget` says: 0 is none.
pub(crate) fn log_evidence(budget: f64, counts: Counts) -> f64 {
    let Counts { compared, disagreed } = counts;
    if budget <= 0.0 {
        // Nothing may disagree.
        return if disagreed > 0 { f64::INFINITY } else { 0.0 };
    }
    let agreed = compared.saturating_sub(disagreed) as f64;
    let above = 1.0 - budget;
    let points = (1..=MOST_POINTS)
        .map(|half| above * 0.5_f64.powf(f64::from(half) / 2.0))
        .take_while(|over| *over >= NEAREST * budget)
        .map(|over| {
            let (of_disagreeing, of_agreeing) = ((over / budget).ln_1p(), (-over / above).ln_1p());
            disagreed as f64 * of_disagreeing + agreed * of_agreeing
        });
    let logs: Vec<f64> = points.collect();
    let Some(most) = logs.iter().copied().reduce(f64::max) else { return 0.0 };
    let sum: f64 = logs.iter().map(|log| (log - most).exp()).sum();
    most + sum.ln() - (logs.len() as f64).ln()
}

/// Whether the evidence is enough.
pub(crate) fn is_broken(budget: f64, counts: Counts) -> bool {
    log_evidence(budget, counts) >= -LEVEL.ln()
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    /// After how many requests the alarm comes, if it is looked at after each. Evidence grows only when one disagrees.
    fn alarm(budget: f64, requests: u64, seed: u64, mut chance: impl FnMut(Counts) -> f64) -> Option<u64> {
        let (mut random, mut counts) = (SmallRng::seed_from_u64(seed), Counts::default());
        (1..=requests).find(|_| {
            let disagrees = random.random::<f64>() < chance(counts);
            counts.compared += 1;
            counts.disagreed += u64::from(disagrees);
            disagrees && is_broken(budget, counts)
        })
    }

    fn alarms(budget: f64, runs: u64, requests: u64, chance: impl Fn(Counts) -> f64) -> f64 {
        let alarms = (0..runs).filter(|seed| alarm(budget, requests, *seed, &chance).is_some());
        alarms.count() as f64 / runs as f64
    }

    #[test]
    fn false_alarms_stay_below_the_level_though_it_is_looked_at_after_each_request() {
        for budget in [0.001, 0.01, 0.05, 0.3] {
            let share = alarms(budget, 1000, 4000, |_| budget);
            assert!(share <= LEVEL, "{share} of runs at {budget}");
        }
        // A fixed bound that is looked at again and again doesn't: that is what this is for.
        let budget = 0.05;
        let naive = (0..300_u64).filter(|seed| {
            let (mut random, mut disagreed) = (SmallRng::seed_from_u64(*seed), 0.0);
            (1..=4000).any(|number| {
                disagreed += f64::from(u8::from(random.random::<f64>() < budget));
                let number = f64::from(number);
                number >= 100.0 && disagreed > number * budget + 1.645 * (number * budget * 0.95).sqrt()
            })
        });
        assert!(naive.count() > 60);
    }

    #[test]
    fn they_do_so_where_the_chance_changes_with_what_was_seen() {
        let budget = 0.05;
        let runs_hot = |counts: Counts| {
            let is_ahead = counts.disagreed as f64 > counts.compared as f64 * budget;
            if is_ahead { budget } else { budget * 0.5 }
        };
        let share = alarms(budget, 1000, 4000, runs_hot);
        assert!(share <= LEVEL, "{share}");
    }

    #[test]
    fn a_broken_budget_is_found_out() {
        for (budget, chance, within) in
            [(0.01, 0.05, 1500), (0.01, 0.02, 6000), (0.05, 0.15, 400), (0.001, 1.0, 5)]
        {
            let found = alarms(budget, 200, within, |_| chance);
            assert!(found >= 0.9, "{found} of runs of {within} requests with {chance} at {budget}");
        }
    }

    #[test]
    fn evidence_begins_at_none_falls_while_all_agree_and_nothing_may_disagree_at_a_budget_of_none() {
        let counts = |compared, disagreed| Counts { compared, disagreed };
        assert!(log_evidence(0.01, counts(0, 0)).abs() < 1e-9);
        let falls = [0, 10, 100, 1000].map(|compared| log_evidence(0.01, counts(compared, 0)));
        assert!(falls.windows(2).all(|two| two[1] < two[0]), "{falls:?}");
        assert!(!is_broken(0.0, counts(1_000_000, 0)) && is_broken(0.0, counts(1_000_000, 1)));
        assert!(!log_evidence(0.5, counts(u64::MAX, u64::MAX / 3)).is_nan());
    }
}
