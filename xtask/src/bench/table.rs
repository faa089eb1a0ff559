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

/// What a row says of itself.
pub(super) struct Told {
    pub(super) name: String,
    pub(super) base: &'static str,
    pub(super) connections: u32,
    pub(super) unit: Unit,
    pub(super) target: Option<f64>,
}

/// A thing, its base and, where it has one, its floor.
pub(super) struct Row {
    told: Told,
    sides: Vec<Side>,
}

/// The medians of one of them.
#[derive(Clone, Copy)]
struct Side {
    cpu_us: f64,
    rate: f64,
    p50_us: f64,
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
    pub(super) fn of(told: Told, sides: &[Vec<Sample>]) -> Self {
        Self { told, sides: sides.iter().map(|samples| Side::of(samples)).collect() }
    }

    /// That figure of each side.
    fn figures(&self, figure: fn(&Side) -> f64, decimals: usize) -> String {
        let texts: Vec<String> =
            self.sides.iter().map(|side| format!("{:.decimals$}", figure(side))).collect();
        texts.join(" / ")
    }

    /// What the row is about, what it is above its floor, and whether it is as it should be.
    fn verdict(&self) -> [String; 3] {
        let [Some(own), Some(base)] = [0, 1].map(|side| self.sides.get(side)) else {
            return Default::default();
        };
        let Told { unit, target, .. } = self.told;
        let value = match unit {
            Unit::Cpu => own.cpu_us / base.cpu_us,
            Unit::Rate => own.rate / base.rate,
            Unit::Added => own.p50_us - base.p50_us,
        };
        let verdict = target.map(|target| {
            let (sign, met) =
                if unit == Unit::Rate { (">=", value >= target) } else { ("<=", value <= target) };
            format!("{sign} {target} {}", if met { "met" } else { "MISSED" })
        });
        let value = if unit == Unit::Added { format!("{value:+.0} us") } else { format!("{value:.2}") };
        let floor = self
            .sides
            .get(2)
            .map(|floor| format!("{:.2}, {:+.1} us", own.cpu_us / floor.cpu_us, own.cpu_us - floor.cpu_us));
        [value, floor.unwrap_or_default(), verdict.unwrap_or_default()]
    }
}

impl Side {
    fn of(samples: &[Sample]) -> Self {
        let figure = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure));
        Self {
            cpu_us: figure(|sample| sample.cpu.as_secs_f64() * 1e6 / sample.requests as f64),
            rate: figure(|sample| sample.requests as f64 / sample.elapsed.as_secs_f64()),
            p50_us: figure(|sample| sample.p50.as_secs_f64() * 1e6),
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [value, floor, verdict] = self.verdict();
        let Told { name, base, connections, .. } = &self.told;
        let cpu = self.figures(|side| side.cpu_us, 1);
        let rate = self.figures(|side| side.rate, 0);
        let p50 = self.figures(|side| side.p50_us, 0);
        write!(
            f,
            "| {name:<60} | {base:<23} | {connections:>2} | {cpu:>23} | {rate:>21} | {p50:>21} | {value:>7} | {floor:>15} | {verdict:<14} |",
        )
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Medians; each figure / its base's / its floor's. The ratio to the base is of CPU time a request where the target is at most"
        )?;
        writeln!(
            f,
            "(<=), of requests a second where it is at least (>=); +us is what the median request takes longer. Above the floor: the ratio"
        )?;
        writeln!(f, "to its CPU time a request, and the microseconds that are left.\n")?;
        writeln!(
            f,
            "| {:<60} | {:<23} | c  | {:<23} | {:<21} | {:<21} | ratio   | {:<15} | {:<14} |",
            "what", "base", "CPU us / request", "requests / s", "p50 us", "above the floor", "target"
        )?;
        f.write_str("|---|---|---:|---:|---:|---:|---:|---:|---|\n")?;
        self.0.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}
