//! Which generations are live: the gate's table enters, the [`Standing`] of a stored answer leaves.
//!
//! One worker of the proxy polls the gate, which holds the poll until the table changes; the worker writes what it hears into the
//! proxy's shared data ([`board`]), where every worker looks before it answers. So from the moment a table is written no worker
//! gives an answer that it forbids, and the next poll tells the gate that this proxy has it. Epochs only grow.

mod board;

use crate::acts::{Call, Ticket};
use crate::config::Gate;
use crate::host::{Host, Of};
use crate::l1::Answer;
use board::{Board, Head, Turn};
use forebay_protocol::digest::{Digest, Generation};
use forebay_protocol::freshness::TOLERANCE_MS;
use forebay_protocol::gate::{FORMAT, POLL_PATH};
use forebay_protocol::generations::{LiveModel, MAX_TABLE_BYTES, Table};
use forebay_protocol::header;
use forebay_protocol::poll::{Poll, Report};
use std::collections::HashMap;

/// What a poll may take beyond the time for which the gate may hold it, in milliseconds: nothing waits for it, so it is far longer
/// than a lookup's.
const MARGIN_MS: u64 = 1000;
/// An answer without news that comes sooner was not held, and the next poll waits for the tick, in milliseconds.
const HELD_MS: u64 = 50;

/// What an answer belongs to: the service, the model, the version asked for ("" when none was), and the tenant.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The service.
    pub service: &'a str,
    /// The model's name.
    pub model: &'a str,
    /// The requested version, or "".
    pub version: &'a str,
    /// Who may share results, or "" without tenants.
    pub tenant: &'a str,
}

impl Asked<'_> {
    fn key(&self) -> String {
        // None of the four holds a NUL: names are checked ASCII without control characters.
        [self.service, self.model, self.version, self.tenant].join("\0")
    }
}

/// What is known of an answer's generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The newest table has it.
    Live,
    /// The newest table lacks it, or the answer does not say which it is.
    Gone,
    /// There is no table that can be believed.
    Unknown,
}

/// A poll under way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    number: u32,
    asked_ms: u64,
    /// The epoch that it said.
    known: u64,
}

/// The live generations as this worker last heard of them.
#[derive(Debug)]
pub struct Live {
    board: Board,
    by_model: HashMap<String, Vec<Generation>>,
    /// Requests whose results were purged one by one: what was made until then, in microseconds, is not given.
    dropped: HashMap<Digest, u64>,
    /// Some of those rows are of one tenant, whose results were purged by themselves.
    has_tenants: bool,
    /// Of the table in `by_model`; 0 for none.
    epoch: u64,
    /// That a gate gave out that epoch.
    proof: String,
    /// What all workers know, as this one last read it.
    head: Head,
    sent: Option<Sent>,
    /// It is this worker's turn to poll, or was.
    turn: Option<Turn>,
    /// How many this worker has sent.
    polls: u32,
}

impl Live {
    /// Nothing is known. `settings` says which gate it is that tells: proxies may have several.
    pub fn new(settings: Option<&Gate>) -> Self {
        Self {
            board: Board::of(settings),
            by_model: HashMap::new(),
            dropped: HashMap::new(),
            has_tenants: false,
            epoch: 0,
            proof: String::new(),
            head: Head::default(),
            sent: None,
            turn: None,
            polls: 0,
        }
    }

    /// The epoch of the table; 0 when there is none.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How far the pool's clock is ahead of this proxy's, in milliseconds.
    pub fn skew_ms(&self) -> i64 {
        self.head.skew_ms
    }

    /// Is `answer` of a generation that is live, as far as can be known now?
    pub fn standing(&self, answer: &Answer, asked: Asked<'_>, now_ms: u64, stale_ms: u64) -> Standing {
        if !self.is_believed(now_ms, stale_ms) {
            return Standing::Unknown;
        }
        let live = self.row(asked);
        let lives = |generation| live.is_some_and(|live| live.contains(generation));
        if answer.generation.as_ref().is_some_and(lives) { Standing::Live } else { Standing::Gone }
    }

    /// Was this request's result purged by itself since `answer` was made? What has no digest, for it was not parsed, may be any.
    pub fn is_dropped(&self, digest: Option<&Digest>, answer: &Answer) -> bool {
        let number = match digest {
            Some(digest) => self.dropped.get(digest),
            None => self.dropped.values().max(),
        };
        // By this proxy's clock; two that are taken for one may differ by the tolerance, and then it is rather asked for again.
        let until_ms = |number: &u64| {
            (number / 1000)
                .saturating_add_signed(self.skew_ms().saturating_neg())
                .saturating_add(TOLERANCE_MS)
        };
        number.is_some_and(|number| answer.created_ms <= until_ms(number))
    }

    /// Could there be an entry of it, as far as is known? There is none of a model that a table which is believed doesn't list.
    pub fn may_have(&self, asked: Asked<'_>, now_ms: u64, stale_ms: u64) -> bool {
        !self.is_believed(now_ms, stale_ms) || self.row(asked).is_some()
    }

    /// The tenant's own row, or that of all.
    fn row(&self, asked: Asked<'_>) -> Option<&Vec<Generation>> {
        let own = self.has_tenants.then(|| self.by_model.get(&asked.key())).flatten();
        own.or_else(|| self.by_model.get(&Asked { tenant: "", ..asked }.key()))
    }

    /// Has the service no backend that is alive, as the gate said last?
    pub fn is_away(&self, host: &dyn Host, service: &str) -> bool {
        self.board.away(host).split(',').any(|away| away == service)
    }

    fn is_believed(&self, now_ms: u64, stale_ms: u64) -> bool {
        let is_newest = self.epoch > 0 && self.epoch >= self.head.epoch;
        let from_the_future = self.head.confirmed_ms > now_ms.saturating_add(TOLERANCE_MS);
        is_newest && !from_the_future && now_ms.saturating_sub(self.head.confirmed_ms) <= stale_ms
    }

    /// Before an answer is looked for: what do the proxy's workers know by now?
    pub fn refresh(&mut self, host: &dyn Host) {
        let Some(head) = self.board.head(host) else { return };
        self.head = head;
        if head.epoch > self.epoch
            && let Some(table) = self.board.table(host)
        {
            self.adopt(table);
        }
    }

    fn adopt(&mut self, table: Table) {
        if table.epoch == self.epoch {
            // Gates with another secret by now, or this one was never proven.
            self.proof = table.proof;
            return;
        }
        if table.epoch < self.epoch {
            return;
        }
        self.epoch = table.epoch;
        self.proof = table.proof;
        self.dropped = table.dropped.iter().map(|dropped| (dropped.digest, dropped.number)).collect();
        self.has_tenants = table.models.iter().any(|row| row.tenant.is_some());
        let key = |LiveModel { service, model, version, tenant, .. }: &LiveModel| {
            Asked { service, model, version, tenant: tenant.as_deref().unwrap_or_default() }.key()
        };
        self.by_model = table.models.into_iter().map(|row| (key(&row), row.generations)).collect();
    }

    /// The VM has started: the proxy has a name, and maybe a table.
    pub fn on_start(&mut self, host: &dyn Host) {
        self.board.name_proxy(host);
        self.refresh(host);
    }

    /// On the tick: is it this worker's turn to poll? The turn is taken for as long as a poll may take.
    pub fn takes_turn(&mut self, host: &dyn Host, settings: &Gate, now_ms: u64) -> bool {
        // An answer that never came: the proxy tells of every callout's end, unless a clock was set.
        let lost = |sent: &Sent| now_ms.abs_diff(sent.asked_ms) > turn_ms(settings);
        self.sent = self.sent.filter(|sent| !lost(sent));
        if self.sent.is_none() {
            self.turn = self.board.take_turn(host, now_ms, turn_ms(settings));
        }
        self.sent.is_none() && self.turn.is_some()
    }

    /// After a poll: goes this worker on at once, or may anybody poll on the next tick? One whose turn another worker has taken
    /// leaves it to that one.
    pub fn goes_on(&mut self, host: &dyn Host, settings: &Gate, heard: Heard, now_ms: u64) -> bool {
        if heard == Heard::Late {
            return false;
        }
        let goes_on = matches!(heard, Heard::Changed | Heard::Same);
        let until_ms = if goes_on { now_ms.saturating_add(turn_ms(settings)) } else { 0 };
        let kept = self.turn.take().and_then(|turn| self.board.keep_turn(host, turn, until_ms));
        self.turn = kept.filter(|_| goes_on);
        self.turn.is_some()
    }

    /// The poll to send in this worker's turn.
    pub fn poll(&mut self, settings: &Gate, said: Said, now_ms: u64) -> Call {
        self.polls = self.polls.wrapping_add(1);
        self.sent = Some(Sent { number: self.polls, asked_ms: now_ms, known: self.epoch });
        let ticket = Ticket::Poll { number: self.polls, seq: said.seq };
        self.call(settings, ticket, said, settings.poll_ms)
    }

    /// A report by itself, from a worker whose turn it is not.
    pub fn report(&self, settings: &Gate, said: Said) -> Call {
        self.call(settings, Ticket::Report(said.seq), said, 0)
    }

    fn call(&self, settings: &Gate, ticket: Ticket, said: Said, wait_ms: u64) -> Call {
        let Said { vm, seq, report } = said;
        let (proxy, epoch, proof) = (self.board.proxy.clone(), self.epoch, self.proof.clone());
        let poll = Poll { format: FORMAT, proxy, vm, epoch, proof, wait_ms, seq, report };
        Call {
            ticket,
            cluster: settings.cluster.clone(),
            authority: settings.authority().to_owned(),
            method: "POST",
            path: POLL_PATH.into(),
            headers: vec![("content-type".into(), header::CONTENT_TYPE_JSON.to_owned())],
            body: serde_json::to_vec(&poll).unwrap_or_default(),
            timeout_ms: wait_ms.saturating_add(MARGIN_MS),
        }
    }

    /// The poll with that number was answered with a body of that size, or (`None`) failed.
    pub fn polled(&mut self, host: &dyn Host, poll: u32, body_size: Option<usize>, now_ms: u64) -> Heard {
        let Some(sent) = self.sent.take_if(|sent| sent.number == poll) else { return Heard::Late };
        let Some(size) = body_size else { return Heard::Nothing };
        let headers = host.headers(Of::Call);
        if headers.number(header::X_FOREBAY_FORMAT) != Some(FORMAT) {
            return Heard::UnknownFormat;
        }
        let status = headers.number::<u16>(":status");
        if matches!(status, Some(200 | 204)) {
            self.board.put_away(host, headers.first(header::X_FOREBAY_AWAY).unwrap_or_default());
        }
        match status {
            Some(200) => self.published(host, size, sent, now_ms),
            Some(204) => {
                let epoch = headers.number(header::X_FOREBAY_EPOCH).unwrap_or(0);
                let pools_ms = headers.number(header::X_FOREBAY_NOW_MS);
                self.confirm(host, epoch, sent, skew_ms(pools_ms, now_ms));
                if now_ms.saturating_sub(sent.asked_ms) < HELD_MS { Heard::Nothing } else { Heard::Same }
            }
            _ => Heard::Nothing,
        }
    }

    /// A table came: hand it to all workers. Its rows first, then the head that makes them look.
    fn published(&mut self, host: &dyn Host, size: usize, sent: Sent, now_ms: u64) -> Heard {
        let json = host.body(Of::Call, size.min(MAX_TABLE_BYTES.saturating_add(1))).unwrap_or_default();
        let table = match Table::parse(&json) {
            Ok(table) => table,
            Err(error) => {
                host.warn(&format!("{error}; the last table stands until it is too old"));
                return Heard::Nothing;
            }
        };
        let (epoch, pools_ms) = (table.epoch, table.now_ms);
        // Whoever answered was not told of what others have heard since, and may have an older table under a higher epoch.
        if !self.board.put_table(host, sent.known, epoch, &json) {
            self.refresh(host);
            // Also one whose head its writer never wrote: else nobody here would ask as who knows it, and it would stay for ever.
            if let Some(table) = self.board.table(host) {
                self.adopt(table);
            }
            return Heard::Nothing;
        }
        let is_new = epoch > self.epoch;
        self.confirm(host, epoch, sent, skew_ms(Some(pools_ms), now_ms));
        self.adopt(table);
        if is_new { Heard::Changed } else { Heard::Nothing }
    }

    /// When the poll was sent, or later, the gate's table was that of `epoch`.
    fn confirm(&mut self, host: &dyn Host, epoch: u64, sent: Sent, skew_ms: i64) {
        self.board.confirm(host, Head { epoch, confirmed_ms: sent.asked_ms, skew_ms });
        self.refresh(host);
    }
}

/// How long a turn is: the longest poll, and the way of its answer.
fn turn_ms(settings: &Gate) -> u64 {
    settings.poll_ms.saturating_add(MARGIN_MS.saturating_mul(2))
}

/// What a VM says with a poll.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Its number.
    pub vm: u64,
    /// The report's.
    pub seq: u64,
    /// What happened.
    pub report: Report,
}

/// What a poll came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A newer table: the next poll says that it is here.
    Changed,
    /// The table is still the newest; the next poll goes out at once.
    Same,
    /// Nothing that can be used; the next poll waits for the tick.
    Nothing,
    /// Nobody waits for it any more: another poll may be under way.
    Late,
    /// The gate is of another version.
    UnknownFormat,
}

/// Did the gate take what the callout said?
pub fn was_heard(host: &dyn Host) -> bool {
    let headers = host.headers(Of::Call);
    let is_ours = headers.number(header::X_FOREBAY_FORMAT) == Some(FORMAT);
    is_ours && matches!(headers.number::<u16>(":status"), Some(200 | 204))
}

/// How far the pool's clock is ahead. What is less than the tolerance is the way of the answer, and no skew.
fn skew_ms(pools_ms: Option<u64>, now_ms: u64) -> i64 {
    let Some(pools_ms) = pools_ms.filter(|pools_ms| *pools_ms > 0) else { return 0 };
    let ahead = i64::try_from(pools_ms.abs_diff(now_ms)).unwrap_or(i64::MAX);
    match (ahead.unsigned_abs() > TOLERANCE_MS, pools_ms > now_ms) {
        (false, _) => 0,
        (true, true) => ahead,
        (true, false) => ahead.saturating_neg(),
    }
}

#[cfg(test)]
mod tests;
