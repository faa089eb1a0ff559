//! What becomes of those who wait, case by case. They wait with a text: answers suit those who wait with the same.

use super::*;

const KEY: FlightKey = FlightKey { what: [7; 32], epoch: 1 };

type Joined = Join<&'static str, &'static str>;
type Waiter = Rc<Seat<&'static str>>;

fn join() -> Joined {
    Join::new(config::Join { max_waiters: 7, max_waiter_bytes: 100, timeout_ms: 1000 })
}

fn enter(join: &mut Joined, context: u32, now_ms: u64) -> Entered<&'static str> {
    join.enter(KEY, context, &"json", 10, now_ms)
}

#[track_caller]
fn leads(join: &mut Joined, context: u32, now_ms: u64) {
    let entered = enter(join, context, now_ms);
    assert!(matches!(entered, Entered::Leads), "{entered:?}");
}

#[track_caller]
fn waits(join: &mut Joined, context: u32, claim: &'static str) -> Waiter {
    match join.enter(KEY, context, &claim, 10, 0) {
        Entered::Waits(seat) => seat,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn alone(entered: Entered<&'static str>) -> Detail {
    match entered {
        Entered::Alone(why) => why,
        other => panic!("{other:?}"),
    }
}

fn finish(join: &mut Joined, context: u32, outcome: Outcome<&'static str>) {
    let form = if let Outcome::Answer(form) = outcome { form } else { "" };
    join.finish(&KEY, context, outcome, |claim| *claim == form, 0);
}

fn led_by_1_with(waiters: &[u32]) -> (Joined, Vec<Waiter>) {
    let mut join = join();
    leads(&mut join, 1, 0);
    let seats = waiters.iter().map(|context| waits(&mut join, *context, "json")).collect();
    (join, seats)
}

fn released(join: &mut Joined) -> Vec<(u32, &'static str)> {
    let all = std::iter::from_fn(|| join.next_due());
    all.map(|(seat, release)| match release {
        Release::Answer(form) => (seat.context, form),
        Release::Lead(why) | Release::Alone(why) => (seat.context, why.text()),
        Release::Late => (seat.context, "late"),
    })
    .collect()
}

#[test]
fn the_leaders_answer_goes_to_all_in_order() {
    let (mut join, seats) = led_by_1_with(&[2, 3]);
    finish(&mut join, 1, Outcome::Answer("json"));
    assert_eq!(seats[0].standing(), Standing::Due);
    assert_eq!(released(&mut join), [(2, "json"), (3, "json")]);
    assert_eq!(seats[0].standing(), Standing::Answered);
    assert_eq!((join.waiting(), join.waiting_bytes()), (0, 0));
    leads(&mut join, 4, 0);
}

#[test]
fn who_is_to_lead_and_was_not_sent_yet_is_answered_when_another_brings_the_answer_first() {
    let (mut join, _seats) = led_by_1_with(&[2, 3, 4, 5]);
    finish(&mut join, 1, Outcome::Failed);
    assert_eq!(released(&mut join), [(2, "promoted")]);
    finish(&mut join, 2, Outcome::Failed);
    assert_eq!(join.next_due().map(|(seat, _)| seat.context), Some(3));
    finish(&mut join, 3, Outcome::Answer("json"));
    assert_eq!(released(&mut join), [(4, "json"), (5, "json")]);
    leads(&mut join, 6, 0);
}

#[test]
fn an_unshareable_answer_frees_all_and_is_remembered() {
    let (mut join, _seats) = led_by_1_with(&[2, 3]);
    finish(&mut join, 1, Outcome::Unshareable);
    assert_eq!(released(&mut join), [(2, "unshareable"), (3, "unshareable")]);
    assert_eq!(alone(enter(&mut join, 4, REMEMBER_MS - 1)), Detail::Unshareable);
    leads(&mut join, 4, REMEMBER_MS);
}

#[test]
fn a_failure_promotes_one_and_the_others_go_on_waiting() {
    let (mut join, seats) = led_by_1_with(&[2, 3, 4]);
    finish(&mut join, 1, Outcome::Failed);
    assert_eq!(released(&mut join), [(2, "promoted")]);
    assert_eq!(seats[0].standing(), Standing::Leads(Detail::Promoted));
    finish(&mut join, 2, Outcome::Failed);
    assert_eq!(released(&mut join), [(3, "promoted"), (4, "promoted")]);
}

#[test]
fn rounds_double_and_the_first_success_of_one_answers_all_who_wait() {
    let (mut join, _seats) = led_by_1_with(&[2, 3, 4, 5, 6]);
    finish(&mut join, 1, Outcome::Failed);
    assert_eq!(released(&mut join), [(2, "promoted")]);
    finish(&mut join, 2, Outcome::Failed);
    assert_eq!(released(&mut join), [(3, "promoted"), (4, "promoted")]);
    finish(&mut join, 3, Outcome::Failed);
    assert!(!join.has_due(), "one of the round is still on its way");
    finish(&mut join, 4, Outcome::Answer("json"));
    assert_eq!(released(&mut join), [(5, "json"), (6, "json")]);
    leads(&mut join, 7, 0);
}

#[test]
fn a_success_leaves_its_round_leading_until_all_have_ended() {
    let (mut join, mut seats) = led_by_1_with(&[2, 3, 4]);
    seats.push(waits(&mut join, 5, "binary"));
    finish(&mut join, 1, Outcome::Failed);
    finish(&mut join, 2, Outcome::Failed);
    assert_eq!(released(&mut join).len(), 3);
    finish(&mut join, 3, Outcome::Answer("json"));
    assert!(!join.has_due(), "the other one may bring what suits");
    finish(&mut join, 4, Outcome::Answer("json"));
    assert_eq!(released(&mut join), [(5, "unsuited")]);
}

#[test]
fn promoted_ones_that_go_away_before_or_after_their_release_are_followed_by_the_next() {
    let (mut join, seats) = led_by_1_with(&[2, 3, 4, 5, 6]);
    finish(&mut join, 1, Outcome::Failed);
    join.leave(&seats[0], 0);
    assert_eq!(released(&mut join), [(3, "promoted"), (4, "promoted")]);
    join.leave(&seats[1], 0);
    finish(&mut join, 1, Outcome::Failed);
    assert!(!join.has_due(), "who does not lead any more promotes nobody");
    join.leave(&seats[2], 0);
    assert_eq!(released(&mut join), [(5, "promoted"), (6, "promoted")]);
    finish(&mut join, 5, Outcome::Failed);
    finish(&mut join, 6, Outcome::Failed);
    assert_eq!(join.flights.len(), 0);
}

#[test]
fn whom_an_answer_does_not_suit_one_is_promoted_of() {
    let (mut join, mut seats) = led_by_1_with(&[2]);
    seats.extend([waits(&mut join, 3, "binary"), waits(&mut join, 4, "binary")]);
    finish(&mut join, 1, Outcome::Answer("json"));
    assert_eq!(released(&mut join), [(2, "json"), (3, "unsuited")]);
    finish(&mut join, 3, Outcome::Answer("binary"));
    assert_eq!(released(&mut join), [(4, "binary")]);
}

#[test]
fn waiters_are_bounded_in_count_and_bytes() {
    let (mut join, _seats) = led_by_1_with(&[2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(alone(enter(&mut join, 9, 0)), Detail::TooManyWaiters);
    let (mut join, _seats) = led_by_1_with(&[2]);
    assert_eq!(alone(join.enter(KEY, 3, &"", 91, 0)), Detail::TooManyWaiters);
}

#[test]
fn a_waiter_that_left_is_not_released() {
    let (mut join, seats) = led_by_1_with(&[2, 3]);
    join.leave(&seats[0], 0);
    finish(&mut join, 1, Outcome::Answer("json"));
    join.leave(&seats[1], 0);
    assert_eq!(released(&mut join), []);
    assert_eq!((join.waiting(), join.waiting_bytes()), (0, 0));
}

#[test]
fn after_leaders_that_take_too_long_the_next_are_sent_and_their_late_answer_counts() {
    let (mut join, _seats) = led_by_1_with(&[2]);
    let later: Vec<_> = (3..7).map(|context| enter(&mut join, context, 500)).collect();
    join.expire(999, |_| false);
    assert!(!join.has_due());
    join.expire(1000, |_| false);
    join.expire(1999, |_| false);
    assert_eq!(released(&mut join), [(2, "waited-too-long")]);
    join.expire(2000, |_| false);
    assert_eq!(released(&mut join), [(3, "waited-too-long"), (4, "waited-too-long")]);
    finish(&mut join, 1, Outcome::Answer("json"));
    assert_eq!(released(&mut join), [(5, "json"), (6, "json")]);
    drop(later);
}

#[test]
fn who_has_waited_two_timeouts_goes_upstream_on_its_own_where_ticks_were_missed() {
    let (mut join, seats) = led_by_1_with(&[2, 3, 4]);
    join.expire(1000, |_| false);
    assert_eq!(released(&mut join), [(2, "waited-too-long")]);
    let _later = enter(&mut join, 5, 1500);
    join.expire(2000, |_| false);
    assert_eq!(released(&mut join).len(), 3, "two for their own time, and the next round");
    assert_eq!(seats[2].standing(), Standing::Alone(Detail::WaitedTooLong));
    assert_eq!((join.waiting(), join.waiting_bytes()), (0, 0));
}

#[test]
fn the_last_of_those_who_wait_for_leaders_that_hang_are_sent_before_their_time_is_over() {
    let (mut join, _seats) = led_by_1_with(&[2, 3, 4, 5, 6]);
    join.expire(1000, |_| false);
    assert_eq!(released(&mut join).len(), 1);
    join.expire(1833, |_| false);
    assert_eq!(released(&mut join), [], "two rounds of two and more take two twelfths");
    join.expire(1834, |_| false);
    assert_eq!(released(&mut join).len(), 2);
    join.expire(1916, |_| false);
    assert_eq!(released(&mut join), []);
    join.expire(1917, |_| false);
    assert_eq!(released(&mut join).len(), 2);
}

#[test]
fn who_has_a_time_of_its_own_waits_no_longer() {
    let (mut join, _seats) = led_by_1_with(&[2]);
    let hurried = waits(&mut join, 3, "hurried");
    join.expire(10, |claim| *claim == "hurried");
    assert_eq!(released(&mut join), [(3, "late")]);
    assert_eq!((hurried.standing(), join.waiting()), (Standing::Answered, 1));
}

#[test]
fn a_clock_that_was_set_back_makes_no_leader_immortal() {
    let mut join = join();
    leads(&mut join, 1, 1_000_000);
    let _seat = waits(&mut join, 2, "json");
    join.expire(10, |_| false);
    join.expire(1010, |_| false);
    assert_eq!(released(&mut join), [(2, "waited-too-long")]);
}

#[test]
fn who_asks_after_a_change_of_generations_does_not_join_who_asked_before() {
    let (mut join, _seats) = led_by_1_with(&[]);
    let later = FlightKey { epoch: 2, ..KEY };
    assert!(matches!(join.enter(later, 2, &"json", 10, 0), Entered::Leads));
}
