//! One-sided 95 % bounds: of a share that was counted (Clopper and Pearson 1934), of anything else by drawing groups of items again
//! (the bootstrap's percentiles: Efron 1979).

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::super::samples::Item;

/// How sure a bound is.
pub(crate) const CONFIDENCE: f64 = 0.95;
/// Times that items are drawn again: a 95 % quantile of 1,000 is between its 93.8 % and 96.2 % one.
const DRAWN: usize = 1000;

/// The largest share that `count` of `items` still allow.
pub(crate) fn share(count: usize, items: usize) -> f64 {
    if count >= items {
        return 1.0;
    }
    puruspe::invbetai(CONFIDENCE, count as f64 + 1.0, (items - count) as f64)
}

/// Items that are needed so that none of them failing says that fewer than `share` fail.
pub(crate) fn items_for(share: f64) -> usize {
    if share <= 0.0 {
        return usize::MAX;
    }
    if share >= 1.0 {
        return 1;
    }
    whole((1.0 - CONFIDENCE).ln() / (1.0 - share).ln())
}

/// The next whole number; of what is no number, 0.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a cast of floats saturates
fn whole(number: f64) -> usize {
    number.ceil() as usize
}

/// The upper bound of a statistic of the items; it is given how often each was drawn. Items of one group are drawn together.
pub(crate) fn drawn(items: &[Item], seed: u64, statistic: impl Fn(&[u32]) -> f64) -> f64 {
    let mut groups: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, item) in items.iter().enumerate() {
        groups.entry(item.group).or_default().push(at);
    }
    let groups: Vec<Vec<usize>> = groups.into_values().collect();
    let mut random = SmallRng::seed_from_u64(seed);
    let mut found: Vec<f64> = (0..DRAWN)
        .map(|_| {
            let mut times = vec![0; items.len()];
            for _ in 0..groups.len() {
                groups[random.random_range(0..groups.len())].iter().for_each(|item| times[*item] += 1);
            }
            statistic(&times)
        })
        .collect();
    quantile(&mut found, CONFIDENCE)
}

/// A quantile of numbers, which are put in another order; those that are none count as the largest.
pub(crate) fn quantile(numbers: &mut [f64], share: f64) -> f64 {
    let Some(last) = numbers.len().checked_sub(1) else { return f64::INFINITY };
    let at = whole(share * numbers.len() as f64).saturating_sub(1).min(last);
    *numbers.select_nth_unstable_by(at, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_that_of_the_tables() {
        // Clopper and Pearson's own: 0 of n allows 1 - 0.05^(1/n); R's binom.test(5, 100, alternative = "less") says 0.1022534.
        for items in [10_usize, 300, 600, 3000] {
            let exact = 1.0 - 0.05_f64.powf(1.0 / items as f64);
            assert!((share(0, items) - exact).abs() < 1e-9, "{items}");
        }
        assert!((share(5, 100) - 0.102_253_4).abs() < 1e-6, "{}", share(5, 100));
        assert!((share(10, 10) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn no_failure_of_so_many_items_is_under_the_share() {
        assert_eq!(items_for(0.01), 299);
        assert_eq!(items_for(0.005), 598);
        assert_eq!(items_for(0.001), 2995);
        assert!(share(0, 299) <= 0.01 && share(0, 298) > 0.01);
        assert_eq!((items_for(0.0), items_for(1.0)), (usize::MAX, 1));
    }

    #[test]
    fn the_bound_of_a_mean_lies_about_as_far_as_theory_says() {
        let items: Vec<Item> =
            (0..400).map(|at| Item { inputs: Vec::new(), label: None, group: at }).collect();
        // Half are 1: the mean's deviation is 0.025, so its 95 % bound is 0.5 + 1.645 x 0.025.
        let mean = |times: &[u32]| {
            let sum: u32 = times.iter().enumerate().filter(|(at, _)| at % 2 == 0).map(|(_, n)| n).sum();
            f64::from(sum) / 400.0
        };
        let bound = drawn(&items, 1, mean);
        assert!((bound - 0.541).abs() < 0.006, "{bound}");
        // Two groups tell nearly nothing.
        let two: Vec<Item> =
            items.iter().map(|item| Item { group: item.group % 2, ..item.clone() }).collect();
        assert!(drawn(&two, 1, mean) > 0.9);
    }
}
