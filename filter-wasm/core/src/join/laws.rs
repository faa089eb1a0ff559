//! Whatever requests do in whatever order: nobody who waits is forgotten, bounds hold, and counts return to zero.

use super::*;
use proptest::prelude::*;

const KEYS: u8 = 3;
const TIMEOUT_MS: u64 = 100;
const MAX_WAITERS: usize = 6;
const MAX_BYTES: usize = 40;

/// Something that happens; numbers pick one of those to whom it can happen.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Enters { key: u8, form: u8, bytes: usize },
    Answers { who: usize, every_form: bool },
    Fails { who: usize },
    CanNotBeShared { who: usize },
    Leaves { who: usize },
    Passes { ms: u64 },
    Releases { most: usize },
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => (0..KEYS, 0..2_u8, 0..20_usize).prop_map(|(key, form, bytes)| Happens::Enters { key, form, bytes }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(who, every_form)| Happens::Answers { who, every_form }),
        2 => any::<usize>().prop_map(|who| Happens::Fails { who }),
        1 => any::<usize>().prop_map(|who| Happens::CanNotBeShared { who }),
        3 => any::<usize>().prop_map(|who| Happens::Leaves { who }),
        2 => (0..2 * TIMEOUT_MS).prop_map(|ms| Happens::Passes { ms }),
        2 => (0..4_usize).prop_map(|most| Happens::Releases { most }),
    ]
}

/// Requests as their exchanges see them.
struct World {
    join: Join<u8, u8>,
    now_ms: u64,
    next_context: u32,
    /// At the upstream, leading a flight or having led it.
    leaders: Vec<(FlightKey, u32, u8)>,
    waiters: Vec<Rc<Seat<u8>>>,
}

impl World {
    fn new() -> Self {
        Self::of(MAX_WAITERS, MAX_BYTES)
    }

    fn of(max_waiters: usize, max_waiter_bytes: usize) -> Self {
        let bounds = config::Join { max_waiters, max_waiter_bytes, timeout_ms: TIMEOUT_MS };
        Self { join: Join::new(bounds), now_ms: 0, next_context: 1, leaders: vec![], waiters: vec![] }
    }

    fn enter(&mut self, key: u8, form: u8, bytes: usize) {
        let key = FlightKey { what: [key; 32], epoch: 0 };
        let context = self.next_context;
        self.next_context += 1;
        match self.join.enter(key, context, &form, bytes, self.now_ms) {
            Entered::Leads => self.leaders.push((key, context, form)),
            Entered::Waits(seat) => self.waiters.push(seat),
            Entered::Alone(_) => {}
        }
    }

    fn finish(&mut self, who: usize, outcome: impl FnOnce(u8) -> Outcome<u8>, every_form: bool) {
        if self.leaders.is_empty() {
            return;
        }
        let (key, context, form) = self.leaders.remove(who % self.leaders.len());
        let suits = |claim: &u8| every_form || *claim == form;
        self.join.finish(&key, context, outcome(form), suits, self.now_ms);
    }

    fn leave(&mut self, who: usize) {
        let both = self.leaders.len() + self.waiters.len();
        if both == 0 {
            return;
        }
        match (who % both).checked_sub(self.leaders.len()) {
            Some(who) => {
                let seat = self.waiters.remove(who);
                self.join.leave(&seat, self.now_ms);
                assert_eq!(seat.standing(), Standing::Left);
            }
            None => self.finish(who % both, |_| Outcome::Failed, false),
        }
    }

    fn release(&mut self, most: usize) {
        for _ in 0..most {
            let Some((seat, release)) = self.join.next_due() else { return };
            let at = self.waiters.iter().position(|waiter| Rc::ptr_eq(waiter, &seat));
            self.waiters.remove(at.expect("who left, or was released before, is not released"));
            if let Release::Lead(_) = release {
                self.leaders.push((seat.key, seat.context, seat.claim));
            }
        }
    }

    fn step(&mut self, happens: Happens) {
        match happens {
            Happens::Enters { key, form, bytes } => self.enter(key, form, bytes),
            Happens::Answers { who, every_form } => self.finish(who, Outcome::Answer, every_form),
            Happens::Fails { who } => self.finish(who, |_| Outcome::Failed, false),
            Happens::CanNotBeShared { who } => self.finish(who, |_| Outcome::Unshareable, false),
            Happens::Leaves { who } => self.leave(who),
            Happens::Passes { ms } => {
                self.now_ms += ms;
                self.join.expire(self.now_ms, |_| false);
            }
            Happens::Releases { most } => self.release(most),
        }
        self.sound();
    }

    /// Who waits is counted, within bounds, and waits for somebody.
    fn sound(&self) {
        let bytes: usize = self.waiters.iter().map(|seat| seat.bytes).sum();
        assert_eq!((self.join.waiting(), self.join.waiting_bytes()), (self.waiters.len(), bytes));
        assert!(self.join.waiting() <= MAX_WAITERS && self.join.waiting_bytes() <= MAX_BYTES);
        for seat in &self.waiters {
            match seat.standing() {
                Standing::Due => assert!(self.join.due.iter().any(|(due, _)| Rc::ptr_eq(due, seat))),
                Standing::Waits => {
                    let flight = &self.join.flights[&seat.key];
                    assert!(flight.queue.iter().any(|waiting| Rc::ptr_eq(waiting, seat)));
                    assert!(!flight.leaders.is_empty(), "{} waits for nobody", seat.context);
                    for leader in &flight.leaders {
                        let upstream = self.leaders.iter().any(|(_, context, _)| context == leader);
                        let due = self.join.due.iter().any(|(due, _)| due.context == *leader);
                        assert!(upstream || due, "{} waits for {leader}, which has ended", seat.context);
                    }
                    // Time passes here only with a tick.
                    assert!(self.now_ms - seat.since_ms.get() < 2 * TIMEOUT_MS, "{} waits on", seat.context);
                }
                standing => panic!("{} is said to wait: {standing:?}", seat.context),
            }
        }
    }
}

proptest! {
    #[test]
    fn nobody_who_waits_is_forgotten_and_counts_return_to_zero(
        story in proptest::collection::vec(happens(), 0..80),
        every_leader_fails in any::<bool>(),
    ) {
        let mut world = World::new();
        for happens in story {
            world.step(happens);
        }
        // From here on nobody comes: each round ends one request at least.
        let requests = world.leaders.len() + world.waiters.len();
        for _ in 0..requests {
            world.release(usize::MAX);
            let outcome = |form| if every_leader_fails { Outcome::Failed } else { Outcome::Answer(form) };
            world.finish(0, outcome, false);
            world.sound();
        }
        world.release(usize::MAX);
        prop_assert_eq!(world.leaders.len() + world.waiters.len(), 0);
        prop_assert_eq!((world.join.waiting(), world.join.waiting_bytes()), (0, 0));
        prop_assert!(world.join.flights.is_empty() && !world.join.has_due());
    }

    #[test]
    fn an_upstream_that_always_fails_gets_rounds_that_double_at_most_and_all_have_heard_so_after_few(
        waiters in 1..500_usize,
        who in any::<usize>(),
    ) {
        let mut world = World::of(waiters, waiters);
        for _ in 0..=waiters {
            world.enter(0, 0, 1);
        }
        let (mut rounds, mut before) = (0, 1);
        while !world.leaders.is_empty() {
            let round = world.leaders.len();
            prop_assert!(round <= 2 * before, "{} after {}", round, before);
            for _ in 0..round {
                prop_assert!(!world.join.has_due(), "before the whole round has ended");
                world.finish(who, |_| Outcome::Failed, false);
            }
            world.release(usize::MAX);
            (rounds, before) = (rounds + 1, round);
        }
        prop_assert!(world.waiters.is_empty() && world.join.flights.is_empty());
        prop_assert!(rounds <= waiters.ilog2() + 2, "{} rounds", rounds);
    }

    #[test]
    fn where_leaders_hang_rounds_double_too_and_all_are_sent_before_they_have_waited_twice_the_timeout(
        waiters in 1..300_usize,
        came_within_ms in 0..TIMEOUT_MS / 2,
    ) {
        all_are_sent_in_rounds(waiters, came_within_ms);
    }
}

#[test]
fn so_it_is_with_as_many_as_wait_by_default() {
    all_are_sent_in_rounds(config::Join::default().max_waiters, 0);
}

/// So many wait for leaders of which none ever ends.
fn all_are_sent_in_rounds(waiters: usize, came_within_ms: u64) {
    let mut world = World::of(waiters, waiters);
    for number in 0..=waiters as u64 {
        world.now_ms = number * came_within_ms / waiters as u64;
        world.enter(0, 0, 1);
    }
    let (mut upstream, mut most) = (1, 1);
    while !world.waiters.is_empty() {
        world.now_ms += 1;
        world.join.expire(world.now_ms, |_| false);
        while let Some((seat, release)) = world.join.next_due() {
            // Nobody's own time was over, which would have been another release.
            assert!(matches!(release, Release::Lead(Detail::WaitedTooLong)), "{release:?}");
            world.waiters.retain(|waiter| !Rc::ptr_eq(waiter, &seat));
        }
        let sent = waiters + 1 - world.waiters.len() - upstream;
        assert!(sent <= most, "{sent} at once at {}", world.now_ms);
        (upstream, most) = (upstream + sent, most.max(2 * sent));
    }
}
