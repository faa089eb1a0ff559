use super::*;
use crate::config::{ModelConfig, SchedulingChoice};
use crate::proto::model_queue_policy::TimeoutAction;
use crate::proto::{ModelDynamicBatching, ModelQueuePolicy};

const WIDE: QueueLimits = QueueLimits { requests: 100, bytes: 1000 };

pub(super) fn batching(max_batch_size: i32, dynamic: ModelDynamicBatching) -> Batching {
    let scheduling_choice = Some(SchedulingChoice::DynamicBatching(dynamic));
    Batching::of(&ModelConfig { max_batch_size, scheduling_choice, ..ModelConfig::default() }).unwrap()
}

fn dynamic() -> ModelDynamicBatching {
    ModelDynamicBatching::default()
}

/// One row that may join others of the same width.
pub(super) fn row(item: u32, width: i64, since: Instant) -> Waiting<u32> {
    Waiting {
        item,
        bytes: 1,
        rows: 1,
        shapes: Some([width].into()),
        since,
        deadline: None,
        timeout: None,
        priority: 0,
    }
}

fn items(batch: &mut Vec<Taken<u32>>) -> Vec<u32> {
    batch.drain(..).map(|taken| taken.waiting.item).collect()
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn what_waits_is_one_batch_at_once() {
    let (now, batch) = (Instant::now(), &mut Vec::new());
    let mut queue = Queue::new(batching(4, dynamic()), WIDE);
    for item in 0..6 {
        queue.push(row(item, 3, now)).unwrap();
    }
    assert!(matches!(queue.next(now, batch), Next::Run));
    assert_eq!(items(batch), [0, 1, 2, 3]);
    assert!(matches!(queue.next(now, batch), Next::Run));
    assert_eq!(items(batch), [4, 5]);
    assert!(matches!(queue.next(now, batch), Next::Idle));
}

#[test]
fn other_shapes_and_those_that_must_run_alone_are_batches_of_their_own() {
    let (now, batch) = (Instant::now(), &mut Vec::new());
    let mut queue = Queue::new(batching(8, dynamic()), WIDE);
    for (item, width) in [(0, 3), (1, 3), (2, 4), (3, 3)] {
        queue.push(row(item, width, now)).unwrap();
    }
    queue.push(Waiting { shapes: None, ..row(4, 3, now) }).unwrap();
    queue.push(row(5, 3, now)).unwrap();
    for expected in [&[0, 1][..], &[2], &[3], &[4], &[5]] {
        assert!(matches!(queue.next(now, batch), Next::Run));
        assert_eq!(items(batch), expected);
    }
}

#[test]
fn a_batch_waits_for_its_delay_and_not_when_it_is_whole_or_preferred() {
    let (now, batch) = (Instant::now(), &mut Vec::new());
    let delayed = ModelDynamicBatching {
        max_queue_delay_microseconds: 5000,
        preferred_batch_size: vec![2],
        ..dynamic()
    };
    let mut queue = Queue::new(batching(4, delayed), WIDE);
    queue.push(row(0, 3, now)).unwrap();
    assert!(matches!(queue.next(now, batch), Next::Wait(until) if until == now + ms(5)));
    queue.push(row(1, 3, now + ms(1))).unwrap();
    assert!(matches!(queue.next(now + ms(1), batch), Next::Run), "two are preferred");
    assert_eq!(items(batch), [0, 1]);
    queue.push(row(2, 3, now + ms(1))).unwrap();
    assert!(matches!(queue.next(now + ms(6), batch), Next::Run), "the delay is over");
    assert_eq!(items(batch), [2]);
    queue.push(row(3, 3, now)).unwrap();
    queue.push(Waiting { rows: 4, ..row(4, 3, now) }).unwrap();
    assert!(matches!(queue.next(now, batch), Next::Run), "nothing can be added");
    assert_eq!(items(batch), [3]);
}

#[test]
fn urgent_requests_go_first_and_levels_have_bounds_of_their_own() {
    let (now, batch) = (Instant::now(), &mut Vec::new());
    let levels = ModelDynamicBatching {
        priority_levels: 2,
        default_priority_level: 2,
        priority_queue_policy: [(1, ModelQueuePolicy { max_queue_size: 1, ..ModelQueuePolicy::default() })]
            .into(),
        ..dynamic()
    };
    let mut queue = Queue::new(batching(1, levels), WIDE);
    queue.push(row(0, 3, now)).unwrap();
    queue.push(Waiting { priority: 1, ..row(1, 3, now) }).unwrap();
    let refused = queue.push(Waiting { priority: 1, ..row(2, 3, now) }).unwrap_err();
    assert_eq!(refused, QueueError::Level { limit: 1 });
    for expected in [1, 0] {
        assert!(matches!(queue.next(now, batch), Next::Run));
        assert_eq!(items(batch), [expected]);
    }
}

#[test]
fn requests_whose_time_is_over_are_given_up_or_put_behind() {
    let (now, batch) = (Instant::now(), &mut Vec::new());
    let policy = |action: TimeoutAction| ModelDynamicBatching {
        default_queue_policy: Some(ModelQueuePolicy {
            timeout_action: action.into(),
            default_timeout_microseconds: 2000,
            allow_timeout_override: true,
            ..ModelQueuePolicy::default()
        }),
        ..dynamic()
    };
    let mut queue = Queue::new(batching(1, policy(TimeoutAction::Reject)), WIDE);
    queue.push(row(0, 3, now)).unwrap();
    assert_eq!(
        queue.push(Waiting { timeout: Some(ms(1)), ..row(1, 3, now) }).unwrap().expires,
        Some(now + ms(1))
    );
    assert!(matches!(
        queue.next(now + ms(1), batch),
        Next::Expired(Taken { waiting: Waiting { item: 1, .. }, .. })
    ));
    assert!(matches!(queue.next(now + ms(2), batch), Next::Expired(_)));
    assert!(queue.is_empty());

    let mut queue = Queue::new(batching(1, policy(TimeoutAction::Delay)), WIDE);
    queue.push(row(0, 3, now)).unwrap();
    queue.push(Waiting { deadline: Some(now + ms(4)), ..row(1, 3, now) }).unwrap();
    queue.push(row(2, 3, now + ms(2))).unwrap();
    assert!(matches!(queue.next(now + ms(2), batch), Next::Run));
    assert_eq!(items(batch), [2], "the first two are behind");
    assert!(
        matches!(queue.next(now + ms(4), batch), Next::Expired(_)),
        "a deadline holds for the delayed too"
    );
    assert!(matches!(queue.next(now + ms(4), batch), Next::Run));
    assert_eq!(items(batch), [0]);
}

#[test]
fn a_full_queue_refuses_by_requests_and_by_bytes_and_takes_again_when_it_emptied() {
    let (now, batch) = (Instant::now(), &mut Vec::new());
    let mut queue = Queue::new(batching(1, dynamic()), QueueLimits { requests: 2, bytes: 100 });
    let of = |bytes| Waiting { bytes, ..row(0, 3, now) };
    let place = queue.push(of(60)).unwrap();
    assert_eq!(queue.push(of(41)).unwrap_err(), QueueError::Bytes { limit: 100 });
    queue.push(of(40)).unwrap();
    assert_eq!(queue.push(of(0)).unwrap_err(), QueueError::Requests { limit: 2 });
    assert!(queue.withdraw(place).is_some() && queue.withdraw(place).is_none());
    assert!(matches!(queue.next(now, batch), Next::Run));
    queue.push(of(100)).unwrap();
}
