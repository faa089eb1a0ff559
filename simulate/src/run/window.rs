//! Compute time that is asked for enters; how much it is a second, over a window, leaves.

use super::SECOND;

/// Compute time that was asked for, by seconds of a window.
pub(super) struct Window {
    sums: Vec<u64>,
    total: u64,
    /// The second that is counted now.
    second: u64,
}

impl Window {
    pub(super) fn new(window_s: u32) -> Self {
        Self { sums: vec![0; window_s.max(1) as usize], total: 0, second: 0 }
    }

    pub(super) fn add(&mut self, now_us: u64, cost_us: u64) {
        self.go_on(now_us);
        let place = self.place();
        self.sums[place] += cost_us;
        self.total += cost_us;
    }

    /// Seconds a second over the window.
    pub(super) fn per_second(&mut self, now_us: u64) -> f64 {
        self.go_on(now_us);
        self.total as f64 / SECOND as f64 / self.sums.len() as f64
    }

    fn place(&self) -> usize {
        usize::try_from(self.second % self.sums.len() as u64).unwrap_or(0)
    }

    fn go_on(&mut self, now_us: u64) {
        let now = now_us / SECOND;
        if now - self.second >= self.sums.len() as u64 {
            self.sums.fill(0);
            self.total = 0;
            self.second = now;
        }
        while self.second < now {
            self.second += 1;
            let place = self.place();
            self.total -= std::mem::take(&mut self.sums[place]);
        }
    }
}
