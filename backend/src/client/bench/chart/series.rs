//! Runs -> rows of figures that belong together, one for each label and encoding, in their colours.

use crate::client::bench::report::Run;

/// Okabe and Ito's colours: told apart by all eyes, on light and dark.
const COLORS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999"];
/// Which percentiles are drawn.
pub(super) const PERCENTILES: [&str; 6] = ["50", "90", "95", "99", "99.9", "max"];

/// What a run was asked to do.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Load {
    rate: Option<f64>,
    connections: u32,
    /// Do connections tell loads apart?
    shows_connections: bool,
}

/// A row of runs, one a load where there is one.
pub(super) struct Series<'a> {
    pub(super) name: String,
    pub(super) color: &'static str,
    runs: Vec<Option<&'a Run>>,
}

impl Load {
    fn of(run: &Run) -> Self {
        Self { rate: run.rate, connections: run.connections, shows_connections: run.rate.is_none() }
    }

    fn is_of(&self, run: &Run) -> bool {
        self.rate == run.rate && self.connections == run.connections
    }

    pub(super) fn is_open(&self) -> bool {
        self.rate.is_some()
    }

    pub(super) fn name(&self) -> String {
        match self.rate {
            None => self.connections.to_string(),
            Some(rate) if self.shows_connections => format!("{rate}/s, {}", self.connections),
            Some(rate) => format!("{rate}/s"),
        }
    }
}

/// The loads of runs, in their order.
pub(super) fn loads(runs: &[Run]) -> Vec<Load> {
    let mut loads: Vec<Load> = Vec::new();
    for run in runs {
        if !loads.iter().any(|load| load.is_of(run)) {
            loads.push(Load::of(run));
        }
    }
    for index in 0..loads.len() {
        let rate = loads[index].rate;
        loads[index].shows_connections |= loads.iter().filter(|load| load.rate == rate).count() > 1;
    }
    loads
}

/// The rows.
pub(super) fn of<'a>(runs: &'a [Run], loads: &[Load]) -> Vec<Series<'a>> {
    let mut names: Vec<String> = Vec::new();
    for run in runs {
        if !names.contains(&run.series()) {
            names.push(run.series());
        }
    }
    // An encoding that all share tells nothing apart.
    let is_one = runs.iter().all(|run| run.encoding == runs[0].encoding && !run.label.is_empty());
    let row = |(index, name): (usize, &String)| {
        let own = |load: &Load| runs.iter().rfind(|run| run.series() == *name && load.is_of(run));
        let runs: Vec<Option<&Run>> = loads.iter().map(own).collect();
        let label = runs.iter().flatten().next().map(|run| run.label.clone());
        Series {
            name: label.filter(|_| is_one).unwrap_or_else(|| name.clone()),
            color: COLORS[index % COLORS.len()],
            runs,
        }
    };
    names.iter().enumerate().map(row).collect()
}

impl Series<'_> {
    /// Of each load; not a number where there is no run.
    fn figures(&self, figure: fn(&Run) -> f64) -> Vec<f64> {
        self.runs.iter().map(|run| run.map_or(f64::NAN, figure)).collect()
    }

    pub(super) fn rates(&self) -> Vec<f64> {
        self.figures(|run| run.answered_per_sec)
    }

    /// In milliseconds.
    pub(super) fn medians(&self) -> Vec<f64> {
        self.figures(|run| run.latency_us.p50 / 1000.0)
    }

    /// In milliseconds.
    pub(super) fn p99s(&self) -> Vec<f64> {
        self.figures(|run| run.latency_us.p99 / 1000.0)
    }

    /// Of the first load, in milliseconds, as [`PERCENTILES`] names them.
    pub(super) fn percentiles(&self) -> Vec<f64> {
        let latency = self.runs.first().copied().flatten().map(|run| run.latency_us);
        let all = latency.map(|one| [one.p50, one.p90, one.p95, one.p99, one.p999, one.max]);
        all.map_or_else(Vec::new, |all| all.map(|microseconds| microseconds / 1000.0).to_vec())
    }
}
