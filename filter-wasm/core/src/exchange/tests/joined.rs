//! Equal requests: who waits, who leads next, and what they are given.

use super::*;

#[test]
fn who_joins_is_held_until_the_root_context_answers_it() {
    let mut world = World::new("");
    let (mut leader, acts) = world.asks(BODY);
    assert_eq!(acts, Acts::go());
    let (mut waiter, acts) = world.asks(WITH_ID);
    assert_eq!(acts, Acts::hold());
    assert_eq!(world.sends_body(&mut waiter, b"", true), Acts::hold(), "still held");
    world.begins(&mut leader, &FRESH);
    assert_eq!(world.ends(&mut leader, ANSWER), Acts::go().and(Act::Wake));
    assert_eq!(world.wakes(), [(waiter.context, "mineforebay; fwd=miss; collapsed".into())]);
    // Its own answer passes through it like any other.
    assert_eq!(world.begins(&mut waiter, &FRESH), (String::new(), false));
    assert_eq!(world.leaves(waiter), Acts::go());
}

#[test]
fn many_are_released_a_batch_a_wake_and_it_is_asked_for_once() {
    let mut world = World::new("");
    let (mut leader, _) = world.asks(BODY);
    let waiters: Vec<_> = (0..=BATCH).map(|_| world.asks(BODY).0).collect();
    world.begins(&mut leader, &FRESH);
    assert_eq!(world.ends(&mut leader, ANSWER), Acts::go().and(Act::Wake));
    let other = world.opens(&[]).0;
    assert_eq!(world.leaves(other), Acts::go(), "it was asked for already");
    let acts = world.worker.on_wake(&world.host);
    assert_eq!((acts.list.len(), acts.list.last()), (BATCH + 1, Some(&Act::Wake)));
    assert_eq!(world.wakes().len(), 1);
    drop(waiters);
}

#[test]
fn a_leader_that_leaves_fails_or_breaks_off_promotes_one() {
    type End = fn(&mut World, Exchange) -> bool;
    let ends: [(&str, End); 4] = [
        ("leaves", |world, leader| world.leaves(leader).list.contains(&Act::Wake)),
        ("503", |world, mut leader| world.begins(&mut leader, &[(":status", "503")]).1),
        ("400", |world, mut leader| world.begins(&mut leader, &[(":status", "400")]).1),
        ("breaks off", |world, mut leader| {
            world.begins(&mut leader, &FRESH);
            world.leaves(leader).list.contains(&Act::Wake)
        }),
    ];
    for (name, end) in ends {
        let mut world = World::new("");
        let (leader, _) = world.asks(BODY);
        let waiters = [(); 3].map(|()| world.asks(BODY).0);
        let contexts = waiters.each_ref().map(|waiter| waiter.context);
        let [mut next, second, third] = waiters;
        assert!(end(&mut world, leader), "{name}: nobody is woken");
        assert_eq!(world.wakes(), [(contexts[0], "goes on".into())], "{name}");
        assert_eq!(world.worker.join.waiting(), 2, "{name}");
        assert_eq!(world.answers(&mut next, &FRESH, ANSWER), "forebay; fwd=miss; detail=promoted");
        let collapsed = "forebay; fwd=miss; collapsed".to_owned();
        assert_eq!(world.wakes(), [(contexts[1], collapsed.clone()), (contexts[2], collapsed)], "{name}");
        drop([second, third]);
    }
}

#[test]
fn an_answer_that_can_not_be_shared_frees_all_and_is_remembered() {
    let mut world = World::new("");
    let (mut leader, _) = world.asks(BODY);
    let mut waiters = [(); 2].map(|()| world.asks(BODY).0);
    assert!(world.begins(&mut leader, &[(":status", "200")]).1, "it is known at its headers");
    assert_eq!(world.wakes(), waiters.each_ref().map(|waiter| (waiter.context, "goes on".into())));
    assert_eq!(world.answers(&mut waiters[0], &FRESH[..1], ANSWER), "forebay; fwd=miss; detail=unshareable");
    let (mut late, acts) = world.asks(BODY);
    assert_eq!(acts, Acts::go());
    assert_eq!(world.answers(&mut late, &FRESH[..1], ANSWER), "forebay; fwd=miss; detail=unshareable");
}

#[test]
fn a_waiter_on_whom_the_proxy_gives_up_or_that_leaves_is_forgotten() {
    let mut world = World::new("");
    let (mut leader, _) = world.asks(BODY);
    let (mut timed_out, _) = world.asks(BODY);
    let (left, _) = world.asks(BODY);
    world.begins(&mut timed_out, &[(":status", "408")]);
    world.leaves(timed_out);
    world.leaves(left);
    assert_eq!((world.worker.join.waiting(), world.worker.join.waiting_bytes()), (0, 0));
    world.begins(&mut leader, &FRESH);
    assert_eq!(world.ends(&mut leader, ANSWER), Acts::go());
}

#[test]
fn another_encoding_waits_too_and_leads_next_when_only_bytes_came() {
    let mut world = World::new("");
    let (mut leader, _) = world.asks(BODY);
    let (binary, acts) = world.asks(AS_BINARY);
    assert_eq!(acts, Acts::hold());
    let (json, _) = world.asks(WITH_ID);
    let (other_binary, _) = world.asks(AS_BINARY);
    world.answers(&mut leader, &FRESH, ANSWER);
    let collapsed = (json.context, "mineforebay; fwd=miss; collapsed".into());
    assert_eq!(world.wakes(), [collapsed, (binary.context, "goes on".into())]);
    let mut binary = binary;
    assert_eq!(world.answers(&mut binary, &FRESH, ANSWER), "forebay; fwd=miss; detail=unsuited");
    assert_eq!(world.wakes(), [(other_binary.context, "forebay; fwd=miss; collapsed".into())]);
}

#[test]
fn an_entry_of_the_pool_is_answered_in_every_encoding_that_is_waited_for() {
    let mut world = World::new(GATE);
    let (mut leader, acts) = world.asks(WITH_ID);
    let lookup = call(&acts).expect("a lookup");
    assert_eq!((lookup.ticket, lookup.cluster.as_str(), lookup.timeout_ms), (Ticket::Lookup, "gate", 5));
    let (binary, acts) = world.asks(AS_BINARY);
    assert_eq!(acts, Acts::hold(), "one lookup for both");
    let acts = world.gate_says(&mut leader, "200", &entry(5));
    assert_eq!(acts.list.last(), Some(&Act::Wake));
    assert!(matches!(&acts.list[0], Act::Answer { reply: Reply::Kept { id, .. }, .. } if id == "mine"));
    let acts = world.worker.on_wake(&world.host);
    let [Act::Answer { context, reply: Reply::Kept { answer, status, .. } }] = acts.list.as_slice() else {
        panic!("{acts:?}")
    };
    assert_eq!(status.to_string(), "forebay; hit; ttl=55; detail=l2", "nothing went upstream");
    assert_eq!(
        (*context, &answer.body[answer.header_length.unwrap()..]),
        (binary.context, &[7, 0, 0, 0][..])
    );
}

#[test]
fn a_lookup_is_of_its_requests_trace_and_what_is_none_is_not_passed_on() {
    let mut world = World::new(GATE);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let longer = format!("{trace}-more");
    for (number, said) in
        [trace, "", &trace[1..], &longer, &trace.replace('-', "+"), &trace.replace('c', "x")]
            .into_iter()
            .enumerate()
    {
        let body = String::from_utf8_lossy(BODY).replace('7', &number.to_string());
        let (_, acts) = world.asks_with(&[("traceparent", said)], body.as_bytes());
        let call = call(&acts).expect("a lookup");
        let passed = call.headers.iter().find(|(name, _)| *name == "traceparent");
        assert_eq!(passed.map(|(_, value)| value.as_str()), (number == 0).then_some(trace), "{said}");
    }
}

#[test]
fn a_waiter_that_goes_on_gives_back_what_its_body_took() {
    let mut world = World::new("");
    let (leader, _) = world.asks(BODY);
    let (waiter, _) = world.asks(BODY);
    let before = world.worker.memory.held();
    world.leaves(leader);
    assert_eq!(world.wakes(), [(waiter.context, "goes on".into())]);
    assert!(before - world.worker.memory.held() >= BODY.len(), "while its answer is computed");
    drop(waiter);
}

#[test]
fn whom_an_entry_of_the_pool_is_too_old_for_asks_anew() {
    let mut world = World::new(GATE);
    let (mut leader, _) = world.asks(BODY);
    let (strict, acts) = world.asks_with(&[("cache-control", "max-age=4")], BODY);
    assert_eq!(acts, Acts::hold());
    assert!(world.gate_says(&mut leader, "200", &entry(5)).list.contains(&Act::Wake));
    assert_eq!(world.wakes(), [(strict.context, "goes on".into())]);
}
