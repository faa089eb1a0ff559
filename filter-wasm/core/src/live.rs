//! Which generations are live: the gate's table enters, a yes or no for a stored answer leaves.
//!
//! One worker of the proxy polls the gate; it writes the table into shared data, where every worker finds it on its tick.

use crate::acts::{Call, Ticket};
use crate::config::Gate;
use crate::host::{Host, Of, number};
use crate::l1::Answer;
use forebay_protocol::digest::Generation;
use forebay_protocol::generations::Table;
use forebay_protocol::{gate, header};
use std::collections::HashMap;

/// Shared data: until when some worker has the poll, as milliseconds in 8 little-endian bytes.
const POLL_KEY: &str = "forebay.poll";
/// Shared data: the time of the poll (as above), then the gate's table as it came.
const TABLE_KEY: &str = "forebay.live";
/// Largest table accepted from the gate, in bytes (about 10,000 models).
const MAX_TABLE_BYTES: usize = 4 << 20;
/// The poll's deadline, in milliseconds: nothing waits for it, so it is far longer than a lookup's.
const POLL_TIMEOUT_MS: u64 = 1000;

/// What an answer belongs to: the service, the model, and the version asked for ("" when none was).
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The service.
    pub service: &'a str,
    /// The model's name.
    pub model: &'a str,
    /// The requested version, or "".
    pub version: &'a str,
}

impl Asked<'_> {
    fn key(&self) -> String {
        // None of the three holds a NUL: names are checked ASCII without control characters.
        [self.service, self.model, self.version].join("\0")
    }
}

/// The live generations as this worker last heard of them.
#[derive(Debug, Default)]
pub struct Live {
    by_model: HashMap<String, Vec<Generation>>,
    epoch: u64,
    /// When the table's poll was sent; 0 when there is none.
    polled_ms: u64,
    /// Number of the shared data last read, to skip what did not change.
    seen: u32,
    /// When this worker's poll under way was sent.
    asked_ms: u64,
    /// How many this worker has sent: the number of the last one.
    polls: u32,
}

impl Live {
    /// The epoch of the table; 0 when there is none.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// May `answer` be given now?
    ///
    /// An answer without a generation (its upstream gives none) lives by its freshness alone. One that came in after the
    /// last poll was sent came from a live session. Otherwise the table decides; and where that is too old to be believed,
    /// answers are given up to `unverified_max_age_ms`.
    pub fn allows(
        &self,
        answer: &Answer,
        asked: Asked<'_>,
        now_ms: u64,
        stale_ms: u64,
        unverified_max_age_ms: u64,
    ) -> bool {
        let Some(generation) = &answer.generation else { return true };
        if now_ms.saturating_sub(self.polled_ms) > stale_ms {
            return now_ms.saturating_sub(answer.stored_ms) <= unverified_max_age_ms;
        }
        answer.stored_ms > self.polled_ms
            || self.by_model.get(&asked.key()).is_some_and(|live| live.contains(generation))
    }

    /// On the tick: the poll to send, if it is this worker's turn.
    pub fn poll(&mut self, host: &dyn Host, settings: &Gate, now_ms: u64) -> Option<Call> {
        if !self.takes_poll(host, settings, now_ms) {
            return None;
        }
        self.polls = self.polls.wrapping_add(1);
        let token = Some(&settings.token).filter(|token| !token.is_empty());
        Some(Call {
            ticket: Ticket::Poll(self.polls),
            cluster: settings.cluster.clone(),
            authority: settings.cluster.clone(),
            method: "GET",
            path: gate::GENERATIONS_PATH,
            headers: token.map(|token| (header::X_FOREBAY_TOKEN, token.clone())).into_iter().collect(),
            body: Vec::new(),
            timeout_ms: POLL_TIMEOUT_MS,
        })
    }

    /// The poll with that number was answered with a body of that size, or (`None`) failed. An answer to one before the last is
    /// too late.
    pub fn polled(&mut self, host: &dyn Host, poll: u32, body_size: Option<usize>) {
        if poll != self.polls
            || body_size.is_none()
            || number(&host.headers(Of::Call), ":status") != Some(200_u16)
        {
            return;
        }
        let size = body_size.unwrap_or(0).min(MAX_TABLE_BYTES.saturating_add(1));
        if let Some(table) = host.body(Of::Call, size) {
            self.publish(host, &table);
        }
    }

    /// Is it this worker's turn to poll? The turn is taken for one poll period.
    fn takes_poll(&mut self, host: &dyn Host, gate: &Gate, now_ms: u64) -> bool {
        let held = host.shared_get(POLL_KEY);
        let until = held.as_ref().and_then(|(value, _)| millis(value)).unwrap_or(0);
        // A clock that jumped back must not stop the polling for longer than a period.
        if now_ms < until && until.saturating_sub(now_ms) <= gate.poll_ms {
            return false;
        }
        let next = now_ms.saturating_add(gate.poll_ms).to_le_bytes();
        let won = host.shared_set(POLL_KEY, &next, held.map(|(_, cas)| cas));
        if won {
            self.asked_ms = now_ms;
        }
        won
    }

    /// Hands a poll's answer to all workers, if it is a table.
    fn publish(&mut self, host: &dyn Host, table: &[u8]) {
        if table.len() > MAX_TABLE_BYTES || serde_json::from_slice::<Table>(table).is_err() {
            host.warn(
                "the gate's table of live generations is not one; the last one stands until it is too old",
            );
            return;
        }
        let mut value = self.asked_ms.to_le_bytes().to_vec();
        value.extend_from_slice(table);
        host.shared_set(TABLE_KEY, &value, None);
        self.refresh(host);
    }

    /// On the tick: take over the table if some worker wrote a newer one.
    pub fn refresh(&mut self, host: &dyn Host) {
        let Some((value, cas)) = host.shared_get(TABLE_KEY) else { return };
        if cas == self.seen {
            return;
        }
        self.seen = cas;
        let Some((polled, table)) = value.split_at_checked(8) else { return };
        let Ok(table) = serde_json::from_slice::<Table>(table) else { return };
        self.polled_ms = millis(polled).unwrap_or(0);
        if table.epoch == self.epoch {
            return;
        }
        self.epoch = table.epoch;
        self.by_model = table
            .models
            .into_iter()
            .map(|m| {
                (Asked { service: &m.service, model: &m.model, version: &m.version }.key(), m.generations)
            })
            .collect();
    }
}

fn millis(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::double::Double;

    const ASKED: Asked<'_> = Asked { service: "s", model: "m", version: "" };
    const OLD: Generation = Generation([1; 32]);
    const NEW: Generation = Generation([2; 32]);

    fn gate() -> Gate {
        serde_json::from_str(r#"{"cluster": "gate", "poll_ms": 500}"#).unwrap()
    }

    fn table(epoch: u64, generation: &Generation) -> Vec<u8> {
        format!(
            r#"{{"format": 2, "now_ms": 0, "epoch": {epoch}, "models": [{{"service": "s", "model": "m", "version": "", "generations": ["{generation}"]}}]}}"#
        )
        .into_bytes()
    }

    fn answer(generation: &Generation, stored_ms: u64) -> Answer {
        Answer {
            generation: Some(*generation),
            created_ms: 0,
            stored_ms,
            max_age_s: 60,
            header_length: None,
            verbatim: false,
            body: Vec::new(),
        }
    }

    fn allows(live: &Live, answer: &Answer, now_ms: u64) -> bool {
        live.allows(answer, ASKED, now_ms, 5000, 30_000)
    }

    fn polled_at(host: &Double, now_ms: u64, epoch: u64, generation: &Generation) -> Live {
        let mut live = Live::default();
        assert!(live.takes_poll(host, &gate(), now_ms));
        live.publish(host, &table(epoch, generation));
        live
    }

    #[test]
    fn one_worker_polls_and_all_know() {
        let host = Double::default();
        let _polling = polled_at(&host, 10_000, 1, &NEW);
        let mut other = Live::default();
        assert!(!other.takes_poll(&host, &gate(), 10_100));
        other.refresh(&host);
        assert!(allows(&other, &answer(&NEW, 9000), 10_100));
        assert!(!allows(&other, &answer(&OLD, 9000), 10_100));
        assert!(other.takes_poll(&host, &gate(), 10_500));
    }

    #[test]
    fn an_answer_that_came_after_the_poll_is_live_until_the_next_one() {
        let host = Double::default();
        let mut live = polled_at(&host, 10_000, 1, &OLD);
        assert!(allows(&live, &answer(&NEW, 10_001), 10_100));
        assert!(live.takes_poll(&host, &gate(), 10_500));
        live.publish(&host, &table(2, &OLD));
        assert!(!allows(&live, &answer(&NEW, 10_001), 10_600));
    }

    #[test]
    fn without_a_believable_table_answers_serve_up_to_the_stated_age() {
        let host = Double::default();
        let live = polled_at(&host, 10_000, 1, &NEW);
        assert!(!allows(&live, &answer(&OLD, 9000), 15_000));
        assert!(allows(&live, &answer(&OLD, 9000), 15_001));
        assert!(!allows(&live, &answer(&OLD, 9000), 39_001));
    }

    #[test]
    fn what_is_no_table_leaves_the_last_one_standing() {
        let host = Double::default();
        let mut live = polled_at(&host, 10_000, 1, &NEW);
        live.publish(&host, b"<html>");
        assert!(allows(&live, &answer(&NEW, 9000), 10_100));
        assert_eq!(host.warnings.borrow().len(), 1);
    }
}
