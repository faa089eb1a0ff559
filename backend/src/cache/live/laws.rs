//! Laws of the table, played: two servers that load, unload, die and come back, two gates, three proxies, answers that are late,
//! lost or out of order, partitions, gates that start again, a stranger who says again what others were told, and a Redis that
//! forgets all or fails over without its last writes. No real time.
//!
//! 1. The epochs of a proxy only grow.
//! 2. A proxy that has the table of a load, or one made after it, never again takes a table with what that load replaced.
//! 3. When a load has answered that all know, no proxy and no gate that trusts its table has what it replaced.
//! 4. After a loss nobody is forgotten again for what was told before it.
//! 5. When all know of a purge, no proxy, gate or server that goes by what it knows has what was purged.

mod ledger;
mod memcached;
mod scripts;
mod world;

use proptest::prelude::*;

use super::millis;
use super::proxies::LEASE;
use super::registry::steps::Word;
use world::World;

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// Time passes, in ms.
    Wait(u16),
    /// A server replaces its model.
    Load(u8),
    Unload(u8),
    /// A server's heartbeat; its answer may be lost.
    Beat(u8, bool),
    /// A server dies, and another is there in its place, with the same model or none.
    Die(u8),
    Leave(u8),
    /// Everything is purged by way of a gate; the law is looked at now and then.
    Purge(u8),
    CheckPurged,
    Sweep,
    /// A gate asks the pool; the answer is under way.
    Ask(u8),
    /// It comes, or not.
    Hear(u8, bool),
    /// A gate is started again.
    Restart(u8),
    /// A proxy polls a gate; the answer is under way.
    Poll(u8, u8),
    /// One of the answers to a proxy comes.
    Answer(u8, u8),
    /// A proxy is started again.
    Renew(u8),
    /// A stranger polls a gate with an epoch that somebody was told once.
    Replay(u8, u8),
    /// The replica of the pool has all that was written.
    Replicate,
    /// The replica takes over; its clock differs by so many ms.
    FailOver(i16),
    /// The pool starts again, empty.
    Flush,
    /// What a server said last is gone, and that is found out.
    LoseRecord(u8),
    /// A gate and the pool don't reach each other, or do again.
    Part(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1_u16..4000).prop_map(Event::Wait),
        3 => (0_u8..2).prop_map(Event::Load),
        1 => (0_u8..2).prop_map(Event::Unload),
        8 => (0_u8..2, prop::bool::weighted(0.9)).prop_map(|(i, heard)| Event::Beat(i, heard)),
        1 => (0_u8..2).prop_map(Event::Die),
        1 => (0_u8..2).prop_map(Event::Leave),
        1 => Just(Event::Sweep),
        1 => (0_u8..2).prop_map(Event::Purge),
        6 => Just(Event::CheckPurged),
        12 => (0_u8..2).prop_map(Event::Ask),
        12 => (0_u8..2, prop::bool::weighted(0.9)).prop_map(|(g, comes)| Event::Hear(g, comes)),
        1 => (0_u8..2).prop_map(Event::Restart),
        12 => (0_u8..3, 0_u8..2).prop_map(|(p, g)| Event::Poll(p, g)),
        12 => (0_u8..3, any::<u8>()).prop_map(|(p, which)| Event::Answer(p, which)),
        1 => (0_u8..3).prop_map(Event::Renew),
        2 => (0_u8..2, any::<u8>()).prop_map(|(g, which)| Event::Replay(g, which)),
        2 => Just(Event::Replicate),
        1 => (-1000_i16..1000).prop_map(Event::FailOver),
        1 => Just(Event::Flush),
        1 => (0_u8..2).prop_map(Event::LoseRecord),
        1 => (0_u8..2).prop_map(Event::Part),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_laws_hold(events in prop::collection::vec(event(), 1..250)) {
        for forgetful in [false, true] {
            let mut world = World::of(forgetful);
            for event in &events {
                world.happens(*event)?;
            }
        }
    }
}

/// A world in which nothing goes wrong, so that the laws are not kept by doing nothing.
#[test]
fn a_load_reaches_every_proxy_and_then_all_know() {
    let mut world = World::new();
    let round = |world: &mut World| {
        for event in [Event::Ask(0), Event::Hear(0, true), Event::Ask(1), Event::Hear(1, true)] {
            world.happens(event).unwrap();
        }
        for p in 0..3 {
            world.happens(Event::Poll(p, p % 2)).unwrap();
            world.happens(Event::Answer(p, 0)).unwrap();
        }
        world.happens(Event::Wait(100)).unwrap();
    };
    world.happens(Event::Beat(0, true)).unwrap();
    (0..3).for_each(|_| round(&mut world));
    let old = world.servers[0].record.models[0].generation;
    assert!(world.proxies.iter().all(|proxy| proxy.models[0].generations == [old]));
    world.happens(Event::Load(0)).unwrap();
    world.happens(Event::Beat(0, true)).unwrap();
    let epoch = world.servers[0].told.unwrap();
    assert!(world.behind(epoch) > 0);
    (0..4).for_each(|_| round(&mut world));
    assert_eq!(world.behind(epoch), 0);
    assert!(world.proxies.iter().all(|proxy| proxy.models[0].generations != [old]));
}

#[test]
fn who_polls_may_be_forgotten_by_a_failover_that_lost_no_epoch() {
    let mut world = World::new();
    let happens = |world: &mut World, events: &[Event]| {
        for event in events {
            world.happens(*event).unwrap();
        }
    };
    let ask = [Event::Ask(0), Event::Hear(0, true)];
    happens(&mut world, &[Event::Beat(0, true)]);
    happens(&mut world, &ask);
    happens(&mut world, &ask);
    happens(&mut world, &[Event::Replicate, Event::Poll(0, 0), Event::Answer(0, 0)]);
    happens(&mut world, &ask);
    assert_eq!(world.board.proxies.len(), 1);
    happens(&mut world, &[Event::FailOver(0), Event::Load(0), Event::Beat(0, true)]);
    happens(&mut world, &ask[..1]);
    let epoch = world.servers[0].told.unwrap();
    assert!(world.board.proxies.is_empty() && world.behind(epoch) > 0, "it has the old table");
    happens(&mut world, &[Event::Wait(u16::try_from(millis(LEASE)).unwrap()), Event::Wait(1)]);
    happens(&mut world, &[Event::Hear(0, true)]);
    happens(&mut world, &ask);
    happens(&mut world, &ask);
    assert_eq!(world.behind(epoch), 0);
}

#[test]
fn after_a_loss_what_was_told_before_it_costs_nobody_a_record() {
    let mut world = World::new();
    let mut told = Vec::new();
    for _ in 0..10 {
        for event in [Event::Load(0), Event::Beat(0, true), Event::Wait(10)] {
            world.happens(event).unwrap();
        }
        told.push(world.servers[0].known);
    }
    world.happens(Event::Flush).unwrap();
    let said = |known, record| Word {
        instance: "i",
        left: false,
        digest: "d",
        record,
        known,
        unanswered: false,
        purged: 0,
    };
    let first = world.board.say(&said(told[4], "{}"), world.at()).epoch;
    for known in told {
        let again = world.board.say(&said(known, ""), world.at());
        assert_eq!((again.epoch, again.record), (first, super::registry::steps::Stands::Known), "{known}");
    }
    let later = world.board.say(&said(first + 1, ""), world.at());
    assert_eq!(later.record, super::registry::steps::Stands::Lacking, "what was told since is asked after");
}

#[test]
fn who_was_never_answered_may_have_been_heard() {
    let mut world = World::new();
    let said = |unanswered| Word {
        instance: "i",
        left: false,
        digest: "d",
        record: "{}",
        known: 0,
        unanswered,
        purged: 0,
    };
    let new = world.board.say(&said(false), world.at()).epoch;
    assert_eq!(world.behind(new), 0, "a new pool has nobody to wait for");
    world.happens(Event::Flush).unwrap();
    let again = world.board.say(&said(true), world.at()).epoch;
    assert!(world.behind(again) > 0);
}

#[test]
fn a_purge_reaches_servers_gates_and_proxies_and_is_said_again_after_a_loss() {
    let mut world = World::new();
    let happens = |world: &mut World, events: &[Event]| {
        for event in events {
            world.happens(*event).unwrap();
        }
    };
    let ask = [Event::Ask(0), Event::Hear(0, true), Event::Ask(1), Event::Hear(1, true)];
    let polls: Vec<Event> = (0..3).flat_map(|p| [Event::Poll(p, 0), Event::Answer(p, 0)]).collect();
    let beats = [Event::Beat(0, true), Event::Beat(1, true)];
    let round = [&beats[..], &ask, &polls].concat();
    happens(&mut world, &round);
    happens(&mut world, &round);
    let before = world.known_by_all();
    happens(&mut world, &[Event::Purge(0)]);
    assert!(!world.is_purged());
    happens(&mut world, &round);
    happens(&mut world, &round);
    happens(&mut world, &round);
    assert!(world.is_purged() && world.known_by_all() > before);
    let purged = world.known_by_all();
    happens(&mut world, &[Event::Flush]);
    (0..3).for_each(|_| happens(&mut world, &round));
    assert!(world.known_by_all() > purged, "what was lost is higher");
}
