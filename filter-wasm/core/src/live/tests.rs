use super::*;
use crate::host::double::Double;

const ASKED: Asked<'_> = Asked { service: "s", model: "m", version: "", tenant: "" };
const OLD: Generation = Generation([1; 32]);
const NEW: Generation = Generation([2; 32]);

fn gate() -> Gate {
    serde_json::from_str(r#"{"cluster": "gate"}"#).unwrap()
}

fn live() -> Live {
    Live::new(Some(&gate()))
}

fn table(epoch: u64, generation: &Generation, pools_ms: u64) -> Vec<u8> {
    let model =
        format!(r#"{{"service": "s", "model": "m", "version": "", "generations": ["{generation}"]}}"#);
    format!(r#"{{"format": 2, "epoch": {epoch}, "proof": "of {epoch}", "now_ms": {pools_ms}, "models": [{model}]}}"#).into_bytes()
}

fn answer(generation: &Generation) -> Answer {
    Answer { generation: Some(*generation), ..Answer::of_body(Vec::new()) }
}

fn allows(live: &Live, answer: &Answer, now_ms: u64) -> bool {
    live.standing(answer, ASKED, now_ms, 5000) == Standing::Live
}

/// Sends a poll, and hears `body` with `status`.
fn polls(live: &mut Live, host: &Double, at_ms: (u64, u64), status: &str, body: &[u8]) -> Heard {
    let (asked_ms, heard_ms) = at_ms;
    let call = live.poll(&gate(), Said::default(), asked_ms);
    let Ticket::Poll { number, .. } = call.ticket else { panic!("{call:?}") };
    host.shows(Of::Call, &[(":status", status), ("x-forebay-format", "2"), ("x-forebay-epoch", "1")], body);
    live.polled(host, number, Some(body.len()), heard_ms)
}

fn hears(live: &mut Live, host: &Double, at_ms: u64, epoch: u64, generation: &Generation) -> Heard {
    polls(live, host, (at_ms, at_ms), "200", &table(epoch, generation, at_ms))
}

#[test]
fn a_tenant_whose_results_were_purged_goes_by_a_row_of_its_own_and_others_by_that_of_all() {
    let (host, mut live) = (Double::default(), live());
    let row = |tenant: &str, generation: &Generation| {
        format!(r#"{{"service": "s", "model": "m", "version": "", {tenant}"generations": ["{generation}"]}}"#)
    };
    let rows = [row("", &OLD), row(r#""tenant": "t", "#, &NEW)].join(",");
    let json = format!(r#"{{"format": 2, "epoch": 1, "now_ms": 10000, "models": [{rows}]}}"#);
    assert_eq!(polls(&mut live, &host, (10_000, 10_000), "200", json.as_bytes()), Heard::Changed);
    let stands =
        |tenant, generation| live.standing(&answer(generation), Asked { tenant, ..ASKED }, 10_100, 5000);
    assert_eq!((stands("t", &NEW), stands("t", &OLD)), (Standing::Live, Standing::Gone));
    for tenant in ["", "u"] {
        assert_eq!((stands(tenant, &NEW), stands(tenant, &OLD)), (Standing::Gone, Standing::Live));
    }
}

#[test]
fn what_was_made_until_its_request_was_purged_is_dropped_by_the_pools_clock() {
    let digest = Digest([9; 32]);
    // The pool's clock is ahead by an hour.
    for (skew_ms, now_ms) in [(0, 10_000_u64), (3_600_000, 10_000)] {
        let (host, mut live) = (Double::default(), live());
        let number = (now_ms + skew_ms) * 1000;
        let pools_ms = now_ms + skew_ms;
        let json = format!(
            r#"{{"format": 2, "epoch": {pools_ms}, "now_ms": {pools_ms}, "models": [], "dropped": [{{"digest": "{digest}", "number": {number}}}]}}"#
        );
        assert_eq!(polls(&mut live, &host, (now_ms, now_ms), "200", json.as_bytes()), Heard::Changed);
        let made = |created_ms| Answer { created_ms, ..answer(&NEW) };
        for (of, dropped) in [(Some(&digest), true), (Some(&Digest([1; 32])), false), (None, true)] {
            assert_eq!(live.is_dropped(of, &made(now_ms)), dropped, "{of:?}");
            assert!(!live.is_dropped(of, &made(now_ms + TOLERANCE_MS + 1)), "it was made since");
        }
    }
}

#[test]
fn one_worker_polls_and_all_know() {
    let host = Double::default();
    let (mut one, mut other) = (live(), live());
    assert!(one.takes_turn(&host, &gate(), 10_000));
    assert!(!other.takes_turn(&host, &gate(), 10_001), "one polls at a time");
    assert_eq!(hears(&mut one, &host, 10_000, 1, &NEW), Heard::Changed);
    other.refresh(&host);
    assert!(allows(&other, &answer(&NEW), 10_100));
    assert!(!allows(&other, &answer(&OLD), 10_100));
    assert!(one.goes_on(&host, &gate(), Heard::Changed, 10_100));
    assert!(!other.takes_turn(&host, &gate(), 10_101));
    assert!(!one.goes_on(&host, &gate(), Heard::Nothing, 10_200));
    assert!(other.takes_turn(&host, &gate(), 10_201));
}

#[test]
fn a_worker_whose_turn_was_taken_does_not_go_on_beside_the_one_that_took_it() {
    let host = Double::default();
    let (mut slow, mut other) = (live(), live());
    assert!(slow.takes_turn(&host, &gate(), 10_000));
    let Ticket::Poll { number, .. } = slow.poll(&gate(), Said::default(), 10_000).ticket else { panic!() };
    assert!(other.takes_turn(&host, &gate(), 14_000), "as long as a poll may take");
    host.shows(Of::Call, &[(":status", "200"), ("x-forebay-format", "2")], &table(1, &NEW, 10_000));
    let heard = slow.polled(&host, number, Some(1 << 10), 14_001);
    assert_eq!(heard, Heard::Changed);
    assert!(!slow.goes_on(&host, &gate(), heard, 14_001));
    assert!(other.goes_on(&host, &gate(), Heard::Same, 14_002), "and the turn is still the other's");
    assert!(!slow.takes_turn(&host, &gate(), 14_003));
    // An answer of which nobody knows any more frees nobody's turn.
    assert_eq!(other.polled(&host, 77, Some(0), 14_004), Heard::Late);
    assert!(!other.goes_on(&host, &gate(), Heard::Late, 14_004));
    assert!(!slow.takes_turn(&host, &gate(), 14_005));
}

#[test]
fn two_gates_have_a_board_each() {
    let host = Double::default();
    let settings: Gate = serde_json::from_str(r#"{"cluster": "another"}"#).unwrap();
    let (mut one, mut other) = (live(), Live::new(Some(&settings)));
    assert!(one.takes_turn(&host, &gate(), 10_000) && other.takes_turn(&host, &settings, 10_000));
    hears(&mut one, &host, 10_000, 1, &NEW);
    other.refresh(&host);
    assert_eq!(other.epoch(), 0);
}

#[test]
fn epochs_only_grow_whoever_writes_last() {
    let host = Double::default();
    let (mut one, mut late) = (live(), live());
    assert_eq!(hears(&mut one, &host, 10_000, 7, &NEW), Heard::Changed);
    // Its gate was told of no table, and has one of before: whatever epoch it gave that.
    for epoch in [6, 8] {
        assert_eq!(hears(&mut late, &host, 10_001, epoch, &OLD), Heard::Nothing);
        late = self::live();
    }
    for mut worker in [one, late, live()] {
        worker.refresh(&host);
        assert_eq!(worker.epoch(), 7);
        assert!(!allows(&worker, &answer(&OLD), 10_100));
        assert!(allows(&worker, &answer(&NEW), 10_100));
    }
    let mut told = live();
    told.refresh(&host);
    assert_eq!(hears(&mut told, &host, 10_002, 8, &OLD), Heard::Changed, "a poll that says what it has");
}

#[test]
fn a_poll_without_news_keeps_the_table_believed() {
    let host = Double::default();
    let mut live = live();
    hears(&mut live, &host, 10_000, 1, &NEW);
    assert_eq!(polls(&mut live, &host, (14_000, 16_000), "204", b""), Heard::Same);
    assert!(allows(&live, &answer(&NEW), 19_000), "5 s from when the poll was sent");
    assert!(!allows(&live, &answer(&NEW), 19_001));
    assert_eq!(polls(&mut live, &host, (16_000, 16_010), "204", b""), Heard::Nothing, "it was not held");
}

#[test]
fn without_a_believable_table_nobody_knows_what_lives() {
    let host = Double::default();
    let mut live = live();
    let standing = |live: &Live, generation, now_ms| live.standing(&answer(generation), ASKED, now_ms, 5000);
    assert_eq!(standing(&live, &NEW, 9000), Standing::Unknown, "there is none yet");
    hears(&mut live, &host, 10_000, 1, &NEW);
    assert_eq!(standing(&live, &NEW, 15_000), Standing::Live);
    assert_eq!(standing(&live, &OLD, 15_000), Standing::Gone);
    let without = Answer { generation: None, ..answer(&NEW) };
    assert_eq!(live.standing(&without, ASKED, 15_000, 5000), Standing::Gone);
    for generation in [&NEW, &OLD] {
        assert_eq!(standing(&live, generation, 15_001), Standing::Unknown, "it is too old to be believed");
    }
}

#[test]
fn a_clock_that_is_set_back_turns_no_check_off() {
    let host = Double::default();
    let mut live = live();
    hears(&mut live, &host, 3_600_000, 1, &NEW);
    // An hour back: neither the table nor what was stored has an age that is known.
    assert!(!allows(&live, &answer(&NEW), 1000));
    assert!(live.takes_turn(&host, &gate(), 1000), "and it is polled again");
    hears(&mut live, &host, 1000, 2, &NEW);
    assert!(allows(&live, &answer(&NEW), 1001));
}

#[test]
fn what_is_no_table_or_of_another_format_leaves_the_last_one_standing() {
    let host = Double::default();
    let mut live = live();
    hears(&mut live, &host, 10_000, 1, &NEW);
    for (status, body) in [("200", &b"<html>"[..]), ("200", br#"{"format": 3}"#), ("503", b"")] {
        assert_eq!(polls(&mut live, &host, (10_100, 10_200), status, body), Heard::Nothing);
    }
    assert!(allows(&live, &answer(&NEW), 10_300));
    assert_eq!(host.warnings.borrow().len(), 2);
    let call = live.poll(&gate(), Said::default(), 10_300);
    let Ticket::Poll { number, .. } = call.ticket else { panic!("{call:?}") };
    host.shows(Of::Call, &[(":status", "200")], b"");
    assert_eq!(live.polled(&host, number, Some(0), 10_301), Heard::UnknownFormat);
}

#[test]
fn a_poll_acknowledges_the_table_that_the_workers_have() {
    let host = Double::default();
    let mut live = live();
    live.on_start(&host);
    hears(&mut live, &host, 10_000, 7, &NEW);
    let said = Said { vm: 3, seq: 2, report: Report::default() };
    let poll = Poll::parse(&live.poll(&gate(), said, 10_001).body).unwrap();
    assert_eq!((poll.epoch, poll.vm, poll.seq, poll.wait_ms), (7, 3, 2, 2000));
    assert_eq!(poll.proof, "of 7");
    assert_eq!(poll.proxy.len(), 16);
    let mut other = self::live();
    other.on_start(&host);
    let poll = Poll::parse(&other.report(&gate(), Said { seq: 1, ..Said::default() }).body).unwrap();
    assert_eq!((poll.epoch, poll.proof.as_str(), poll.wait_ms), (7, "of 7", 0));
    // A gate with another secret gives the same table out by another proof.
    let again = String::from_utf8(table(7, &NEW, 10_000)).unwrap().replace("of 7", "again");
    assert_eq!(polls(&mut live, &host, (10_002, 10_003), "200", again.as_bytes()), Heard::Nothing);
    let poll = Poll::parse(&live.poll(&gate(), Said::default(), 10_004).body).unwrap();
    assert_eq!((poll.epoch, poll.proof.as_str()), (7, "again"));
}

#[test]
fn skew_is_what_is_more_than_the_way() {
    assert_eq!([skew_ms(Some(10_900), 10_000), skew_ms(None, 1)], [0, 0]);
    assert_eq!([skew_ms(Some(3_610_000), 10_000), skew_ms(Some(10_000), 3_610_000)], [3_600_000, -3_600_000]);
}

#[test]
fn a_poll_is_what_the_protocol_fixes() {
    let golden = include_str!("../../../../protocol/golden/2/polls.json");
    for vector in serde_json::from_str::<Vec<serde_json::Value>>(golden).unwrap() {
        let bytes = vector["bytes"].as_str().unwrap();
        let Poll { proxy, vm, epoch, proof, wait_ms, seq, report, .. } =
            Poll::parse(bytes.as_bytes()).unwrap();
        let mut live = live();
        (live.board.proxy, live.epoch, live.proof) = (proxy, epoch, proof);
        let said = Said { vm, seq, report };
        let settings = Gate { poll_ms: wait_ms, ..gate() };
        let call = if wait_ms > 0 { live.poll(&settings, said, 0) } else { live.report(&settings, said) };
        assert_eq!((call.method, &*call.path), ("POST", "/forebay/v2/poll"));
        assert_eq!(std::str::from_utf8(&call.body).unwrap(), bytes, "{}", vector["name"]);
    }
}
