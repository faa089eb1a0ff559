use std::collections::HashMap;

use super::*;

fn day() -> Day {
    Day { requests: 100_000, keys: 1000, ..Day::default() }
}

fn asked(day: &Day) -> Vec<(u64, u32, u64, u32)> {
    let records = day.records().unwrap().filter_map(|record| match record.what {
        What::Asked { key, cost_us, .. } => Some((record.at_us, record.model, key, cost_us)),
        What::Rollout => None,
    });
    records.collect()
}

#[test]
fn the_same_seed_gives_the_same_day_in_the_order_of_time() {
    let one: Vec<Record> = day().records().unwrap().collect();
    assert!(one.is_sorted_by_key(|record| record.at_us));
    assert_eq!(one, day().records().unwrap().collect::<Vec<_>>());
    assert_ne!(one, Day { seed: 1, ..day() }.records().unwrap().collect::<Vec<_>>());
    let rollouts = one.iter().filter(|record| record.what == What::Rollout).count();
    assert_eq!(rollouts, 8);
}

#[test]
fn a_day_has_its_requests_and_its_peak() {
    let day = Day { bursts: 0, ..day() };
    let asked = asked(&day);
    // Five deviations of a count.
    assert!((asked.len() as f64 - 100_000.0).abs() < 5.0 * 100_000_f64.sqrt(), "{}", asked.len());
    let hour = |hour: u64| asked.iter().filter(|(at_us, ..)| at_us / HOUR_US == hour).count() as f64;
    let ratio = (hour(11) + hour(12)) / (hour(0) + hour(23));
    assert!((5.4..6.3).contains(&ratio), "{ratio}");
}

#[test]
fn a_burst_is_as_much_more_as_it_says() {
    let flat = Day { bursts: 0, peak: 1.0, ..day() };
    let burst = Day { bursts: 1, burst_factor: 10.0, ..flat.clone() };
    let (flat, burst) = (flat.rates(), burst.rates());
    let most = burst.iter().copied().fold(0.0, f64::max);
    let least = burst.iter().copied().fold(f64::INFINITY, f64::min);
    assert!((most / least - 10.0).abs() < 1e-9);
    assert!((flat.iter().sum::<f64>() - burst.iter().sum::<f64>()).abs() < 1e-9);
}

#[test]
fn equal_requests_cost_the_same_and_unique_ones_never_come_again() {
    let mut costs: HashMap<u64, (u32, usize)> = HashMap::new();
    let unique = Day { unique: 0.5, ..day() };
    let asked = asked(&unique);
    for (_, _, key, cost_us) in &asked {
        let entry = costs.entry(*key).or_insert((*cost_us, 0));
        assert_eq!(entry.0, *cost_us);
        entry.1 += 1;
    }
    let once = costs.values().filter(|(_, count)| *count == 1).count() as f64;
    assert!(once > 0.49 * asked.len() as f64, "{once} of {}", asked.len());
    let mut sorted: Vec<u32> = costs.values().map(|(cost_us, _)| *cost_us).collect();
    sorted.sort_unstable();
    let median = f64::from(sorted[sorted.len() / 2]);
    assert!((median / unique.cost_us - 1.0).abs() < 0.05, "{median}");
}

#[test]
fn each_hour_a_share_of_keys_is_another() {
    let day = Day { shift: 0.1, ..day() };
    let records = day.records().unwrap();
    let changed = |hour: u64| {
        let turns = (1..=10_000)
            .filter(|rank| records.turn(*rank, hour * HOUR_US) != records.turn(*rank, (hour + 1) * HOUR_US));
        turns.count()
    };
    for hour in 0..24 {
        assert!((850..1150).contains(&changed(hour)), "{}", changed(hour));
    }
}

#[test]
fn a_day_that_can_not_be_says_what_may_be() {
    for (day, words) in [
        (Day { models: 0, ..day() }, "models is 0; 1 to 4096 may be"),
        (Day { unique: 1.5, ..day() }, "unique is 1.5; 0 to 1 may be"),
        (Day { skew: f64::NAN, ..day() }, "skew is NaN; 0 to 10 may be"),
        (Day { hours: 0, ..day() }, "hours is 0"),
    ] {
        assert!(day.records().unwrap_err().to_string().contains(words));
    }
}
