//! Models that there was no room for, or that another passing trouble refused, are tried again with growing pauses until they are
//! loaded, or their files change. What failed enters, when it is tried again leaves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Control;
use crate::jitter::jittered;
use crate::models::Retry;

/// The first pause: what a model that was unloaded had may not be given back yet.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Pauses double up to this one: a build may take as long.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The attempt after one that failed, which came after `before`.
pub(super) fn after(before: Option<Retry>) -> Retry {
    let pause = before.map_or(FIRST_PAUSE, |before| (before.pause * 2).min(LONGEST_PAUSE));
    Retry { at: Instant::now() + jittered(pause), pause }
}

/// Tries until `stop`.
pub(crate) async fn follow(control: Arc<Control>, stop: CancellationToken) {
    loop {
        let due = async {
            match control.next_retry() {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            // There may be one that is due before.
            () = control.to_retry.notified() => continue,
            () = due => {}
        }
        let retrying = {
            let control = control.clone();
            tokio::task::spawn_blocking(move || control.retry())
        };
        if let Err(error) = retrying.await {
            tracing::error!("an attempt to load models again ended early: {error}");
        }
    }
}

impl Control {
    fn next_retry(&self) -> Option<Instant> {
        let set = self.models.current();
        set.failed.values().filter_map(|failed| failed.retry).map(|retry| retry.at).min()
    }

    /// Loads what is due. Blocks its thread.
    fn retry(&self) {
        let now = Instant::now();
        let due: Vec<String> = {
            let set = self.models.current();
            let is_due = |retry: Option<Retry>| retry.is_some_and(|retry| retry.at <= now);
            set.failed
                .iter()
                .filter(|(_, failed)| is_due(failed.retry))
                .map(|(name, _)| name.clone())
                .collect()
        };
        for name in due {
            self.load_from(&self.loader.root, &name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let mut retry = None;
        let pauses: Vec<Duration> = (0..12)
            .map(|_| {
                let next = after(retry);
                retry = Some(next);
                next.pause
            })
            .collect();
        assert_eq!(pauses[0], FIRST_PAUSE);
        assert!(pauses.windows(2).all(|two| two[0] <= two[1]), "{pauses:?}");
        assert_eq!(pauses.last(), Some(&LONGEST_PAUSE));
    }
}
