//! How much the backends of a service have to do: their `/metrics`, by Triton's names, and what waits at its gates -> requests that wait
//! or are in progress, and the compute time that a second takes. What was answered without them is in neither. Next: `scaler` tells KEDA;
//! `work` sums up by model.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::backends::Backend;
use super::handover::Handover;
use super::work::{Looks, Since, Work};
use crate::observe::metrics::text;

/// Of all backends together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Load {
    /// Requests that wait for a backend, here and at the other gates.
    held: u64,
    /// Whether it is known what waits at the other gates.
    is_whole: bool,
    /// Requests that came to backends and are not answered. `None`: nobody has looked yet.
    in_progress: Option<u64>,
    /// Seconds of compute time a second: as many backends were busy all the time. `None`: there were no two looks yet.
    pub(super) busy: Option<f64>,
    /// Something was asked or answered since the last look.
    pub(super) is_active: bool,
}

impl Load {
    fn hear(&mut self, held: Held, is_active: bool) {
        self.is_active |= is_active;
        (self.held, self.is_whole) = (held.requests, held.is_whole);
    }

    /// Requests that wait or are in progress, as far as is known. `None`: what is known is nothing, and it isn't all.
    pub(super) fn requests(&self) -> Option<u64> {
        let requests = self.held.saturating_add(self.in_progress.unwrap_or(0));
        let is_all = self.is_whole && self.in_progress.is_some();
        (is_all || requests > 0).then_some(requests)
    }
}

/// Requests that came to a backend and are not answered, by its metrics.
fn in_progress(metrics: &str) -> u64 {
    let sum = |name: &str| {
        let lines = text::lines(metrics).filter(|line| line.name == name);
        lines.fold(0, |sum: u64, line| sum.saturating_add(line.count()))
    };
    // Ours, or what Triton has of it.
    sum("forebay_requests_in_progress").max(sum("nv_inference_pending_request_count"))
}

/// A backend that is too busy to say how much it has to do counts as it said last, for so long: one whose node is gone says nothing either.
const BELIEVED: Duration = Duration::from_mins(1);

/// What backends say when they are looked at.
#[derive(Default)]
struct Said {
    metrics: Vec<(IpAddr, String)>,
    /// Who did not answer in time.
    late: Vec<IpAddr>,
}

/// Requests in progress at each backend, as it said last.
#[derive(Default)]
struct InProgress(HashMap<IpAddr, (u64, Instant)>);

impl InProgress {
    /// Those of all backends together. One that was idle and is late counts as idle: what is gone is late too, while its name still
    /// says its address, and would wake a service that has just gone to zero.
    fn at(&mut self, said: &Said, now: Instant) -> u64 {
        let late = |address: &IpAddr| said.late.contains(address);
        self.0.retain(|address, (_, at)| late(address) && now.duration_since(*at) <= BELIEVED);
        let of_late = self.0.values().map(|(count, _)| *count).fold(0, u64::saturating_add);
        let of_others = said.metrics.iter().map(|(address, text)| {
            let count = in_progress(text);
            self.0.insert(*address, (count, now));
            count
        });
        of_others.fold(of_late, u64::saturating_add)
    }
}

/// What is known of the backends, always as it was found last.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) load: watch::Sender<Load>,
    pub(crate) work: watch::Sender<Work>,
}

impl Default for Watched {
    fn default() -> Self {
        Self { load: watch::Sender::new(Load::default()), work: watch::Sender::new(Work::default()) }
    }
}

/// What waits.
#[derive(Debug, Clone, Copy)]
struct Held {
    requests: u64,
    is_whole: bool,
}

impl Held {
    fn of(here: u64, elsewhere: Option<u64>) -> Self {
        Self { requests: here.saturating_add(elsewhere.unwrap_or(0)), is_whole: elsewhere.is_some() }
    }
}

/// What load is made of.
pub(crate) struct Found {
    pub(crate) handover: Arc<Handover>,
    /// Requests that wait at the other gates; `None`: that is not known.
    pub(crate) elsewhere: watch::Receiver<Option<u64>>,
    /// Between two looks at the backends. Two of them tell what a second takes.
    pub(crate) every: Duration,
}

/// Looks again and again until `stop`.
pub(crate) async fn follow(found: Found, watched: Watched, stop: CancellationToken) {
    let Found { handover, mut elsewhere, every } = found;
    let held = |elsewhere: &watch::Receiver<Option<u64>>| Held::of(handover.held(), *elsewhere.borrow());
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut wanted = handover.wanted();
    let mut was_active = false;
    let (mut has_looked, mut looks, mut known) = (false, Looks::default(), InProgress::default());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {
                let said = look(&handover).await;
                let (in_progress, mut since) = (known.at(&said, Instant::now()), Since::default());
                watched.work.send_modify(|work| since = looks.add(work, &said.metrics, Instant::now()));
                let since = std::mem::replace(&mut has_looked, true).then_some(since);
                watched.load.send_replace(load(held(&elsewhere), in_progress, since));
            }
            // At once: who waits must not wait for a look.
            Ok(()) = wanted.changed() => {
                let is_wanted = *wanted.borrow_and_update();
                watched.load.send_modify(|load| load.hear(held(&elsewhere), is_wanted));
            }
            Ok(()) = elsewhere.changed() => {
                let waits = elsewhere.borrow_and_update().is_some_and(|requests| requests > 0);
                watched.load.send_modify(|load| load.hear(held(&elsewhere), waits));
            }
        }
        tell(&watched.load.borrow(), &mut was_active);
    }
}

/// Says in the log when a service begins to want backends and when it wants none any more, and why: each costs what a wake costs.
fn tell(load: &Load, was_active: &mut bool) {
    let is_active = load.is_active;
    if std::mem::replace(was_active, is_active) != is_active {
        let Load { held, in_progress, busy, .. } = *load;
        let what = if is_active { "backends are wanted" } else { "no backend is wanted any more" };
        tracing::info!(held, in_progress, busy, "{what}");
    }
}

/// The metrics of each backend that gives some.
async fn look(handover: &Arc<Handover>) -> Said {
    let backends = handover.backends().await;
    let ask = async |backend: &Arc<Backend>| (backend.address, backend.metrics().await);
    let mut said = Said::default();
    for (address, answer) in join_all(backends.iter().map(ask)).await {
        match answer {
            Ok(metrics) => said.metrics.extend(metrics.map(|text| (address, text))),
            Err(_) => said.late.push(address),
        }
    }
    said
}

/// `since`: what backends did since the look before, if there was one.
fn load(held: Held, in_progress: u64, since: Option<Since>) -> Load {
    let Held { requests: held, is_whole } = held;
    let is_active = held > 0 || in_progress > 0 || since.is_some_and(|since| since.has_answered);
    Load { held, is_whole, in_progress: Some(in_progress), busy: since.map(|since| since.busy), is_active }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_all_models_are_summed_by_their_whole_names() {
        let text = "# HELP nv_inference_request_success x\n\
                    nv_inference_request_success{model=\"a\",version=\"1\"} 5\n\
                    nv_inference_request_success{model=\"b\",version=\"1\"} 7\n\
                    nv_inference_request_failure{model=\"b\",version=\"1\",reason=\"OTHER\"} 1\n\
                    nv_inference_request_success_more{model=\"a\"} 9\n\
                    nv_inference_pending_request_count{model=\"a\"} 2\n\
                    forebay_requests_in_progress{model=\"a\"} 3\n\
                    forebay_requests_in_progress{model=\"b\"} NaN\n";
        assert_eq!(in_progress(text), 3);
        assert_eq!(in_progress("nonsense"), 0);
    }

    #[test]
    fn who_is_too_busy_to_say_counts_as_it_said_last_for_a_minute() {
        let (start, busy, other) = (Instant::now(), IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let says = |count: u64| format!("forebay_requests_in_progress {count}\n");
        let said = |metrics: &[(IpAddr, u64)], late: &[IpAddr]| Said {
            metrics: metrics.iter().map(|(address, count)| (*address, says(*count))).collect(),
            late: late.to_vec(),
        };
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut known = InProgress::default();
        assert_eq!(known.at(&said(&[], &[busy]), start), 0, "it has never said anything");
        assert_eq!(known.at(&said(&[(busy, 5), (other, 2)], &[]), start), 7);
        assert_eq!(known.at(&said(&[(other, 3)], &[busy]), after(59)), 8);
        assert_eq!(known.at(&said(&[(other, 3)], &[busy]), after(61)), 3, "it may be gone");
        assert_eq!(known.at(&said(&[(busy, 0)], &[]), after(62)), 0);
        assert_eq!(known.at(&said(&[], &[busy]), after(64)), 0, "it was idle, and may be gone");
        assert_eq!(known.at(&said(&[], &[]), after(66)), 0, "nobody is there");
    }

    #[test]
    fn a_service_is_active_while_somebody_waits_or_is_computed_or_was_answered() {
        let after = |held, in_progress, has_answered| {
            load(Held::of(held, Some(0)), in_progress, Some(Since { busy: 0.5, has_answered }))
        };
        let told = |load: Load| (load.requests(), load.is_active);
        assert_eq!(told(after(0, 0, false)), (Some(0), false));
        assert_eq!(told(after(3, 0, false)), (Some(3), true));
        assert_eq!(told(after(1, 2, false)), (Some(3), true));
        assert_eq!(told(after(0, 0, true)), (Some(0), true));
        assert_eq!(after(0, 0, true).busy, Some(0.5));
    }

    #[test]
    fn what_is_not_known_is_not_0_but_what_is_known_to_wait_counts() {
        let after = |here, elsewhere| load(Held::of(here, elsewhere), 0, None);
        assert_eq!((Load::default().requests(), Load::default().busy), (None, None), "nobody has looked");
        assert_eq!((after(0, Some(0)).requests(), after(0, Some(0)).busy), (Some(0), None), "once");
        assert_eq!((after(0, Some(2)).requests(), after(1, Some(2)).requests()), (Some(2), Some(3)));
        assert_eq!((after(0, None).requests(), after(1, None).requests()), (None, Some(1)), "no pool");
    }
}
