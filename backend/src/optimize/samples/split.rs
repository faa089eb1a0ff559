//! Items -> three splits: what variants are calibrated on, what they are chosen by, and what is reported of them and was never looked at
//! before. Groups are never parted.

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;

use super::{Item, SampleError};

/// Items for calibration: ranges of activations need no more (`lighter.md`'s were found with 64 to 128).
const MOST_CALIBRATED: usize = 100;
/// Items for choosing: a split past it costs time and tells variants apart no better than the report needs.
const MOST_CHOSEN: usize = 400;
/// Fewer items than this can't be parted in three.
const FEWEST: usize = 12;
/// Items that the report should have, where there are so many at all.
pub(crate) const FEWEST_REPORTED: usize = 100;

/// Items, by what they are for.
#[derive(Debug)]
pub(crate) struct Splits {
    pub(crate) calibrate: Vec<Item>,
    pub(crate) choose: Vec<Item>,
    pub(crate) report: Vec<Item>,
}

impl Splits {
    /// Parts the items, the same for the same seed: a fifth (at most 100) to calibrate, as many to choose as leave the report 100 items
    /// or, of more, half.
    ///
    /// # Errors
    /// There are too few.
    pub(crate) fn of(items: Vec<Item>, seed: u64) -> Result<Self, SampleError> {
        let count = items.len();
        if count < FEWEST {
            return Err(SampleError::Few(format!(
                "{count} items can't be parted in three; {FEWEST} at least are"
            )));
        }
        let reported = (count / 2).max(FEWEST_REPORTED.min(count - count / 3));
        let calibrated = (count / 5).clamp(1, MOST_CALIBRATED);
        let chosen =
            (count - reported.min(count - calibrated)).saturating_sub(calibrated).clamp(1, MOST_CHOSEN);
        let (mut calibrate, mut choose, mut report) = (Vec::new(), Vec::new(), Vec::new());
        for group in shuffled(items, seed) {
            let split = if calibrate.len() < calibrated {
                &mut calibrate
            } else if choose.len() < chosen {
                &mut choose
            } else {
                &mut report
            };
            split.extend(group);
        }
        if report.is_empty() {
            return Err(SampleError::Few(
                "its groups are so large that none is left for the report".to_owned(),
            ));
        }
        Ok(Self { calibrate, choose, report })
    }
}

/// The groups, in an order that the seed decides.
fn shuffled(items: Vec<Item>, seed: u64) -> Vec<Vec<Item>> {
    let mut groups: Vec<Vec<Item>> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for item in items {
        let place = *places.entry(item.group).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[place].push(item);
    }
    groups.shuffle(&mut SmallRng::seed_from_u64(seed));
    groups
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn items(groups: &[u64]) -> Vec<Item> {
        let item =
            |(at, group): (usize, &u64)| Item { inputs: Vec::new(), label: Some(at as f64), group: *group };
        groups.iter().enumerate().map(item).collect()
    }

    fn labels(split: &[Item]) -> Vec<u64> {
        split.iter().map(|item| item.label.unwrap().to_bits()).collect()
    }

    proptest! {
        #[test]
        fn each_item_is_in_one_split_and_no_group_is_parted(
            groups in proptest::collection::vec(0_u64..40, 60..400),
            seed in any::<u64>(),
        ) {
            let splits = Splits::of(items(&groups), seed).unwrap();
            let all: Vec<u64> =
                [&splits.calibrate, &splits.choose, &splits.report].into_iter().flat_map(|split| labels(split)).collect();
            prop_assert_eq!(all.len(), groups.len());
            prop_assert_eq!(all.iter().collect::<HashSet<_>>().len(), groups.len());
            let of = |split: &[Item]| split.iter().map(|item| item.group).collect::<HashSet<u64>>();
            prop_assert!(of(&splits.calibrate).is_disjoint(&of(&splits.choose)));
            prop_assert!(of(&splits.choose).is_disjoint(&of(&splits.report)));
            prop_assert!(of(&splits.calibrate).is_disjoint(&of(&splits.report)));
        }
    }

    #[test]
    fn a_seed_parts_alike_and_the_report_has_half_or_a_hundred() {
        let groups: Vec<u64> = (0..1180).collect();
        let splits = Splits::of(items(&groups), 7).unwrap();
        assert_eq!((splits.calibrate.len(), splits.choose.len(), splits.report.len()), (100, 400, 680));
        assert_eq!(labels(&splits.report), labels(&Splits::of(items(&groups), 7).unwrap().report));
        assert_ne!(labels(&splits.report), labels(&Splits::of(items(&groups), 8).unwrap().report));
        let splits = Splits::of(items(&groups[..160]), 7).unwrap();
        assert_eq!((splits.calibrate.len(), splits.choose.len(), splits.report.len()), (32, 28, 100));
        assert!(Splits::of(items(&groups[..11]), 7).is_err());
    }
}
