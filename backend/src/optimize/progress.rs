//! What the user sees while it works, on the standard error: a line for each thing that was found, and on a terminal one more that says
//! what is tried now, what is best so far and how much time is left.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::search::Tried;

/// The lines of one run.
pub(crate) struct Progress {
    bar: ProgressBar,
    until: Instant,
    original_bytes: u64,
    max_loss: f64,
    tried: usize,
    best: String,
    best_speed: f64,
}

impl Progress {
    /// Of a search that ends then, with the original of that size.
    pub(crate) fn new(until: Instant, original_bytes: u64, max_loss: f64) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {spinner} {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            bar,
            until,
            original_bytes,
            max_loss,
            tried: 0,
            best: "nothing yet".to_owned(),
            best_speed: 0.0,
        }
    }

    /// What is tried now.
    pub(crate) fn trying(&mut self, what: &str) {
        let left = humantime::format_duration(Duration::from_secs(
            self.until.saturating_duration_since(Instant::now()).as_secs(),
        ));
        self.bar.set_message(format!("{} tried, best {}, {left} left: {what}", self.tried, self.best));
    }

    /// A step that is done.
    pub(crate) fn say(&self, line: &str) {
        if self.bar.is_hidden() { eprintln!("{line}") } else { self.bar.println(line) }
    }

    /// What a candidate is.
    pub(crate) fn found(&mut self, tried: &Tried) {
        self.tried += 1;
        let (size, speed) = (self.original_bytes as f64 / tried.candidate.bytes as f64, tried.speed.likely());
        let figures =
            format!("{size:.2}x smaller, {speed:.2}x as fast, loses {:.2} points", tried.loss.points);
        self.say(&format!("  {}: {figures}", tried.candidate));
        if tried.loss.points <= self.max_loss && speed > self.best_speed {
            (self.best, self.best_speed) = (format!("{size:.1}x smaller and {speed:.1}x as fast"), speed);
        }
    }

    /// What came to nothing.
    pub(crate) fn rejected(&self, what: &str, why: &str) {
        self.say(&format!("  {what}: not possible: {why}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
