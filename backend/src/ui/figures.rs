//! The gate's `/metrics`, as text -> the figures of them that the page shows.

use std::collections::BTreeMap;

use crate::observe::metrics::text;

/// Upper bounds of steps, in milliseconds, and how many took up to that.
pub(super) type Steps = Vec<(f64, u64)>;

/// What `/metrics` says at a moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    /// Requests in proxies by service, result and reason.
    pub(super) ends: BTreeMap<(String, String, String), u64>,
    /// Hits and the compute time that they saved, by service and model.
    pub(super) models: BTreeMap<(String, String), Saved>,
    /// How long answers took, by what gave them.
    pub(super) latency: BTreeMap<String, Steps>,
    pub(super) replicas: BTreeMap<String, u64>,
    pub(super) proxies: u64,
    pub(super) proxies_behind: u64,
    pub(super) held: u64,
    pub(super) hold: HoldFigures,
}

/// Of requests that came to be held.
#[derive(Debug, Clone, Default)]
pub(super) struct HoldFigures {
    pub(super) hits: u64,
    pub(super) collapsed: u64,
    pub(super) saved_us: u64,
    pub(super) refused: BTreeMap<String, u64>,
}

/// Hits of a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) hits: u64,
    pub(super) saved_us: u64,
}

impl Figures {
    pub(super) fn read(metrics: &str) -> Self {
        let mut figures = Self::default();
        text::lines(metrics).for_each(|line| figures.take(&line));
        for steps in figures.latency.values_mut() {
            steps.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        }
        figures
    }

    fn take(&mut self, line: &text::Line<'_>) {
        let (label, count) = (|name: &str| line.label(name).to_owned(), line.count());
        let mut step = |tier: String, ms: f64| {
            // "+Inf" is a number here.
            let bound = line.label("le").parse().map_or(f64::INFINITY, |bound: f64| bound * ms);
            self.latency.entry(tier).or_default().push((bound, count));
        };
        match line.name {
            "forebay_proxy_requests" => {
                self.ends.insert((label("service"), label("result"), label("reason")), count);
            }
            "forebay_proxy_hits" => self.model(line).hits = count,
            "forebay_proxy_saved_us" => self.model(line).saved_us = count,
            "forebay_proxy_latency_ms_bucket" => step(label("tier"), 1.0),
            "forebay_gate_lookup_seconds_bucket" => step("lookup".to_owned(), 1000.0),
            "forebay_hold_seconds_bucket" => step("hold".to_owned(), 1000.0),
            "forebay_replicas" => drop(self.replicas.insert(label("service"), count)),
            "forebay_proxies" => self.proxies = count,
            "forebay_proxies_behind" => self.proxies_behind = count,
            "forebay_held_requests" => self.held = count,
            "forebay_hold_hits" => self.hold.hits = count,
            "forebay_hold_collapsed" => self.hold.collapsed = count,
            "forebay_hold_saved_us" => self.hold.saved_us = count,
            "forebay_hold_refused" => drop(self.hold.refused.insert(label("reason"), count)),
            _ => {}
        }
    }

    fn model(&mut self, line: &text::Line<'_>) -> &mut Saved {
        let name = (line.label("service").to_owned(), line.label("model").to_owned());
        self.models.entry(name).or_default()
    }
}

/// How many took up to each bound since then.
pub(super) fn since(now: &Steps, then: Option<&Steps>) -> Steps {
    let before = |bound: f64| {
        let step = then.and_then(|then| then.iter().find(|(other, _)| other.total_cmp(&bound).is_eq()));
        step.map_or(0, |(_, count)| *count)
    };
    now.iter().map(|(bound, count)| (*bound, count.saturating_sub(before(*bound)))).collect()
}

/// Of so many parts of what was counted, the longest time, as Prometheus' `histogram_quantile` has it: as if times lay evenly within a
/// step. `None` where nothing was counted.
pub(super) fn quantile(steps: &Steps, part: f64) -> Option<f64> {
    let (_, all) = *steps.last().filter(|(_, all)| *all > 0)?;
    let rank = part * all as f64;
    let at = steps.iter().position(|(_, count)| *count as f64 >= rank)?;
    let (low, below) = at.checked_sub(1).map_or((0.0, 0), |before| steps[before]);
    let (high, up_to) = steps[at];
    if high.is_infinite() {
        return Some(low);
    }
    let within = (rank - below as f64) / (up_to - below).max(1) as f64;
    Some(low + (high - low) * within.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_become_figures() {
        let figures = Figures::read(
            "# HELP forebay_proxy_hits Hits\n\
             forebay_proxy_hits{service=\"s\",model=\"<b>\"} 3\n\
             forebay_proxy_saved_us{service=\"s\",model=\"<b>\"} 500\n\
             forebay_proxy_requests{service=\"s\",result=\"miss\",reason=\"stale\"} 7\n\
             forebay_proxy_latency_ms_bucket{tier=\"l2\",le=\"+Inf\"} 9\n\
             forebay_proxy_latency_ms_bucket{tier=\"l2\",le=\"5\"} 4\n\
             forebay_gate_lookup_seconds_bucket{le=\"0.001\"} 2\n\
             forebay_gate_lookup_seconds_sum 0.5\n\
             forebay_hold_refused{reason=\"late\"} 1\n\
             forebay_replicas{service=\"s\"} 2\n",
        );
        assert_eq!(figures.models[&("s".into(), "<b>".into())], Saved { hits: 3, saved_us: 500 });
        assert_eq!(figures.ends[&("s".into(), "miss".into(), "stale".into())], 7);
        assert_eq!(figures.latency["l2"], [(5.0, 4), (f64::INFINITY, 9)]);
        assert_eq!(figures.latency["lookup"], [(1.0, 2)]);
        assert_eq!((figures.hold.refused["late"], figures.replicas["s"]), (1, 2));
    }

    #[test]
    fn a_quantile_lies_within_its_step() {
        let steps = vec![(1.0, 50), (2.0, 50), (5.0, 100), (f64::INFINITY, 100)];
        assert_eq!(quantile(&steps, 0.5), Some(1.0));
        assert_eq!(quantile(&steps, 0.75), Some(3.5));
        assert_eq!(quantile(&vec![(1.0, 0), (f64::INFINITY, 4)], 0.5), Some(1.0), "it took longer than that");
        assert_eq!(quantile(&vec![(1.0, 0), (f64::INFINITY, 0)], 0.5), None);
        assert_eq!(quantile(&vec![], 0.5), None);
    }

    #[test]
    fn what_was_counted_before_is_left_out() {
        let (then, now) = (vec![(1.0, 5), (2.0, 6)], vec![(1.0, 7), (2.0, 9), (f64::INFINITY, 9)]);
        assert_eq!(since(&now, Some(&then)), [(1.0, 2), (2.0, 3), (f64::INFINITY, 9)]);
        assert_eq!(since(&now, None), now);
    }
}
