//! How many requests wait at which gate of a service: each says it in the pool, so that whichever KEDA asks tells of all, and how long a
//! wake took, so that one that has just started knows it too. What waits here enters; what waits at the others leaves. Next: `load` adds
//! it up.
//!
//! What a gate said counts for a few seconds: where it is gone, so are those who waited at it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::gauge;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::handover::Handover;
use crate::cache::live::ledger::{Fields, Ledger, Note};
use crate::cache::live::{millis, random_name};
use crate::cache::pool::PoolError;
use crate::observe::logs::seldom;
use crate::time::clock;

/// Version of what a gate says.
const FORMAT: u32 = 1;
/// Between two looks at what the others said. What is new here is said then.
const LOOK: Duration = Duration::from_millis(100);
/// Of one at which somebody waits it is said again after so long, of another one after so long.
const HELD_AGAIN: Duration = Duration::from_secs(1);
const IDLE_AGAIN: Duration = Duration::from_secs(15);
/// For so long it counts what waits at a gate, and what was read.
const FRESH: Duration = Duration::from_secs(5);
/// A gate that says nothing for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_mins(1);
/// No gate is believed to hold more.
const MOST: u64 = 1 << 20;

/// What a gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Word {
    format: u32,
    /// When, by the pool's clock.
    at_ms: u64,
    /// Requests that wait.
    held: u64,
    /// How long a wake takes; 0: none was seen.
    wake_ms: u64,
}

impl Word {
    /// `None`: another release says it in another way.
    fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().filter(|word: &Self| word.format == FORMAT)
    }

    fn text(self) -> String {
        // Numbers alone: nothing that JSON can't say.
        serde_json::to_string(&self).unwrap_or_default()
    }

    fn is_within(&self, time: Duration, now_ms: u64) -> bool {
        now_ms.abs_diff(self.at_ms) <= millis(time)
    }
}

/// The gates of a service, as one of them knows them.
pub(crate) struct Gates {
    ledger: Arc<dyn Ledger>,
    /// This one's name among them.
    name: String,
    handover: Arc<Handover>,
    /// `None`: that is not known.
    elsewhere: watch::Sender<Option<u64>>,
    said: Option<(Instant, Word)>,
    /// Names that are to be forgotten.
    gone: Vec<String>,
    read: Instant,
}

/// What the others said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    held: u64,
    /// The last word on it.
    wake_ms: u64,
    gone: Vec<String>,
}

impl Gates {
    /// Requests that wait at the other gates are told to whoever has the receiver, where that is known.
    pub(crate) fn new(
        ledger: Arc<dyn Ledger>,
        handover: Arc<Handover>,
    ) -> (Self, watch::Receiver<Option<u64>>) {
        let (elsewhere, told) = watch::channel(None);
        let (name, gone, read) = (random_name(), Vec::new(), Instant::now());
        (Self { ledger, name, handover, elsewhere, said: None, gone, read }, told)
    }

    /// Says and hears, until `stop`.
    pub(crate) async fn follow(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wanted = self.handover.wanted();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
                Ok(()) = wanted.changed() => {}
            }
            if let Err(error) = self.look().await {
                seldom!(debug, "what waits at other gates is not known: {error}");
                if self.read.elapsed() > FRESH {
                    self.tell(None);
                }
            }
        }
    }

    async fn look(&mut self) -> Result<(), PoolError> {
        let now = Instant::now();
        let wake_ms = self.handover.takes().map_or(0, millis);
        let word = Word { format: FORMAT, at_ms: clock::now_ms(), held: self.handover.held(), wake_ms };
        let is_due = is_due(self.said, word, now);
        let mut notes: Vec<Note> = self.gone.iter().map(|name| Note::Drop { field: name.clone() }).collect();
        if is_due {
            notes.push(Note::Put { field: self.name.clone(), text: word.text() });
        }
        let fields = self.ledger.note(notes).await?;
        if is_due {
            self.said = Some((now, word));
        }
        self.read = now;
        let Heard { held, wake_ms, gone } = heard(&fields, &self.name, clock::now_ms());
        self.gone = gone;
        if wake_ms > 0 {
            self.handover.learn(Duration::from_millis(wake_ms));
        }
        self.tell(Some(held));
        Ok(())
    }

    fn tell(&self, held: Option<u64>) {
        gauge!("forebay_held_elsewhere").set(held.unwrap_or(0) as f64);
        self.elsewhere.send_if_modified(|before| std::mem::replace(before, held) != held);
    }
}

/// Whether that is to be said, where something was said before, then.
fn is_due(said: Option<(Instant, Word)>, word: Word, now: Instant) -> bool {
    let Some((at, before)) = said else { return word.held > 0 || word.wake_ms > 0 };
    let again = if word.held > 0 { HELD_AGAIN } else { IDLE_AGAIN };
    (before.held, before.wake_ms) != (word.held, word.wake_ms) || now.duration_since(at) >= again
}

fn heard(fields: &Fields, own: &str, now_ms: u64) -> Heard {
    let words = fields.iter().filter(|(name, _)| *name != own);
    let words = words.filter_map(|(name, text)| Some((name, Word::read(text)?)));
    let (known, gone): (Vec<_>, Vec<_>) = words.partition(|(_, word)| word.is_within(FORGOTTEN, now_ms));
    let fresh = known.iter().filter(|(_, word)| word.is_within(FRESH, now_ms));
    let held = fresh.map(|(_, word)| word.held.min(MOST)).fold(0, u64::saturating_add);
    let seen = known.iter().filter(|(_, word)| word.wake_ms > 0);
    let wake_ms = seen.max_by_key(|(_, word)| word.at_ms).map_or(0, |(_, word)| word.wake_ms);
    Heard { held, wake_ms, gone: gone.into_iter().map(|(name, _)| name.clone()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn word(held: u64, wake_ms: u64, ago: Duration) -> Word {
        Word { format: FORMAT, at_ms: NOW - millis(ago), held, wake_ms }
    }

    fn fields(of: &[(&str, String)]) -> Fields {
        of.iter().map(|(name, text)| ((*name).to_owned(), text.clone())).collect()
    }

    #[test]
    fn what_a_gate_says_is_these_bytes_and_what_is_said_otherwise_says_nothing() {
        let word = word(3, 2500, Duration::ZERO);
        let text = r#"{"format":1,"at_ms":1000000,"held":3,"wake_ms":2500}"#;
        assert_eq!(word.text(), text);
        assert_eq!(Word::read(text), Some(word));
        for other in [&text.replace(":1,", ":2,"), "junk", "", r#"{"format":1}"#, &text.replace(":3", ":-3")]
        {
            assert_eq!(Word::read(other), None, "{other}");
        }
    }

    #[test]
    fn what_others_hold_is_summed_up_for_as_long_as_they_say_it() {
        let seconds = Duration::from_secs;
        let said = fields(&[
            ("own", word(100, 0, seconds(0)).text()),
            ("one", word(3, 0, seconds(1)).text()),
            ("two", word(4, 2000, seconds(4)).text()),
            ("silent", word(50, 3000, seconds(6)).text()),
            ("gone", word(60, 9000, seconds(61)).text()),
            ("liar", word(u64::MAX, 0, seconds(0)).text()),
            ("other release", r#"{"format":2,"held":7}"#.to_owned()),
        ]);
        let told = Heard { held: 7 + MOST, wake_ms: 2000, gone: vec!["gone".to_owned()] };
        assert_eq!(heard(&said, "own", NOW), told);
        assert_eq!(heard(&Fields::new(), "own", NOW), Heard::default());
    }

    #[test]
    fn it_is_said_when_it_changes_and_again_while_somebody_waits() {
        let now = Instant::now();
        let due = |said: Option<Word>, ago: Duration, word: Word| {
            is_due(said.map(|said| (now, said)), word, now + ago)
        };
        let (idle, held) = (word(0, 0, Duration::ZERO), word(2, 0, Duration::ZERO));
        assert!(!due(None, Duration::ZERO, idle) && due(None, Duration::ZERO, held));
        assert!(due(Some(held), Duration::ZERO, idle) && due(Some(idle), Duration::ZERO, held));
        assert!(!due(Some(held), HELD_AGAIN / 2, held) && due(Some(held), HELD_AGAIN, held));
        assert!(!due(Some(idle), HELD_AGAIN, idle) && due(Some(idle), IDLE_AGAIN, idle));
    }
}
