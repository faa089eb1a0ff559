//! What is done step by step -> how long each step took.

use std::time::{Duration, Instant};

/// Steps, each of which begins where the one before ended.
pub(crate) struct Steps {
    last: Instant,
    ended: Vec<(&'static str, Duration)>,
}

impl Steps {
    /// The first begins.
    pub(crate) fn begin() -> Self {
        Self { last: Instant::now(), ended: Vec::new() }
    }

    /// One has ended.
    pub(crate) fn ends(&mut self, step: &'static str) {
        let now = Instant::now();
        self.ended.push((step, now.duration_since(self.last)));
        self.last = now;
    }

    /// Those that have ended, in their order.
    pub(crate) fn ended(&self) -> &[(&'static str, Duration)] {
        &self.ended
    }
}

/// As a line of the log has them.
impl std::fmt::Display for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, (step, took)) in self.ended.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{step} {:.1} ms", took.as_secs_f64() * 1e3)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_its_own_time() {
        let mut steps = Steps::begin();
        assert_eq!(steps.to_string(), "");
        steps.last -= Duration::from_secs(2);
        steps.ends("read");
        steps.ends("open");
        let names: Vec<_> = steps.ended().iter().map(|(step, _)| *step).collect();
        assert_eq!(names, ["read", "open"]);
        assert!(steps.ended()[0].1 >= Duration::from_secs(2) && steps.ended()[1].1 < Duration::from_secs(2));
        assert!(
            steps.to_string().starts_with("read 2") && steps.to_string().contains(" ms, open "),
            "{steps}"
        );
    }
}
