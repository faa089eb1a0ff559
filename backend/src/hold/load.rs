//! How much the backends of a service have to do: their `/metrics`, by Triton's names -> requests in progress, and the compute time
//! that a second takes. What was answered without them is in neither. Next: `scaler` tells KEDA.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::handover::Handover;

/// Between two looks. Two of them tell what a second takes.
const LOOK: Duration = Duration::from_secs(2);

/// Of all backends together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Load {
    /// Requests that wait here for a backend.
    pub(super) held: u64,
    /// Requests that came to backends and are not answered.
    pub(super) in_progress: u64,
    /// Seconds of compute time a second: as many backends were busy all the time.
    pub(super) busy: f64,
    /// Something was asked or answered since the last look.
    pub(super) is_active: bool,
}

/// What one look found.
#[derive(Debug, Clone, Copy, Default)]
struct Look {
    in_progress: u64,
    answered: u64,
    computed_us: u64,
}

impl Look {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // counts: what is less than 0 is left out, and `as` saturates
    fn of(text: &str) -> Self {
        let sum = |names: &[&str]| {
            let lines = text.lines().filter_map(|line| {
                let end = line.find(['{', ' '])?;
                names.contains(&line.get(..end)?).then(|| line.rsplit(' ').next()?.parse::<f64>().ok())?
            });
            lines.filter(|value| value.is_finite() && *value > 0.0).sum::<f64>() as u64
        };
        Self {
            // Ours, or what Triton has of it.
            in_progress: sum(&["forebay_requests_in_progress"])
                .max(sum(&["nv_inference_pending_request_count"])),
            answered: sum(&["nv_inference_request_success", "nv_inference_request_failure"]),
            computed_us: sum(&["nv_inference_compute_infer_duration_us"]),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            in_progress: self.in_progress.saturating_add(other.in_progress),
            answered: self.answered.saturating_add(other.answered),
            computed_us: self.computed_us.saturating_add(other.computed_us),
        }
    }
}

/// Looks again and again until `stop`. What leaves is always the last that was found.
pub(crate) async fn follow(handover: Arc<Handover>, told: watch::Sender<Load>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut wanted = handover.wanted();
    let mut last: Option<(Instant, Look)> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {
                let found = look(&handover).await;
                let now = Instant::now();
                told.send_replace(load(&handover, found, last, now));
                last = Some((now, found));
            }
            // At once: who waits must not wait for a look.
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                let is_wanted = *wanted.borrow_and_update();
                told.send_modify(|load| {
                    load.is_active |= is_wanted;
                    load.held = handover.held();
                });
            }
        }
    }
}

async fn look(handover: &Arc<Handover>) -> Look {
    let backends = handover.backends().await;
    let texts = join_all(backends.iter().map(|backend| backend.metrics())).await;
    texts.into_iter().flatten().map(|text| Look::of(&text)).fold(Look::default(), Look::and)
}

fn load(handover: &Handover, found: Look, last: Option<(Instant, Look)>, now: Instant) -> Load {
    let held = handover.held();
    let busy = last.map_or(0.0, |(at, last)| {
        // A backend that came or went takes its counts along.
        let computed = found.computed_us.saturating_sub(last.computed_us);
        Duration::from_micros(computed).as_secs_f64() / now.duration_since(at).as_secs_f64().max(0.001)
    });
    let is_active =
        held > 0 || found.in_progress > 0 || last.is_some_and(|(_, last)| found.answered > last.answered);
    Load { held, in_progress: found.in_progress, busy, is_active }
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
                    nv_inference_compute_infer_duration_us{model=\"a\"} 1500\n\
                    nv_inference_compute_infer_duration_us_more{model=\"a\"} 9\n\
                    nv_inference_pending_request_count{model=\"a\"} 2\n\
                    forebay_requests_in_progress{model=\"a\"} 3\n\
                    forebay_requests_in_progress{model=\"b\"} NaN\n";
        let look = Look::of(text);
        assert_eq!((look.in_progress, look.answered, look.computed_us), (3, 13, 1500));
        assert_eq!(Look::of("nonsense").answered, 0);
    }
}
