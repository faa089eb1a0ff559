//! What is shown while a measurement runs, on a terminal alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Counts that all threads add to, and the line that shows them.
pub(super) struct Progress {
    bar: ProgressBar,
    good: AtomicU64,
    failed: AtomicU64,
}

impl Progress {
    /// How often the line is drawn.
    pub(super) const EVERY: Duration = Duration::from_millis(100);

    /// Of a measurement that takes so long.
    pub(super) fn new(name: &str, takes: Duration) -> Self {
        // Hidden where the standard error is no terminal.
        let bar = ProgressBar::new(u64::try_from(takes.as_millis()).unwrap_or(u64::MAX));
        let style = ProgressStyle::with_template("{prefix}  {bar:24} {msg}").expect("this template is right");
        bar.set_style(style);
        bar.set_prefix(name.to_owned());
        Self { bar, good: AtomicU64::new(0), failed: AtomicU64::new(0) }
    }

    pub(super) fn count(&self, is_good: bool) {
        if self.bar.is_hidden() {
            return;
        }
        let count = if is_good { &self.good } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn show(&self, begin: Instant) {
        let ran = begin.elapsed();
        let (good, failed) = (self.good.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        self.bar.set_position(u64::try_from(ran.as_millis()).unwrap_or(u64::MAX));
        let rate = good as f64 / ran.as_secs_f64().max(0.001);
        let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        self.bar.set_message(format!("{:>4.1} s  {good} answered, {rate:.0}/s{failed}", ran.as_secs_f64()));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
