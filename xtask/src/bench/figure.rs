//! Times of something and of its base -> a line that tells both, and whether the target is met.

use std::fmt;
use std::time::Duration;

/// A figure and its base, in milliseconds.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) base: &'static str,
    pub(crate) own: Vec<Duration>,
    pub(crate) against: Vec<Duration>,
    pub(crate) target: Target,
}

pub(crate) enum Target {
    /// Its median is so many milliseconds at most.
    AtMost(f64),
    /// Its 99th percentile is so many times that of its base at most.
    Tail(f64),
    None,
}

/// That of a hundred, in milliseconds.
fn percentile(of: &[Duration], percent: usize) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_unstable();
    let found = sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)));
    found.map_or(f64::NAN, |found| found.as_secs_f64() * 1e3)
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, base, own, against, target } = self;
        let [p50, p99] = [50, 99].map(|percent| percentile(own, percent));
        let [base_p50, base_p99] = [50, 99].map(|percent| percentile(against, percent));
        write!(
            f,
            "{name}: p50 {p50:.1} ms, p99 {p99:.1} ms of {}; {base}: p50 {base_p50:.1} ms, p99 {base_p99:.1} ms of {}",
            own.len(),
            against.len()
        )?;
        let verdict = |met: bool| if met { "met" } else { "MISSED" };
        match target {
            Target::AtMost(most) => write!(f, "; p50 at most {most} ms: {}", verdict(p50 <= *most)),
            Target::Tail(most) => {
                let ratio = p99 / base_p99;
                write!(f, "; p99 {ratio:.2} of its base, at most {most}: {}", verdict(ratio <= *most))
            }
            Target::None => Ok(()),
        }
    }
}
