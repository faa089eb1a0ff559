//! Clients that ask for what is kept, all the time: what each hit took, and what was none, leave.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::client::{Asked, connect};
use crate::cluster::test::load::Sent;

/// How often it is asked for what is kept.
const HIT_EVERY: Duration = Duration::from_millis(5);

/// What became of those who ask for what is kept.
#[derive(Default)]
pub(super) struct Hits {
    took: Mutex<Vec<(Instant, Duration)>>,
    sent: Mutex<Sent>,
}

impl Hits {
    /// Asks for what is kept until it is enough.
    pub(super) fn ask(&self, front: SocketAddr, kept: Asked, enough: &AtomicBool) {
        let (mut connection, mut due) = (connect(front), Instant::now());
        while !enough.load(Ordering::Relaxed) {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let at = Instant::now();
            let hit = connection.as_mut().map_err(|error| format!("lost: {}", error.kind()));
            let hit = hit.and_then(|connection| kept.hit_on(connection));
            match &hit {
                Ok(took) => self.took.lock().unwrap_or_else(PoisonError::into_inner).push((at, *took)),
                Err(_) => connection = connect(front),
            }
            self.sent.lock().unwrap_or_else(PoisonError::into_inner).count(hit);
            due = at + HIT_EVERY;
        }
    }

    /// What those took that were asked between.
    pub(super) fn between(&self, from: Instant, to: Instant) -> Vec<Duration> {
        let took = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        took.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, took)| *took).collect()
    }

    /// How many there were. What a cache does not find in time, as on a busy machine, is no hit and nothing worse.
    ///
    /// # Errors
    /// One was wrong or lost, or more than one in ten was not found in time.
    pub(super) fn verdict(&self) -> Result<String> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let late: u64 =
            sent.failed.iter().filter(|(why, _)| why.starts_with("HTTP 504")).map(|(_, count)| count).sum();
        let failed: u64 = sent.failed.values().sum();
        ensure!(
            failed == late && late * 10 < sent.answered,
            "hits: {} answered, {:?} failed",
            sent.answered,
            sent.failed
        );
        Ok(format!("hits: {} answered, {late} not found in time", sent.answered))
    }
}
