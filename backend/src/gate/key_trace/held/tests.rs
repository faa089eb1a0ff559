use std::collections::HashSet;
use std::time::Duration;

use forebay_protocol::poll::Tier;
use proptest::prelude::*;

use super::*;
use crate::cache::live::LiveTable;

const HOUR_MS: u64 = 3_600_000;
/// When it starts: half an hour after a whole one.
const START: u64 = 500_000 * HOUR_MS + HOUR_MS / 2;
/// The end of that hour.
const END: u64 = 500_001 * HOUR_MS;

fn held(bytes: u64) -> Held {
    let config = KeyTraceConfig { folder: "/".into(), bytes, length: Duration::from_hours(1) };
    Held::new(&config, Rollouts::new(Arc::new(LiveTable::own())), START)
}

fn large() -> Held {
    held(1 << 30)
}

fn trace(at_ms: u64, hash: u32) -> Trace {
    Trace {
        at_ms,
        service: "s".into(),
        model: "m".into(),
        tenant: 0,
        key: u64::from(hash) << 32 | 5,
        bytes: 10,
        cost_us: 7,
        tier: Tier::Upstream,
    }
}

fn hashes(period: &Period) -> Vec<u32> {
    let of = |row: &Row| match row.what {
        What::Asked { key, .. } => Some(hash(key)),
        What::Rollout => None,
    };
    period.rows.iter().filter_map(of).collect()
}

#[test]
fn rows_of_a_time_leave_in_order_once_nobody_tells_of_it_any_more() {
    let mut held = large();
    held.take(vec![trace(START + 9, 1)], ALL, START + 10);
    held.take(vec![trace(END + 1, 2), trace(START + 5, 3)], ALL, END + 2);
    assert_eq!(held.over(END + LATE_MS - 1), []);
    let over = held.over(END + LATE_MS);
    assert_eq!(over.len(), 1);
    assert_eq!((over[0].begin_ms, over[0].end_ms, over[0].rate), (START, END, ALL));
    assert_eq!(hashes(&over[0]), [3, 1]);
    // What comes to it now is too late, and what comes to the next one is not.
    held.take(vec![trace(END - 1, 4), trace(END, 5)], ALL, END + LATE_MS);
    let all = held.all(END + LATE_MS);
    assert_eq!((all.len(), hashes(&all[0])), (1, vec![5, 2]));
    assert_eq!((all[0].begin_ms, all[0].end_ms), (END, END + LATE_MS));
    assert_eq!(held.rows, 0);
}

#[test]
fn what_was_asked_just_before_the_start_is_part_of_the_first() {
    let mut held = large();
    held.take(vec![trace(START - LATE_MS - 1, 1), trace(START - 3, 2)], ALL, START);
    let all = held.all(START + 1);
    assert_eq!((all[0].begin_ms, hashes(&all[0])), (START - 3, vec![2]));
}

#[test]
fn the_lowest_rate_of_a_time_holds_for_all_of_it() {
    let mut held = large();
    let rows = |hashes: &[u32]| hashes.iter().map(|hash| trace(START + 1, *hash)).collect();
    held.take(rows(&[1, 5_000, 9_000]), 10_000, START);
    held.take(rows(&[2, 4_999]), 5_000, START);
    held.take(rows(&[7_000]), 10_000, START);
    // Another time has its own.
    held.take(vec![trace(END, 9_000)], 10_000, END);
    let all = held.all(END);
    assert_eq!((all[0].rate, hashes(&all[0])), (5_000, vec![1, 2, 4_999]));
    assert_eq!((all[1].rate, hashes(&all[1])), (10_000, vec![9_000]));
}

#[test]
fn a_report_without_rows_lowers_the_rate_of_what_is_asked_now() {
    let mut held = large();
    held.take(vec![trace(START + 1, 1), trace(START + 1, 9_000)], 10_000, START);
    held.take(vec![], 5_000, START + 2);
    // One that says nothing of a rate is no report of keys.
    held.take(vec![], 0, START + 2);
    let all = held.all(START + 3);
    assert_eq!((all[0].rate, hashes(&all[0])), (5_000, vec![1]));
}

#[test]
fn what_can_not_be_is_left_out() {
    let mut held = large();
    let named = |service: &str, model: &str| Trace {
        service: service.into(),
        model: model.into(),
        ..trace(START, 1)
    };
    let long = "m".repeat(MOST_NAME);
    let rows = vec![
        trace(0, 1),
        trace(u64::MAX, 1),
        trace(START + AHEAD_MS + 1, 1),
        trace(START, 10_000),
        named("", "m"),
        named("a b", "m"),
        named("s", ""),
        named("s", &long),
    ];
    held.take(rows, 10_000, START);
    held.take(vec![trace(START, 1)], LEAST_RATE - 1, START);
    assert_eq!(held.all(START), []);
    let huge = Trace { bytes: u64::MAX, cost_us: u64::MAX, ..trace(START + AHEAD_MS, 1) };
    held.take(vec![huge], 10_000, START);
    let all = held.all(START);
    assert_eq!(all[0].rows[0].what, What::Asked { key: 1 << 32 | 5, cost_us: u32::MAX, bytes: u32::MAX });
    assert_eq!(&*all[0].rows[0].model, "s/m");
}

#[test]
fn there_is_a_bound_on_models_and_those_that_are_gone_make_room() {
    let mut held = large();
    let of = |number: usize, at_ms| Trace { model: number.to_string(), ..trace(at_ms, 1) };
    held.take((0..2 * MOST_MODELS).map(|number| of(number, START)).collect(), ALL, START);
    let over = held.over(END + LATE_MS);
    assert_eq!((over[0].rows.len(), held.models.len()), (MOST_MODELS, MOST_MODELS));
    drop(over);
    assert_eq!(held.over(END + LATE_MS), []);
    held.take(vec![of(2 * MOST_MODELS, END)], ALL, END);
    assert_eq!(held.all(END + 1).len(), 1);
}

#[test]
fn what_is_known_of_freshness_goes_with_a_model() {
    let mut held = large();
    held.learn("s", "m", 60);
    held.learn("a b", "m", 60);
    held.take(vec![trace(START, 1), Trace { model: "other".into(), ..trace(START, 1) }], ALL, START);
    let all = held.all(START);
    assert_eq!(all[0].fresh, HashMap::from([("s/m".into(), 60)]));
}

#[test]
fn a_rollout_of_a_model_that_is_asked_stands_among_its_requests_whatever_the_rate() {
    let mut held = large();
    held.rolled_out("s/m", START);
    held.take(vec![trace(START + 1, 1)], ALL, START + 1);
    held.rolled_out("s/m", START + 2);
    held.rolled_out("s/other", START + 2);
    held.take(vec![trace(START + 3, 2)], LEAST_RATE, START + 3);
    // Of a time in which nobody asked it, too.
    held.rolled_out("s/m", END);
    let all = held.all(END + 1);
    let rollouts = |period: &Period| {
        let at = period
            .rows
            .iter()
            .filter(|row| row.what == What::Rollout)
            .map(|row| (row.at_ms, row.model.to_string()));
        at.collect::<Vec<_>>()
    };
    assert_eq!((hashes(&all[0]), rollouts(&all[0])), (vec![1, 2], vec![(START + 2, "s/m".to_owned())]));
    assert_eq!((hashes(&all[1]), rollouts(&all[1])), (vec![], vec![(END, "s/m".to_owned())]));
}

proptest! {
    /// Whatever is told, and however many keys there are: what is held has its bound, and what leaves is all that was told of its keys.
    #[test]
    fn too_many_rows_halve_the_rate_and_what_stays_is_whole(keys in 1_u32..8_000, times in 1_usize..6) {
        let mut held = held(1 << 18);
        let most = held.most_rows;
        let rows = (0..keys).map(|key| trace(START + 1, key.wrapping_mul(0x9e37_79b1)));
        let rows: Vec<Trace> = rows.flat_map(|row| std::iter::repeat_n(row, times)).collect();
        let told = rows.len();
        for some in rows.chunks(1000) {
            held.take(some.to_vec(), ALL, START + 2);
            prop_assert!(held.rows < most);
        }
        let all = held.all(START + 3);
        let (rate, left) = (all[0].rate, hashes(&all[0]));
        let unique: HashSet<u32> = left.iter().copied().collect();
        prop_assert_eq!(left.len(), unique.len() * times);
        prop_assert!(unique.iter().all(|hash| *hash < rate));
        prop_assert!(told >= most || rate == ALL);
        let expected = (0..keys).map(|key| key.wrapping_mul(0x9e37_79b1)).filter(|hash| *hash < rate).count();
        prop_assert_eq!(unique.len(), expected);
    }
}

#[test]
fn a_key_that_is_asked_too_often_to_be_held_is_dropped_and_not_looked_at_again_and_again() {
    let mut held = held(1 << 18);
    let most = held.most_rows;
    held.take(vec![trace(START, 0); 2 * most], ALL, START);
    assert!(held.is_full && held.rows == most, "{}", held.rows);
    assert_eq!(held.over(END + LATE_MS)[0].rows.len(), most);
    held.take(vec![trace(END, 0)], ALL, END);
    assert_eq!(held.rows, 1);
}
