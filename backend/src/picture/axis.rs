//! Values -> where they are between an axis' ends, and where it has marks.

/// An axis from its lower end, 0, to its upper one, 1.
pub(crate) struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
    ticks: Vec<f64>,
}

impl Axis {
    /// From 0 to a round number above all values.
    pub(crate) fn from_zero<'a>(values: impl Iterator<Item = &'a f64>) -> Self {
        let most = values.copied().filter(|value| value.is_finite()).fold(0.0, f64::max).max(1e-9);
        let rough = most / 4.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power);
        let step = step.into_iter().find(|step| *step >= rough).unwrap_or(10.0 * power);
        let count = (most / step).ceil();
        let mut ticks = vec![0.0];
        while (ticks.len() as f64) <= count {
            ticks.push(ticks.len() as f64 * step);
        }
        Self { low: 0.0, high: count * step, is_log: false, ticks }
    }

    /// From below the least value to above the largest, by powers.
    pub(crate) fn log(values: &[f64]) -> Self {
        let values = || values.iter().copied().filter(|value| value.is_finite() && *value > 0.0);
        let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
        let (least, most) = if least <= most { (least, most) } else { (1.0, 10.0) };
        let mut ticks = marks(least, most, &[1.0, 2.0, 5.0]);
        if ticks.len() > 8 {
            ticks = marks(least, most, &[1.0]);
        }
        let (low, high) = (ticks[0], ticks[ticks.len() - 1]);
        Self { low, high, is_log: true, ticks }
    }

    /// Where a value is.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let place = if self.is_log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        place.clamp(0.0, 1.0)
    }

    pub(crate) fn ticks(&self) -> impl Iterator<Item = f64> {
        self.ticks.iter().copied()
    }
}

/// Round numbers, the last that is no more than `least` to the first that is `most` at least.
fn marks(least: f64, most: f64, factors: &[f64]) -> Vec<f64> {
    let mut power = 10_f64.powf(least.log10().floor());
    let mut ticks: Vec<f64> = Vec::new();
    loop {
        for factor in factors {
            let tick = factor * power;
            if tick <= least {
                ticks.clear();
            }
            ticks.push(tick);
            if tick >= most && ticks.len() > 1 {
                return ticks;
            }
        }
        power *= 10.0;
    }
}

/// A number in few characters.
pub(crate) fn short(value: f64) -> String {
    let (value, unit) = match value {
        1e6.. => (value / 1e6, "M"),
        1e4.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{value:.3}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_round_marks_that_hold_all_values() {
        let axis = Axis::from_zero([180.0, 7_300.0].iter());
        assert_eq!(axis.ticks().collect::<Vec<_>>(), [0.0, 2000.0, 4000.0, 6000.0, 8000.0]);
        assert!((axis.place(4000.0) - 0.5).abs() < 1e-9);
        let axis = Axis::log(&[0.13, 4.0]);
        assert_eq!(axis.ticks().map(short).collect::<Vec<_>>(), ["0.1", "0.2", "0.5", "1", "2", "5"]);
        let axis = Axis::log(&[0.013, 870.0]);
        assert_eq!(axis.ticks().map(short).collect::<Vec<_>>(), ["0.01", "0.1", "1", "10", "100", "1000"]);
        assert!((axis.place(1.0) - 0.4).abs() < 1e-9);
    }

    #[test]
    fn an_axis_of_nothing_or_of_one_value_is_an_axis() {
        for values in [&[][..], &[f64::NAN], &[5.0], &[0.0]] {
            for axis in [Axis::from_zero(values.iter()), Axis::log(values)] {
                assert!(axis.ticks().count() > 1 && (0.0..=1.0).contains(&axis.place(5.0)), "{values:?}");
            }
        }
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 0.05, 2.5, 5000.0, 12_500.0, 2e6].map(short),
            ["0", "0.05", "2.5", "5000", "12.5k", "2M"]
        );
    }
}
