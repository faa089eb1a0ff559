//! Models that there was no room for, or that another passing trouble refused, are tried again with growing pauses until they are
//! loaded, or their files change. What failed enters, when it is tried again leaves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Control;
use crate::models::served::{ModelSet, Retry};
use crate::time::backoff::backoff;

/// The first pause: what a model that was unloaded had may not be given back yet.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Pauses double up to this one: a build may take as long.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The attempt after one that failed, which came after `before`.
pub(super) fn after(before: Option<Retry>) -> Retry {
    let pause = before.map_or(FIRST_PAUSE, |before| (before.pause * 2).min(LONGEST_PAUSE));
    Retry { at: Instant::now() + backoff((pause, pause)).next(), pause }
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
        for name in due(&self.models.current(), now) {
            let loaded = self.load_from(&self.loader.root, &name, |set| is_due(set, &name, now));
            if loaded.is_err() {
                self.change(|set| postpone(set, &name));
            }
        }
    }
}

fn due(set: &ModelSet, now: Instant) -> Vec<String> {
    set.failed.keys().filter(|name| is_due(set, name, now)).cloned().collect()
}

fn is_due(set: &ModelSet, name: &str, now: Instant) -> bool {
    set.failed.get(name).and_then(|failed| failed.retry).is_some_and(|retry| retry.at <= now)
}

/// There was no place in its line.
fn postpone(set: &mut ModelSet, name: &str) {
    if let Some(failed) = set.failed.get_mut(name) {
        failed.retry = failed.retry.map(|retry| after(Some(retry)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::repository::Fingerprint;
    use crate::models::served::Failed;

    /// A set in which "m" failed and is due.
    fn failed(now: Instant) -> ModelSet {
        let retry = Some(Retry { at: now, pause: FIRST_PAUSE });
        let failed =
            Failed { fingerprint: Fingerprint::default(), reason: String::new(), is_empty: false, retry };
        ModelSet { failed: [("m".to_owned(), failed)].into(), ..ModelSet::default() }
    }

    #[test]
    fn a_retry_is_due_no_more_once_its_model_was_loaded_unloaded_or_tried_by_another() {
        let now = Instant::now();
        assert_eq!(due(&failed(now), now), ["m"]);
        let mut gone = failed(now);
        gone.failed.remove("m");
        let mut called = failed(now);
        called.failed.get_mut("m").unwrap().retry = None;
        let mut tried = failed(now);
        postpone(&mut tried, "m");
        for set in [gone, called, tried] {
            assert!(!is_due(&set, "m", now));
        }
    }

    #[test]
    fn a_retry_that_found_no_place_comes_later_each_time() {
        let now = Instant::now();
        let mut set = failed(now);
        postpone(&mut set, "m");
        let first = set.failed["m"].retry.unwrap();
        assert!(first.at > now && first.pause > FIRST_PAUSE && due(&set, now).is_empty());
        assert_eq!(due(&set, first.at), ["m"]);
    }

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
