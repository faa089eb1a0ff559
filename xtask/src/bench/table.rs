//! The table: rows of medians enter, text leaves.

use std::fmt;

use super::load::Sample;

/// What a row's ratio is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// CPU time a request: less is better.
    Cpu,
    /// Requests a second: more is better.
    Rate,
    /// Microseconds that the median request takes longer: less is better.
    Added,
}

/// A thing and its base.
pub(super) struct Row {
    name: String,
    base: &'static str,
    connections: u32,
    cpu_us: [f64; 2],
    rate: [f64; 2],
    p50_us: [f64; 2],
    unit: Unit,
    target: Option<f64>,
}

/// All rows of a run.
#[derive(Default)]
pub(super) struct Table(Vec<Row>);

impl Table {
    pub(super) fn add(&mut self, row: Row) {
        println!("{row}");
        self.0.push(row);
    }
}

impl Row {
    pub(super) fn of(
        name: &str,
        base: &'static str,
        connections: u32,
        pair: &[Vec<Sample>; 2],
        unit: Unit,
        target: Option<f64>,
    ) -> Self {
        let medians =
            |figure: fn(&Sample) -> f64| pair.each_ref().map(|side| median(side.iter().map(figure)));
        Self {
            name: name.to_owned(),
            base,
            connections,
            cpu_us: medians(|sample| sample.cpu.as_secs_f64() * 1e6 / sample.requests as f64),
            rate: medians(|sample| sample.requests as f64 / sample.elapsed.as_secs_f64()),
            p50_us: medians(|sample| sample.p50.as_secs_f64() * 1e6),
            unit,
            target,
        }
    }

    /// What the row is about, and whether it is as it should be.
    fn verdict(&self) -> (String, String) {
        let value = match self.unit {
            Unit::Cpu => self.cpu_us[0] / self.cpu_us[1],
            Unit::Rate => self.rate[0] / self.rate[1],
            Unit::Added => self.p50_us[0] - self.p50_us[1],
        };
        let verdict = self.target.map(|target| {
            let (sign, met) =
                if self.unit == Unit::Rate { (">=", value >= target) } else { ("<=", value <= target) };
            format!("{sign} {target} {}", if met { "met" } else { "MISSED" })
        });
        let value = if self.unit == Unit::Added { format!("{value:+.0} us") } else { format!("{value:.2}") };
        (value, verdict.unwrap_or_default())
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, verdict) = self.verdict();
        let [cpu, base_cpu] = self.cpu_us;
        let [rate, base_rate] = self.rate;
        let [p50, base_p50] = self.p50_us;
        write!(
            f,
            "| {:<36} | {:<22} | {:>2} | {cpu:>7.1} / {base_cpu:>7.1} | {:>7.0} / {:>7.0} | {p50:>6.0} / {base_p50:>6.0} | {value:>7} | {verdict:<14} |",
            self.name, self.base, self.connections, rate, base_rate
        )
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Medians; each figure / its base's. The ratio is of CPU time a request where the target is at most (<=), of"
        )?;
        writeln!(
            f,
            "requests a second where it is at least (>=); +us is what the median request takes longer.\n"
        )?;
        writeln!(
            f,
            "| {:<36} | {:<22} | c  | {:<17} | {:<17} | {:<15} | ratio   | {:<14} |",
            "what", "base", "CPU us / request", "requests / s", "p50 us", "target"
        )?;
        f.write_str("|---|---|---:|---:|---:|---:|---:|---|\n")?;
        self.0.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}
