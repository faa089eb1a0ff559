//! What holds whatever comes, leaves and expires, in whatever order.

use proptest::prelude::*;

use super::tests::batching;
use super::*;
use crate::proto::model_queue_policy::TimeoutAction;
use crate::proto::{ModelDynamicBatching, ModelQueuePolicy};

const LIMITS: QueueLimits = QueueLimits { requests: 12, bytes: 60 };

/// What happens to a queue.
#[derive(Debug, Clone)]
enum Event {
    Push {
        width: Option<i64>,
        rows: u64,
        bytes: usize,
        priority: u64,
        timeout_ms: Option<u64>,
        deadline_ms: Option<u64>,
    },
    /// The request of so many pushes ago leaves.
    Withdraw {
        ago: usize,
    },
    Next,
    Pass {
        ms: u64,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let some_ms = || proptest::option::of(1..8_u64);
    prop_oneof![
        4 => (proptest::option::of(1..3_i64), 1..5_u64, 0..20_usize, 0..5_u64, some_ms(), some_ms()).prop_map(
            |(width, rows, bytes, priority, timeout_ms, deadline_ms)| Event::Push {
                width, rows, bytes, priority, timeout_ms, deadline_ms
            }
        ),
        1 => (0..6_usize).prop_map(|ago| Event::Withdraw { ago }),
        3 => Just(Event::Next),
        2 => (0..4_u64).prop_map(|ms| Event::Pass { ms }),
    ]
}

fn settings() -> impl Strategy<Value = Batching> {
    let policy =
        (any::<bool>(), 0..4_u64, any::<bool>(), 0..6_u32).prop_map(|(delays, ms, may_shorten, most)| {
            let action = if delays { TimeoutAction::Delay } else { TimeoutAction::Reject };
            ModelQueuePolicy {
                timeout_action: action.into(),
                default_timeout_microseconds: ms * 1000,
                allow_timeout_override: may_shorten,
                max_queue_size: most,
            }
        });
    (1..9_i32, 0..3_u64, 1..4_u64, proptest::option::of(policy)).prop_flat_map(
        |(most, delay_ms, levels, policy)| {
            proptest::collection::vec(1..=most, 0..3).prop_map(move |preferred| {
                let dynamic = ModelDynamicBatching {
                    preferred_batch_size: preferred,
                    max_queue_delay_microseconds: delay_ms * 1000,
                    priority_levels: levels,
                    default_priority_level: levels,
                    default_queue_policy: policy,
                    ..ModelDynamicBatching::default()
                };
                batching(most, dynamic)
            })
        },
    )
}

/// A request that is in the queue, as the test knows it.
#[derive(Clone)]
struct Known {
    item: u32,
    level: usize,
    bytes: usize,
    deadline: Option<Instant>,
    place: Place,
}

/// Checks a batch against the rules, and takes it out of what is known.
fn check_batch(batching: &Batching, known: &mut Vec<Known>, batch: &mut Vec<Taken<u32>>, now: Instant) {
    let rows: u64 = batch.iter().map(|taken| taken.waiting.rows).sum();
    assert!(batch.len() == 1 || rows <= batching.most_rows, "{rows} rows");
    let first = &batch[0].waiting;
    assert!(batch.len() == 1 || first.shapes.is_some());
    assert!(batch.iter().all(|taken| taken.waiting.shapes == first.shapes));
    let mut last = None;
    for taken in batch.drain(..) {
        let index = known.iter().position(|known| known.item == taken.waiting.item);
        let found = known.remove(index.expect("a request that waits, once"));
        assert!(found.deadline.is_none_or(|deadline| deadline > now), "a deadline that passed");
        let policy = batching.levels[found.level];
        // Without delays, a level's requests run in the order of arrival, and urgent levels before others.
        if !policy.delays {
            assert!(last < Some((found.level, taken.number)), "order");
            assert!(!known.iter().any(|other| other.level < found.level), "a more urgent one waits");
            last = Some((found.level, taken.number));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_or_run_twice_and_limits_hold(batching in settings(), events in proptest::collection::vec(event(), 0..80)) {
        let began = Instant::now();
        let mut now = began;
        let mut queue = Queue::new(batching.clone(), LIMITS);
        let mut known: Vec<Known> = Vec::new();
        let mut places: Vec<Place> = Vec::new();
        let mut batch = Vec::new();
        for (item, event) in (0..).zip(events) {
            match event {
                Event::Pass { ms } => now += Duration::from_millis(ms),
                Event::Push { width, rows, bytes, priority, timeout_ms, deadline_ms } => {
                    let deadline = deadline_ms.map(|ms| now + Duration::from_millis(ms));
                    let shapes = width.map(|width| [width].into());
                    let timeout = timeout_ms.map(Duration::from_millis);
                    let pushed = queue.push(Waiting { item, bytes, rows, shapes, since: now, deadline, timeout, priority });
                    let level = batching.level(priority);
                    let most = batching.levels[level].most_requests;
                    let here = known.iter().filter(|known| known.level == level).count();
                    let sum: usize = known.iter().map(|known| known.bytes).sum();
                    let fits = known.len() < LIMITS.requests && sum + bytes <= LIMITS.bytes && (most == 0 || here < most);
                    prop_assert_eq!(pushed.is_ok(), fits);
                    if let Ok(place) = pushed {
                        places.push(place);
                        known.push(Known { item, level, bytes, deadline, place });
                    }
                }
                Event::Withdraw { ago } => {
                    let Some(place) = places.iter().rev().nth(ago) else { continue };
                    let waited = known.iter().position(|known| known.place == *place);
                    prop_assert_eq!(queue.withdraw(*place).is_some(), waited.is_some());
                    waited.map(|index| known.remove(index));
                }
                Event::Next => match queue.next(now, &mut batch) {
                    Next::Run => check_batch(&batching, &mut known, &mut batch, now),
                    Next::Expired(taken) => {
                        let index = known.iter().position(|known| known.item == taken.waiting.item);
                        let gone = known.remove(index.unwrap());
                        prop_assert!(gone.place.expires.is_some_and(|at| at <= now));
                    }
                    Next::Wait(until) => {
                        prop_assert!(until > now && until <= now + batching.delay);
                        prop_assert!(!known.is_empty());
                    }
                    Next::Idle => prop_assert!(known.is_empty()),
                },
            }
            prop_assert_eq!(queue.is_empty(), known.is_empty());
        }
        // All that waits leaves, once the time of waiting is over.
        now += Duration::from_secs(1);
        while !known.is_empty() {
            match queue.next(now, &mut batch) {
                Next::Run => check_batch(&batching, &mut known, &mut batch, now),
                Next::Expired(taken) => known.retain(|known| known.item != taken.waiting.item),
                Next::Wait(_) | Next::Idle => prop_assert!(false, "{} requests stay", known.len()),
            }
        }
    }
}
