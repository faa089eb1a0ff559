//! What is looked for now and then on the way of something that comes often -> whether it is time again.

use std::time::{Duration, Instant};

/// When it was looked for last.
#[derive(Default)]
pub(crate) struct Every(Option<Instant>);

impl Every {
    /// Whether it was not looked for within `pause`; it is now, then.
    pub(crate) fn is_due(&mut self, pause: Duration, now: Instant) -> bool {
        let is_due = self.0.is_none_or(|last| now.duration_since(last) >= pause);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}
