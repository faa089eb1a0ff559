//! The `HorizontalPodAutoscaler`, as `k8s.io/kubernetes/pkg/controller/podautoscaler` computes it for an external metric with a target per
//! replica: what was measured and how many replicas there are enter, at each sync; how many there shall be leaves.

use serde::{Deserialize, Serialize};

/// `spec` of it, as far as it decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hpa {
    /// The fewest replicas; 0 where something else wakes the first.
    pub min: u32,
    /// The most.
    pub max: u32,
    /// What a replica shall have of the metric.
    pub target: f64,
    /// How far the metric may be from the target, as a part of it, without a change: 0.1 in Kubernetes.
    pub tolerance: f64,
    /// Seconds between syncs: 15 in Kubernetes.
    pub sync_s: u32,
    /// How it goes up.
    pub up: Rules,
    /// How it goes down.
    pub down: Rules,
}

/// `spec.behavior.scaleUp` or `scaleDown`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Recommendations of so many seconds count: the least of them upwards, the largest downwards.
    pub stabilization_s: u32,
    /// Which of the policies counts.
    pub select: Select,
    /// How much at most.
    pub policies: Vec<Limit>,
}

/// `selectPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// The policy that allows the most change.
    Max,
    /// The policy that allows the least.
    Min,
    /// No change at all.
    Disabled,
}

/// One of `policies`: so much change within a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// So many replicas in so many seconds.
    Pods(u32, u32),
    /// So many hundredths of what there was, in so many seconds.
    Percent(u32, u32),
}

impl Hpa {
    /// As Kubernetes has it by default.
    pub fn new(min: u32, max: u32, target: f64) -> Self {
        let rules = |stabilization_s, policies| Rules { stabilization_s, select: Select::Max, policies };
        Self {
            min,
            max,
            target,
            tolerance: 0.1,
            sync_s: 15,
            up: rules(0, vec![Limit::Percent(100, 15), Limit::Pods(4, 15)]),
            down: rules(300, vec![Limit::Percent(100, 15)]),
        }
    }
}

/// What the controller remembers.
#[derive(Debug, Default)]
pub struct Controller {
    /// What was recommended, and when.
    recommended: Vec<(u64, u32)>,
    /// What was added and removed, and when.
    added: Vec<(u64, u32)>,
    removed: Vec<(u64, u32)>,
}

impl Controller {
    /// One sync: how many replicas there shall be from now on.
    pub fn sync(&mut self, hpa: &Hpa, now_us: u64, current: u32, metric: f64) -> u32 {
        if current < hpa.min || current > hpa.max {
            return self.note(now_us, current, current.clamp(hpa.min, hpa.max));
        }
        let wanted = by_metric(hpa, current, metric);
        let stable = self.stabilized(hpa, now_us, current, wanted);
        let limited = self.limited(hpa, now_us, current, stable);
        self.forget(hpa, now_us);
        self.note(now_us, current, limited)
    }

    /// Notes a change that something else made, such as a wake.
    pub fn note(&mut self, now_us: u64, before: u32, after: u32) -> u32 {
        if after > before {
            self.added.push((now_us, after - before));
        } else if after < before {
            self.removed.push((now_us, before - after));
        }
        after
    }

    fn stabilized(&mut self, hpa: &Hpa, now_us: u64, current: u32, wanted: u32) -> u32 {
        let within = |window_s: u32| {
            let recent = self.recommended.iter().filter(move |(at, _)| is_within(*at, now_us, window_s));
            recent.map(|(_, replicas)| *replicas)
        };
        let up = within(hpa.up.stabilization_s).fold(wanted, u32::min);
        let down = within(hpa.down.stabilization_s).fold(wanted, u32::max);
        self.recommended.push((now_us, wanted));
        current.max(up).min(down)
    }

    fn limited(&self, hpa: &Hpa, now_us: u64, current: u32, wanted: u32) -> u32 {
        if wanted > current {
            let most = self.limit(&hpa.up, now_us, current, true).max(current);
            wanted.min(most).min(hpa.max)
        } else {
            let least = self.limit(&hpa.down, now_us, current, false).min(current);
            wanted.max(least).max(hpa.min)
        }
    }

    /// How far the rules let it go.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // of replicas, and not below 0
    fn limit(&self, rules: &Rules, now_us: u64, current: u32, is_up: bool) -> u32 {
        let sum = |changes: &[(u64, u32)], period_s: u32| {
            let recent = changes.iter().filter(|(at, _)| is_within(*at, now_us, period_s));
            recent.map(|(_, change)| *change).sum::<u32>()
        };
        let allowed = rules.policies.iter().map(|limit| {
            let (Limit::Pods(_, period_s) | Limit::Percent(_, period_s)) = *limit;
            let before = (current + sum(&self.removed, period_s)).saturating_sub(sum(&self.added, period_s));
            match (*limit, is_up) {
                (Limit::Pods(pods, _), true) => before.saturating_add(pods),
                (Limit::Pods(pods, _), false) => before.saturating_sub(pods),
                (Limit::Percent(percent, _), true) => {
                    (f64::from(before) * (1.0 + f64::from(percent) / 100.0)).ceil() as u32
                }
                (Limit::Percent(percent, _), false) => {
                    (f64::from(before) * (1.0 - f64::from(percent) / 100.0)) as u32
                }
            }
        });
        let chosen = match (rules.select, is_up) {
            (Select::Disabled, _) => None,
            (Select::Max, true) | (Select::Min, false) => allowed.max(),
            (Select::Min, true) | (Select::Max, false) => allowed.min(),
        };
        chosen.unwrap_or(current)
    }

    fn forget(&mut self, hpa: &Hpa, now_us: u64) {
        let window_s = hpa.up.stabilization_s.max(hpa.down.stabilization_s);
        self.recommended.retain(|(at, _)| is_within(*at, now_us, window_s));
        let periods = hpa.up.policies.iter().chain(&hpa.down.policies).map(|limit| match *limit {
            Limit::Pods(_, period_s) | Limit::Percent(_, period_s) => period_s,
        });
        let longest_s = periods.max().unwrap_or(0);
        self.added.retain(|(at, _)| is_within(*at, now_us, longest_s));
        self.removed.retain(|(at, _)| is_within(*at, now_us, longest_s));
    }
}

fn is_within(at_us: u64, now_us: u64, window_s: u32) -> bool {
    now_us.saturating_sub(at_us) < u64::from(window_s) * 1_000_000
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // of replicas
fn by_metric(hpa: &Hpa, current: u32, metric: f64) -> u32 {
    let ratio = metric / (hpa.target * f64::from(current));
    if current > 0 && (1.0 - ratio).abs() <= hpa.tolerance {
        return current;
    }
    (metric / hpa.target).ceil() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    /// What it comes to, sync after sync, as each metric is measured.
    fn replicas(hpa: &Hpa, start: u32, metrics: &[f64]) -> Vec<u32> {
        let (mut controller, mut current) = (Controller::default(), start);
        let syncs = metrics.iter().enumerate().map(|(number, metric)| {
            let now_us = number as u64 * u64::from(hpa.sync_s) * SECOND;
            current = controller.sync(hpa, now_us, current, *metric);
            current
        });
        syncs.collect()
    }

    #[test]
    fn within_the_tolerance_nothing_changes() {
        let hpa = Hpa::new(1, 20, 10.0);
        assert_eq!(replicas(&hpa, 4, &[43.9, 36.1, 40.0]), [4, 4, 4]);
        assert_eq!(replicas(&hpa, 4, &[44.1]), [5]);
    }

    #[test]
    fn upwards_it_doubles_or_adds_four_whichever_is_more_in_a_period() {
        let hpa = Hpa::new(1, 100, 1.0);
        assert_eq!(replicas(&hpa, 1, &[90.0; 5]), [5, 10, 20, 40, 80]);
        let few = Hpa { up: Rules { select: Select::Min, ..hpa.up.clone() }, ..hpa.clone() };
        assert_eq!(replicas(&few, 1, &[90.0; 5]), [2, 4, 8, 12, 16]);
        let none = Hpa { up: Rules { select: Select::Disabled, ..hpa.up.clone() }, ..hpa };
        assert_eq!(replicas(&none, 1, &[90.0; 2]), [1, 1]);
    }

    #[test]
    fn downwards_the_largest_recommendation_of_five_minutes_counts() {
        let hpa = Hpa::new(1, 100, 1.0);
        let mut metrics = vec![10.0];
        metrics.extend([2.0; 21]);
        let replicas = replicas(&hpa, 10, &metrics);
        assert_eq!(replicas[19], 10, "{replicas:?}");
        assert_eq!(replicas[20], 2, "{replicas:?}");
    }

    #[test]
    fn a_limit_of_pods_counts_what_a_period_had() {
        let mut hpa = Hpa::new(1, 100, 1.0);
        hpa.down = Rules { stabilization_s: 0, select: Select::Max, policies: vec![Limit::Pods(2, 60)] };
        assert_eq!(replicas(&hpa, 10, &[1.0; 6]), [8, 8, 8, 8, 6, 6]);
        hpa.down.policies = vec![Limit::Percent(10, 15)];
        assert_eq!(replicas(&hpa, 10, &[1.0; 3]), [9, 8, 7]);
    }

    #[test]
    fn it_stays_between_its_ends() {
        let hpa = Hpa::new(2, 5, 1.0);
        assert_eq!(replicas(&hpa, 2, &[100.0; 2]), [5, 5]);
        assert_eq!(replicas(&hpa, 0, &[1.0]), [2]);
        assert_eq!(replicas(&hpa, 9, &[9.0]), [5]);
    }
}
