//! Lookups that go to the gate together.

use super::*;
use crate::batched::ALONE;
use bytes::Bytes;
use forebay_protocol::lookups::{LATER, Lookups, Outcome, Outcomes};
use prost::Message as _;

/// A request that none before was equal to, and its lookup.
struct Asked {
    exchange: Exchange,
    acts: Acts,
}

impl World {
    /// So many different misses.
    fn several(&mut self, count: usize, more: &[(&str, &str)]) -> Vec<Asked> {
        (0..count).map(|_| self.another(more)).collect()
    }

    fn another(&mut self, more: &[(&str, &str)]) -> Asked {
        let body =
            format!(r#"{{"inputs":[{{"name":"x","shape":[1],"datatype":"INT32","data":[{}]}}]}}"#, self.next);
        let (exchange, acts) = self.asks_with(more, body.as_bytes());
        Asked { exchange, acts }
    }

    /// A worker with as many calls under way as go alone, and those that wait behind them.
    fn busy(settings: &str, waiting: usize) -> (Self, Vec<Asked>, Vec<Asked>) {
        let mut world = Self::new(settings);
        let mut asked = world.several(ALONE + waiting, &[]);
        let behind = asked.split_off(ALONE);
        assert!(asked.iter().all(|asked| call(&asked.acts).is_some()));
        assert!(behind.iter().all(|behind| behind.acts == Acts::hold()));
        (world, asked, behind)
    }

    /// What the root context sends when it comes: the lookups of its message, and its call.
    pub(super) fn sends_batch(&mut self) -> Option<(Call, Lookups)> {
        let acts = self.worker.on_wake(&self.host);
        batch(&acts)
    }

    /// The gate's answer to a message: whom the root context answers or sends upstream, and what it sends next.
    pub(super) fn gate_says_of_all(
        &mut self,
        call: &Call,
        outcomes: &[(u32, &[u8])],
    ) -> (Vec<(u32, String)>, Acts) {
        let outcome = |(status, entry): &(u32, &[u8])| Outcome {
            status: *status,
            entry: Bytes::copy_from_slice(entry),
        };
        let told = Outcomes { outcomes: outcomes.iter().map(outcome).collect() }.encode_to_vec();
        self.hears_of_batch(call, &[(":status", "200"), ("x-forebay-format", "2")], Some(&told))
    }

    fn hears_of_batch(
        &mut self,
        call: &Call,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> (Vec<(u32, String)>, Acts) {
        self.host.shows(Of::Call, headers, body.unwrap_or_default());
        let acts = self.worker.on_call_response(&self.host, call.ticket, body.map(<[u8]>::len));
        let became = acts.list.iter().filter_map(|act| match act {
            Act::Answer { context, reply: Reply::Kept { status, .. } } => {
                Some((*context, status.to_string()))
            }
            Act::Resume { context } => Some((*context, "goes on".to_owned())),
            _ => None,
        });
        (became.collect(), acts)
    }
}

fn batch(acts: &Acts) -> Option<(Call, Lookups)> {
    let sent = acts.list.iter().find_map(|act| match act {
        Act::Call(call) if matches!(call.ticket, Ticket::Lookups(_)) => Some((**call).clone()),
        _ => None,
    })?;
    assert_eq!((sent.method, &*sent.path), ("POST", "/forebay/v2/lookups"));
    let lookups = Lookups::parse(sent.body.clone().into()).unwrap();
    Some((sent, lookups))
}

fn context(asked: &Asked) -> u32 {
    asked.exchange.context
}

#[test]
fn those_that_wait_go_together_when_a_call_ends_and_each_gets_its_own() {
    let (mut world, mut alone, mut behind) = World::busy(GATE, 3);
    assert_eq!(world.sends_batch(), None, "all calls are under way");
    world.gate_says(&mut alone[0].exchange, "404", b"");
    let (call, lookups) = world.sends_batch().unwrap();
    assert_eq!((lookups.lookups.len(), call.timeout_ms), (3, 5));
    assert!(lookups.lookups.iter().all(|lookup| (&*lookup.service, &*lookup.model) == ("demo", "m")));
    let (mut became, acts) = world.gate_says_of_all(&call, &[(404, b""), (200, &entry(1)), (503, b"")]);
    became.sort_unstable();
    assert_eq!(batch(&acts), None);
    let goes = "goes on".to_owned();
    assert_eq!(
        became,
        [
            (context(&behind[0]), goes.clone()),
            (context(&behind[1]), "forebay; hit; ttl=59; detail=l2".to_owned()),
            (context(&behind[2]), goes),
        ]
    );
    assert_eq!(
        world.answers(&mut behind[0].exchange, &FRESH, ANSWER),
        "forebay; fwd=miss; detail=no-generation"
    );
    assert_eq!(
        world.answers(&mut behind[2].exchange, &FRESH, ANSWER),
        "forebay; fwd=miss; detail=gate-failed"
    );
}

#[test]
fn what_one_of_them_finds_answers_those_who_wait_for_it() {
    let (mut world, mut alone, _) = World::busy(GATE, 0);
    let (leader, acts) = world.asks(BODY);
    assert_eq!(acts, Acts::hold());
    let (waiter, acts) = world.asks(SPACED);
    assert_eq!(acts, Acts::hold());
    world.gate_says(&mut alone[0].exchange, "404", b"");
    let (call, lookups) = world.sends_batch().unwrap();
    assert_eq!(lookups.lookups.len(), 1);
    let (became, acts) = world.gate_says_of_all(&call, &[(200, &entry(1))]);
    assert_eq!(became.iter().map(|(context, _)| *context).collect::<Vec<_>>(), [leader.context]);
    assert!(acts.list.contains(&Act::Wake));
    assert_eq!(world.wakes(), [(waiter.context, "forebay; hit; ttl=59; detail=l2".to_owned())]);
}

#[test]
fn who_leaves_is_neither_asked_for_nor_answered_and_the_next_one_leads() {
    let (mut world, mut alone, mut behind) = World::busy(GATE, 3);
    world.leaves(behind.remove(0).exchange);
    world.gate_says(&mut alone[0].exchange, "404", b"");
    let (call, lookups) = world.sends_batch().unwrap();
    assert_eq!(lookups.lookups.len(), 2);
    world.leaves(behind.remove(0).exchange);
    let (became, _) = world.gate_says_of_all(&call, &[(200, &entry(1)), (404, b"")]);
    assert_eq!(became, [(context(&behind[0]), "goes on".to_owned())]);

    let (mut world, ..) = World::busy(GATE, 0);
    let (leader, _) = world.asks(BODY);
    let (waiter, _) = world.asks(BODY);
    world.leaves(leader);
    assert_eq!(world.wakes(), [(waiter.context, "goes on".to_owned())]);
}

#[test]
fn what_had_no_room_in_an_answer_is_asked_first_the_next_time() {
    let (mut world, mut alone, behind) = World::busy(GATE, 3);
    world.gate_says(&mut alone[0].exchange, "404", b"");
    let (call, all) = world.sends_batch().unwrap();
    let late = world.another(&[]);
    assert_eq!(late.acts, Acts::hold());
    let (became, acts) = world.gate_says_of_all(&call, &[(200, &entry(1)), (LATER, b""), (LATER, b"")]);
    assert_eq!(became.len(), 1);
    assert_eq!(became[0].0, context(&behind[0]));
    let (_, next) = batch(&acts).expect("it is asked at once");
    assert_eq!(next.lookups[..2], all.lookups[1..]);
    assert_eq!(next.lookups.len(), 3);
}

#[test]
fn nobody_waits_longer_than_a_lookup_may_take() {
    let (mut world, mut alone, behind) = World::busy(GATE, 1);
    world.host.now_ms.set(world.host.now_ms.get() + 3);
    let later = world.another(&[]);
    world.host.now_ms.set(world.host.now_ms.get() + 1);
    world.gate_says(&mut alone[0].exchange, "404", b"");
    let (call, lookups) = world.sends_batch().unwrap();
    assert_eq!((lookups.lookups.len(), call.timeout_ms), (2, 1), "the first has waited 4 of 5 ms");
    let (became, _) = world.hears_of_batch(&call, &[], None);
    assert_eq!(became.len(), 2);

    let mut more = world.another(&[]);
    let waits = world.another(&[]);
    assert_eq!(waits.acts, Acts::hold());
    world.host.now_ms.set(world.host.now_ms.get() + 5);
    world.gate_says(&mut more.exchange, "404", b"");
    let acts = world.worker.on_wake(&world.host);
    assert_eq!(acts.list.as_slice(), [Act::Resume { context: context(&waits) }]);
    drop((behind, later, more));
}

#[test]
fn a_message_that_fails_is_one_failure_and_sends_all_of_it_upstream() {
    let (mut world, mut alone, mut behind) = World::busy(GATE, 20);
    world.gate_says(&mut alone[0].exchange, "404", b"");
    let (call, _) = world.sends_batch().unwrap();
    let (became, _) = world.hears_of_batch(&call, &[(":status", "503")], Some(b""));
    assert_eq!(became.len(), 20);
    assert_eq!(
        world.answers(&mut behind[0].exchange, &FRESH, ANSWER),
        "forebay; fwd=miss; detail=gate-failed"
    );
    let next = world.another(&[]);
    assert!(super::call(&next.acts).is_some(), "one failure opens no breaker");
}

#[test]
fn those_who_wait_longer_than_they_may_are_let_go_a_few_at_a_time() {
    let (mut world, mut alone, behind) = World::busy(GATE, 200);
    world.host.now_ms.set(world.host.now_ms.get() + 5);
    world.gate_says(&mut alone[0].exchange, "404", b"");
    for (gone, are_more) in [(64, true), (64, true), (64, true), (8, false)] {
        let acts = world.worker.on_wake(&world.host);
        let resumed = acts.list.iter().filter(|act| matches!(act, Act::Resume { .. })).count();
        assert_eq!((resumed, acts.list.contains(&Act::Wake)), (gone, are_more));
    }
    drop(behind);
}

#[test]
fn where_the_gate_is_left_alone_by_now_those_who_wait_go_upstream_at_once() {
    let (mut world, mut alone, mut behind) =
        World::busy(r#", "gate": {"cluster": "gate", "max_batch": 2}"#, 9);
    world.gate_says(&mut alone[0].exchange, "503", b"");
    let mut asked = world.sends_batch();
    while let Some((call, _)) = asked {
        let (_, acts) = world.hears_of_batch(&call, &[(":status", "503")], Some(b""));
        asked = batch(&acts);
    }
    let last = world.answers(&mut behind.pop().unwrap().exchange, &FRESH, ANSWER);
    assert_eq!(last, "forebay; fwd=miss; detail=no-generation", "five failures in a row, and nobody asks");
    assert_eq!(world.another(&[]).acts.flow, Flow::Continue);
}

#[test]
fn those_who_have_more_time_keep_nobody_waiting() {
    let mut world = World::new(GATE);
    let patient = world.several(2 * ALONE, &[("cache-control", "only-if-cached")]);
    assert!(patient.iter().all(|asked| call(&asked.acts).is_some()));
    let others = world.several(ALONE, &[]);
    assert!(others.iter().all(|asked| call(&asked.acts).is_some()), "none of them waits");
}

#[test]
fn messages_of_which_nothing_could_be_said_are_failures_and_one_answer_is_none() {
    for (outcomes, rests) in [([503, 503], true), ([503, 404], false)] {
        let settings = r#", "gate": {"cluster": "gate", "max_batch": 2}"#;
        let (mut world, mut alone, _behind) = World::busy(settings, 10);
        world.gate_says(&mut alone[0].exchange, "404", b"");
        let mut sent = world.sends_batch();
        for _ in 0..5 {
            let (_, acts) =
                world.gate_says_of_all(&sent.unwrap().0, &outcomes.map(|status| (status, &b""[..])));
            sent = batch(&acts);
        }
        let next = world.another(&[]);
        assert_eq!(call(&next.acts).is_none(), rests);
    }
}

#[test]
fn a_gate_that_knows_no_batches_is_asked_by_each_alone_from_then_on() {
    let (mut world, mut alone, _) = World::busy(GATE, 3);
    world.gate_says(&mut alone[0].exchange, "404", b"");
    let (call, _) = world.sends_batch().unwrap();
    let (became, _) =
        world.hears_of_batch(&call, &[(":status", "404"), ("x-forebay-format", "2")], Some(b""));
    assert_eq!(became.len(), 3);
    let asked = world.several(9, &[]);
    assert!(asked.iter().all(|asked| super::call(&asked.acts).is_some()));
    world.host.now_ms.set(world.host.now_ms.get() + 60_000);
    world.hears_what_lives();
    assert_eq!(world.another(&[]).acts, Acts::hold());
}

#[test]
fn as_many_go_together_as_is_said_and_one_by_one_where_that_is_one() {
    let two = r#", "gate": {"cluster": "gate", "max_batch": 2}"#;
    let (mut world, mut alone, _) = World::busy(two, 3);
    world.gate_says(&mut alone[0].exchange, "404", b"");
    let (call, lookups) = world.sends_batch().unwrap();
    assert_eq!(lookups.lookups.len(), 2);
    let (_, acts) = world.gate_says_of_all(&call, &[(404, b""), (404, b"")]);
    assert_eq!(batch(&acts).unwrap().1.lookups.len(), 1);

    let mut world = World::new(r#", "gate": {"cluster": "gate", "max_batch": 1}"#);
    assert!(world.several(20, &[]).iter().all(|asked| super::call(&asked.acts).is_some()));
}

#[test]
fn who_wants_nothing_but_a_kept_answer_goes_alone() {
    let (mut world, ..) = World::busy(GATE, 1);
    let only = world.another(&[("cache-control", "only-if-cached")]);
    assert!(call(&only.acts).is_some());
}

#[test]
fn what_is_no_answer_to_the_lookups_of_a_message_fails_it() {
    let headers = [(":status", "200"), ("x-forebay-format", "2")];
    for body in [&b"\xff\xff"[..], b"", &[0x0a, 0x03, 0x08, 0x94, 0x03]] {
        let (mut world, mut alone, _) = World::busy(GATE, 2);
        world.gate_says(&mut alone[0].exchange, "404", b"");
        let (call, _) = world.sends_batch().unwrap();
        let (became, _) = world.hears_of_batch(&call, &headers, Some(body));
        assert_eq!(became.len(), 2, "{body:?}");
    }
}
