//! The steps do in a real Memcached what `board` does, also when the board or a record is lost; and steps of many at once are each
//! taken once.

use std::collections::BTreeSet;

use forebay_protocol::digest::Generation;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rig::tier::{Server, Tier};

use super::scripts::{epoch, name, purged, sorted};
use crate::cache::live::heard::{Record, Served, outdated};
use crate::cache::live::registry::MemcachedSteps;
use crate::cache::live::registry::board::{At, Board};
use crate::cache::live::registry::steps::{Known, Read, Reader, Stands, Steps as _, Word, digest, text};
use crate::cache::live::reports::Fate;
use crate::cache::pool::Memcached;
use crate::settings::Reach;

async fn steps(server: &Server) -> MemcachedSteps {
    let url = format!("memcached://127.0.0.1:{}", server.port);
    MemcachedSteps::new(Memcached::open(&Reach::by_url(&url)).await.unwrap())
}

#[derive(Debug, Clone)]
enum Step {
    /// Milliseconds.
    Wait(i32),
    /// Instance, whether it leaves, what it serves, whether it says the record, which of the epochs and purge numbers it knows.
    Say(u8, bool, u8, bool, (usize, usize)),
    /// Gate, which epoch and purge number it has, whether it says the signature, proxies.
    Read(u8, (usize, usize), bool, Vec<(u8, usize)>),
    Behind(usize, usize),
    /// A name, the number that it is known to have had, an epoch.
    Raise(u8, Option<usize>, usize),
    Report(u8, u64),
    Sweep,
    LoseBoard,
    LoseRecord(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..40_usize;
    let proxies = prop::collection::vec((0_u8..4, which.clone()), 0..3);
    prop_oneof![
        3 => prop_oneof![8 => -1000..12_000, 1 => Just(-12_000), 1 => Just(700_000)].prop_map(Step::Wait),
        6 => (0_u8..4, prop::bool::weighted(0.1), 0_u8..3, any::<bool>(), (which.clone(), 0..4_usize))
            .prop_map(|(i, left, model, whole, known)| Step::Say(i, left, model, whole, known)),
        6 => (0_u8..2, (which.clone(), 0..4_usize), any::<bool>(), proxies)
            .prop_map(|(g, has, signed, proxies)| Step::Read(g, has, signed, proxies)),
        2 => (which.clone(), 0..4_usize).prop_map(|(which, purged)| Step::Behind(which, purged)),
        2 => (0_u8..7, prop::option::of(0..4_usize), which)
            .prop_map(|(of, had, known)| Step::Raise(of, had, known)),
        2 => (0_u8..3, 1_u64..5).prop_map(|(who, seq)| Step::Report(who, seq)),
        1 => Just(Step::Sweep),
        1 => Just(Step::LoseBoard),
        1 => (0_u8..3).prop_map(Step::LoseRecord),
    ]
}

fn record(model: u8) -> String {
    let served = Served { model: "m".into(), version: String::new(), generation: Generation([model; 32]) };
    text(&Record::empty("s").then(vec![served]))
}

/// A real Memcached, and what it should be.
struct Both<'a> {
    server: &'a Server,
    steps: MemcachedSteps,
    board: Option<Board>,
    /// Records that are there, by their digests.
    there: BTreeSet<String>,
    reports: [u64; 3],
    us: u64,
    epochs: Vec<u64>,
    numbers: Vec<u64>,
    signature: String,
}

impl Both<'_> {
    /// The board that should be, for a step that was just taken in Memcached, and when.
    async fn model(&mut self) -> (Board, At) {
        let run = self.steps.board_now().await.and_then(|board| board.run()).unwrap();
        let at = At { us: self.us, run };
        (self.board.take().unwrap_or_else(|| Board::begin(at)), at)
    }

    /// Finds out that a record is lost, as who wants all of them does.
    fn is_lost(&self, board: &mut Board, at: At) -> bool {
        let lost = board.digests().into_iter().find(|of| !self.there.contains(*of)).map(str::to_owned);
        if let Some(lost) = &lost {
            board.lose(lost, at);
        }
        lost.is_some()
    }

    async fn take(&mut self, step: &Step) {
        self.steps.set_time(self.us);
        match step {
            Step::Wait(ms) => self.us = self.us.saturating_add_signed(i64::from(*ms) * 1000 + 7),
            Step::Say(instance, left, model, whole, known) => {
                self.say(&format!("instance {instance}"), *left, *model, *whole, *known).await;
            }
            Step::Read(gate, (has, purges), signed, proxies) => {
                let proxy = |(name, which): &(u8, usize)| (name.to_string(), epoch(&self.epochs, *which));
                let proxies: Vec<(String, u64)> = proxies.iter().map(proxy).collect();
                let signature = if *signed { self.signature.clone() } else { "none".to_owned() };
                let reader = Reader {
                    gate: &format!("gate {gate}"),
                    epoch: epoch(&self.epochs, *has),
                    signature: &signature,
                    purged: purged(&self.numbers, *purges),
                    known: &[],
                    proxies: &proxies,
                };
                self.read(&reader).await;
            }
            Step::Behind(which, purges) => {
                let known =
                    Known { epoch: epoch(&self.epochs, *which), purged: purged(&self.numbers, *purges) };
                let behind = self.steps.behind(known).await.unwrap();
                let (mut board, at) = self.model().await;
                assert_eq!(board.behind(known, at), behind);
                self.board = Some(board);
            }
            Step::Raise(of, had, known) => {
                let names = [(name(*of), had.map(|which| purged(&self.numbers, which)))];
                let known = epoch(&self.epochs, *known);
                let raised = self.steps.raise(&names, known).await.unwrap().unwrap();
                let (mut board, at) = self.model().await;
                assert_eq!(board.raise(&names, known, at), Ok(raised.known));
                self.epochs.push(raised.known.epoch);
                self.numbers.push(raised.known.purged);
                self.board = Some(board);
            }
            Step::Report(who, seq) => {
                let last = &mut self.reports[usize::from(*who)];
                let expected = if *seq > *last { Fate::New } else { Fate::Known };
                *last = (*seq).max(*last);
                assert_eq!(self.steps.report(who.to_string(), *seq).await.unwrap(), expected);
            }
            Step::Sweep => {
                self.steps.sweep().await.unwrap();
                if let Some(mut board) = self.board.take() {
                    let at = At { us: self.us, run: board.run().unwrap() };
                    if !self.is_lost(&mut board, at) {
                        let heard = board.heard();
                        board.sweep(&outdated(&heard, at.ms()));
                    }
                    self.board = Some(board);
                }
            }
            Step::LoseBoard => {
                self.server.tell("delete forebay:3:board");
                self.board = None;
            }
            Step::LoseRecord(model) => {
                let digest = digest(&record(*model));
                self.server.tell(&format!("delete forebay:2:record:{digest}"));
                self.there.remove(&digest);
                self.steps.forget_records();
            }
        }
        let is = self.steps.board_now().await;
        assert_eq!(is, self.board.as_ref().map(Board::without_texts), "{step:?}");
    }

    async fn say(&mut self, instance: &str, left: bool, model: u8, whole: bool, knows: (usize, usize)) {
        let record = record(model);
        let digest = digest(&record);
        let word = Word {
            instance,
            left,
            digest: &digest,
            record: if whole { &record } else { "" },
            known: epoch(&self.epochs, knows.0),
            unanswered: false,
            purged: purged(&self.numbers, knows.1),
        };
        let said = self.steps.say(&word).await.unwrap();
        if !whole && !self.there.contains(&digest) {
            assert_eq!(said.record, Stands::Lacking);
            return;
        }
        self.there.insert(digest.clone());
        let (mut board, at) = self.model().await;
        let expected = board.say(&word, at);
        assert_eq!((said.epoch, said.record), (expected.epoch, expected.record));
        assert_eq!(said.purges, expected.purges);
        self.epochs.push(said.epoch);
        self.board = Some(board);
    }

    async fn read(&mut self, reader: &Reader<'_>) {
        let read = self.steps.read(reader).await.unwrap();
        let (mut board, at) = self.model().await;
        let mut expected = board.read_seldom(reader, at);
        while expected.heard.is_some() && self.is_lost(&mut board, at) {
            expected = board.read_seldom(reader, at);
        }
        let is = |read: Read| (read.epoch, read.signature, read.now_ms, sorted(read.heard), read.purges);
        self.epochs.push(read.epoch);
        self.signature = read.signature.clone();
        assert_eq!(is(read), is(expected));
        self.board = Some(board);
    }
}

#[test]
fn the_steps_do_what_the_board_does_whatever_memcached_loses() {
    let server = Server::start(Tier::Memcached);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let steps = runtime.block_on(steps(&server));
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let done = runner.run(&prop::collection::vec(step(), 1..80), |taken| {
        server.tell("flush_all");
        steps.forget_records();
        let mut both = Both {
            server: &server,
            steps: steps.clone(),
            board: None,
            there: BTreeSet::new(),
            reports: [0; 3],
            us: 1_700_000_000_000_000,
            epochs: Vec::new(),
            numbers: Vec::new(),
            signature: "none".to_owned(),
        };
        runtime.block_on(async {
            for step in &taken {
                both.take(step).await;
            }
        });
        Ok(())
    });
    done.unwrap();
}

#[test]
fn steps_of_many_at_once_are_each_taken_once() {
    const MANY: usize = 12;
    let server = Server::start(Tier::Memcached);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut many = tokio::task::JoinSet::new();
        for number in 0..MANY {
            let steps = steps(&server).await;
            many.spawn(async move {
                let record = record(u8::try_from(number).unwrap());
                let (instance, digest) = (format!("instance {number}"), digest(&record));
                let word = Word {
                    instance: &instance,
                    left: false,
                    digest: &digest,
                    record: &record,
                    known: 0,
                    unanswered: false,
                    purged: 0,
                };
                let mut epochs = vec![steps.say(&word).await.unwrap().epoch];
                epochs.push(steps.say(&Word { left: true, ..word }).await.unwrap().epoch);
                let fate = steps.report("one proxy".to_owned(), 1).await.unwrap();
                (epochs, fate)
            });
        }
        let done = many.join_all().await;
        let epochs: BTreeSet<u64> = done.iter().flat_map(|(epochs, _)| epochs.clone()).collect();
        assert_eq!(epochs.len(), 2 * MANY, "each changed what is live");
        let counted = done.iter().filter(|(_, fate)| *fate == Fate::New).count();
        assert_eq!(counted, 1, "a report of one proxy is counted by one gate");
        let steps = steps(&server).await;
        let none = Reader { gate: "g", epoch: 0, signature: "", purged: 0, known: &[], proxies: &[] };
        let heard = steps.read(&none).await.unwrap().heard.unwrap();
        let mut orders: Vec<u64> = heard.iter().map(|heard| heard.order).collect();
        orders.sort_unstable();
        assert!(heard.len() == MANY && orders.windows(2).all(|two| two[0] < two[1]), "{orders:?}");
    });
}
