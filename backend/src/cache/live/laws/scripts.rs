//! The scripts do in Redis what `board` does: both are told the same, at the same times, and answer the same.

use std::collections::BTreeMap;

use ::redis::{Client, Connection, FromRedisValue};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rig::tier::{Server, Tier};

use crate::cache::live::heard::{Heard, Record, Served, outdated};
use crate::cache::live::millis;
use crate::cache::live::proxies::LEASE;
use crate::cache::live::purges::{self, Full, Name};
use crate::cache::live::registry::board::{At, Board};
use crate::cache::live::registry::redis::{
    BehindAnswer, RaiseAnswer, ReadAnswer, SayAnswer, Step as Script, keys, raised as raised_by, reported,
    swept,
};
use crate::cache::live::registry::steps::{Known, Read, Reader, Said, Word, digest, text};
use crate::cache::live::reports::{Fate, REMEMBERED};
use crate::cache::pool::Names;
use forebay_protocol::digest::Generation;
use forebay_protocol::tenant::Tenant;

/// Time and run come as the last arguments.
const NOW: &str = "local run = table.remove(ARGV)\nlocal now_us = tonumber(table.remove(ARGV))\n";

/// A Redis of the test's own.
struct Redis {
    _server: Server,
    connection: Connection,
}

impl Redis {
    fn start() -> Self {
        let server = Server::start(Tier::Redis);
        let connection = Client::open(format!("redis://127.0.0.1:{}", server.port)).unwrap();
        Self { connection: connection.get_connection().unwrap(), _server: server }
    }

    fn run<T: FromRedisValue>(&mut self, rest: &str, arguments: &[String], at: At) -> T {
        let names = Names::new("forebay");
        let arguments = [arguments, &[at.us.to_string(), at.run.to_string()]].concat();
        Script::new(NOW, rest).command(&keys(&names, false), &arguments).query(&mut self.connection).unwrap()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Wait(i32),
    /// Another Redis takes over.
    FailOver,
    /// Instance, whether it leaves and was never answered, what it serves, whether it says the record, which of the epochs and of the
    /// purge numbers it knows.
    Say(u8, (bool, bool), u8, bool, (usize, usize)),
    /// Gate, which epoch and purge number it has, whether it says the signature, further epochs, proxies.
    Read(u8, (usize, usize), bool, Vec<usize>, Vec<(u8, usize)>),
    /// An epoch, and a purge number or none.
    Behind(usize, usize),
    /// Names, and which of the numbers each is known to have had, and an epoch.
    Raise(Vec<(u8, Option<usize>)>, usize),
    /// Who, and the number of its report.
    Report(u8, u64),
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..40_usize;
    let proxies = prop::collection::vec((0_u8..4, which.clone()), 0..3);
    prop_oneof![
        3 => prop_oneof![8 => -2000..12_000, 1 => Just(-12_000), 1 => Just(700_000), 1 => Just(-700_000)]
            .prop_map(Step::Wait),
        1 => Just(Step::FailOver),
        6 => (
            0_u8..4,
            (prop::bool::weighted(0.1), prop::bool::weighted(0.1)),
            0_u8..3,
            any::<bool>(),
            (which.clone(), 0..5_usize),
        )
            .prop_map(|(i, how, model, record, known)| Step::Say(i, how, model, record, known)),
        6 => (
            0_u8..2,
            (which.clone(), 0..5_usize),
            any::<bool>(),
            prop::collection::vec(which.clone(), 0..2),
            proxies,
        )
            .prop_map(|(g, has, signed, known, proxies)| Step::Read(g, has, signed, known, proxies)),
        2 => (which.clone(), 0..5_usize).prop_map(|(which, purged)| Step::Behind(which, purged)),
        2 => (prop::collection::vec((0_u8..7, prop::option::of(0..5_usize)), 1..3), which)
            .prop_map(|(names, known)| Step::Raise(names, known)),
        3 => (0_u8..3, 1_u64..5).prop_map(|(who, seq)| Step::Report(who, seq)),
        1 => Just(Step::Sweep),
    ]
}

/// Epochs that were given out, some that were not, and none.
pub(super) fn epoch(epochs: &[u64], which: usize) -> u64 {
    match which {
        39 => 77,
        38 => epochs.last().map_or(0, |last| last + 3),
        which => which.checked_rem(epochs.len() + 1).and_then(|at| epochs.get(at)).copied().unwrap_or(0),
    }
}

/// Numbers that were given, the last first, and none.
pub(super) fn purged(numbers: &[u64], which: usize) -> u64 {
    numbers.iter().rev().nth(which).copied().unwrap_or(0)
}

/// Names that cover others, and others.
pub(super) fn name(which: u8) -> Name {
    let tenant = |name| Tenant::parse(name).ok();
    let (service, model, tenant) = match which {
        0 => ("s", "", None),
        1 => ("s", "m", None),
        2 => ("s", "m", tenant("t")),
        3 => ("s", "", tenant("t")),
        4 => ("s", "n", None),
        5 => ("s", "n", tenant("u")),
        _ => ("another", "m", None),
    };
    Name::new(service, model, tenant.as_ref()).unwrap()
}

/// Who reports -> time and number.
#[derive(Default)]
struct Reports(BTreeMap<String, (u64, u64)>);

impl Reports {
    fn fate(&mut self, who: &str, seq: u64, at: At) -> Fate {
        self.0.retain(|_, (ms, _)| ms.abs_diff(at.ms()) < millis(REMEMBERED));
        let last = self.0.get(who).map_or(0, |(_, last)| *last);
        self.0.insert(who.to_owned(), (at.ms(), last.max(seq)));
        if seq > last { Fate::New } else { Fate::Known }
    }
}

struct Both {
    redis: Redis,
    board: Board,
    reports: Reports,
    at: At,
    epochs: Vec<u64>,
    /// Purge numbers that were given.
    numbers: Vec<u64>,
    /// Signatures of the last table, as each has them.
    signatures: (String, String),
}

impl Both {
    fn take(&mut self, step: &Step) {
        let at = self.at;
        match step {
            Step::Wait(ms) => self.at.us = at.us.saturating_add_signed(i64::from(*ms) * 1000 + 7),
            Step::FailOver => self.at.run += 1,
            Step::Say(instance, (left, unanswered), model, whole, (known, purges)) => {
                let instance = format!("instance {instance}");
                let generation = Generation([*model; 32]);
                let served = Served { model: "m".into(), version: String::new(), generation };
                let record = text(&Record::empty("s").then(vec![served]));
                let (digest, known) = (digest(&record), epoch(&self.epochs, *known));
                let record = if *whole { record } else { String::new() };
                let word = Word {
                    instance: &instance,
                    left: *left,
                    digest: &digest,
                    record: &record,
                    known,
                    unanswered: *unanswered,
                    purged: purged(&self.numbers, *purges),
                };
                let said = self.board.say(&word, at);
                let answer: SayAnswer =
                    self.redis.run(include_str!("../registry/redis/say.lua"), &word.arguments(), at);
                assert_eq!(answer.1, at.ms(), "{step:?}");
                let answer = Said::of(answer, word.purged);
                assert_eq!((answer.epoch, answer.record), (said.epoch, said.record), "{step:?}");
                assert_eq!(answer.purges, said.purges, "{step:?}");
                self.epochs.push(said.epoch);
            }
            Step::Read(gate, (has, purges), signed, known, proxies) => {
                let known: Vec<u64> = known.iter().map(|which| epoch(&self.epochs, *which)).collect();
                let proxy = |(name, which): &(u8, usize)| (name.to_string(), epoch(&self.epochs, *which));
                let proxies: Vec<(String, u64)> = proxies.iter().map(proxy).collect();
                let (gate, has) = (format!("gate {gate}"), epoch(&self.epochs, *has));
                let reader = |signature| Reader {
                    gate: &gate,
                    epoch: has,
                    signature,
                    purged: purged(&self.numbers, *purges),
                    known: &known,
                    proxies: &proxies,
                };
                // Before the first table there is no signature to know.
                let (ours, theirs) = self.signatures.clone();
                let has_signature = *signed && !theirs.is_empty();
                let (ours, theirs) =
                    if has_signature { (ours, theirs) } else { ("none".into(), "none".into()) };
                let read = self.board.read(&reader(&ours), at);
                let answer: ReadAnswer = self.redis.run(
                    include_str!("../registry/redis/read.lua"),
                    &reader(&theirs).arguments(),
                    at,
                );
                let answer = Read::of(answer, &reader(&theirs));
                assert_eq!(answer.purges, read.purges, "{step:?}");
                assert_eq!((answer.epoch, answer.now_ms), (read.epoch, at.ms()), "{step:?}");
                assert_eq!(sorted(answer.heard), sorted(read.heard), "{step:?}");
                self.epochs.push(read.epoch);
                self.signatures = (read.signature, answer.signature);
            }
            Step::Behind(which, purges) => {
                let known =
                    Known { epoch: epoch(&self.epochs, *which), purged: purged(&self.numbers, *purges) };
                let (behind, _) = self.board.behind(known, at);
                let answer: BehindAnswer =
                    self.redis.run(include_str!("../registry/redis/behind.lua"), &known.arguments(), at);
                assert_eq!((answer.0, answer.2), (behind, at.ms()), "{step:?}");
            }
            Step::Raise(names, known) => {
                let had = |which: &usize| purged(&self.numbers, *which);
                let names: Vec<_> =
                    names.iter().map(|(of, which)| (name(*of), which.as_ref().map(had))).collect();
                let known = epoch(&self.epochs, *known);
                let raised = self.board.raise(&names, known, at);
                let arguments = raised_by(&names, known);
                let answer: RaiseAnswer =
                    self.redis.run(include_str!("../registry/redis/raise.lua"), &arguments, at);
                assert_eq!(Known::of(answer), raised, "{step:?}");
                let Known { epoch, purged } = raised.unwrap();
                self.epochs.push(epoch);
                self.numbers.push(purged);
            }
            Step::Report(who, seq) => {
                let fate = self.reports.fate(&who.to_string(), *seq, at);
                let arguments = reported(who.to_string(), *seq);
                let answer: String =
                    self.redis.run(include_str!("../registry/redis/report.lua"), &arguments, at);
                assert_eq!(Fate::of(&answer), fate, "{step:?}");
            }
            Step::Sweep => {
                let heard = self.board.heard();
                let gone = outdated(&heard, at.ms());
                let arguments = swept(&gone);
                self.board.sweep(&gone);
                let _: u64 = self.redis.run(include_str!("../registry/redis/sweep.lua"), &arguments, at);
            }
        }
    }
}

pub(super) fn sorted(heard: Option<Vec<Heard>>) -> Option<Vec<Heard>> {
    heard.map(|mut heard| {
        heard.sort_unstable_by(|a, b| a.instance.cmp(&b.instance));
        heard
    })
}

#[test]
fn the_scripts_do_what_the_board_does() {
    let mut redis = Some(Redis::start());
    let mut runner = TestRunner::new(Config { cases: 100, failure_persistence: None, ..Config::default() });
    let steps = prop::collection::vec(step(), 1..80);
    let state = std::cell::RefCell::new(&mut redis);
    let done = runner.run(&steps, |steps| {
        let mut slot = state.borrow_mut();
        let mut redis = slot.take().unwrap_or_else(Redis::start);
        let _: () = ::redis::cmd("FLUSHALL").query(&mut redis.connection).unwrap();
        let (board, epochs) = (Board::default(), Vec::new());
        let at = At { us: 1_700_000_000_000_000, run: 0 };
        let reports = Reports::default();
        let mut both =
            Both { redis, board, reports, at, epochs, numbers: Vec::new(), signatures: Default::default() };
        for step in &steps {
            both.take(step);
        }
        **slot = Some(both.redis);
        Ok(())
    });
    done.unwrap();
}

#[test]
fn there_is_a_bound_on_who_reports_and_the_gone_make_room() {
    let mut redis = Redis::start();
    let mut report = |who: &str, ms: u64, most: &str| {
        let [_, seq, remembered, _] = reported(who.to_owned(), 1);
        let arguments = [who.to_owned(), seq, remembered, most.to_owned()];
        let at = At { us: ms * 1000, run: 0 };
        let answer: String = redis.run(include_str!("../registry/redis/report.lua"), &arguments, at);
        Fate::of(&answer)
    };
    let fates = ["a", "b", "c", "a"].map(|who| report(who, 1_000_000, "2"));
    assert_eq!(fates, [Fate::New, Fate::New, Fate::Dropped, Fate::Known]);
    let later = 1_000_000 + 600_000;
    assert_eq!(["c", "a"].map(|who| report(who, later, "2")), [Fate::New, Fate::New]);
}

#[test]
fn who_polls_no_more_goes_though_nothing_is_loaded() {
    let (mut redis, begun) = (Redis::start(), 1_700_000_000_000);
    let mut read = |proxies: &[(String, u64)], ms: u64| -> usize {
        let reader = Reader { gate: "g", epoch: 0, signature: "", purged: 0, known: &[], proxies };
        let at = At { us: ms * 1000, run: 0 };
        let _: ReadAnswer = redis.run(include_str!("../registry/redis/read.lua"), &reader.arguments(), at);
        ::redis::cmd("HLEN").arg("forebay:3:proxies").query(&mut redis.connection).unwrap()
    };
    let named = |from: usize| (from..from + 1000).map(|name| (name.to_string(), 1)).collect::<Vec<_>>();
    let kept: Vec<usize> = (0..20).map(|at| read(&named(at * 1000), begun + at as u64 * 5000)).collect();
    assert!(kept.iter().all(|kept| *kept < 8000), "three times as many as poll: {kept:?}");
    let later = begun + 20 * 5000 + 10_000;
    assert!((0..400).any(|_| read(&[], later) == 0));
}

#[test]
fn who_polled_before_the_clock_went_back_is_waited_for_once() {
    let (mut board, begun, epoch) = (Board::default(), 1_700_000_000_000, 0);
    let at = |ms: u64| At { us: ms * 1000, run: 0 };
    let proxies = [("gone".to_owned(), 0)];
    board.read(
        &Reader { gate: "g", epoch, signature: "", purged: 0, known: &[], proxies: &proxies },
        at(begun),
    );
    let back = begun - 3_600_000;
    let told = board.epochs.last().copied().unwrap();
    let told = Known { epoch: told, purged: 0 };
    assert!(board.behind(told, at(back)).0 > 0);
    assert_eq!(board.behind(told, at(back + millis(LEASE) + 1)).0, 0);
}

#[test]
fn there_is_a_bound_on_what_was_purged_and_what_covers_makes_room() {
    let (mut redis, mut board) = (Redis::start(), Board::default());
    let mut raise = |name: Name| {
        let (names, at) = ([(name, None)], At { us: 1000, run: 0 });
        let answer: RaiseAnswer =
            redis.run(include_str!("../registry/redis/raise.lua"), &raised_by(&names, 0), at);
        let raised = Known::of(answer);
        assert_eq!(raised, board.raise(&names, 0, at));
        raised.map(drop)
    };
    let model = |number: usize| Name::new("s", &format!("m{number}"), None).unwrap();
    for number in 0..purges::MOST {
        raise(model(number)).unwrap();
    }
    assert_eq!(raise(name(6)), Err(Full));
    raise(model(0)).unwrap();
    raise(model(0).wider()).unwrap();
    raise(name(6)).unwrap();
}
