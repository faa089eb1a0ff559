//! A timer that is exact to some microseconds: tokio's own counts in milliseconds, which would be measured as the server's.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(super) struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    /// # Errors
    /// The kernel has none, or there is no runtime.
    #[allow(deprecated)] // unsound where the file changes beneath it: an `OwnedFd`'s doesn't; what came in its place is unsafe for all
    pub(super) fn new() -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self(AsyncFd::with_interest(timer, Interest::READABLE)?))
    }

    /// Waits until then.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub(super) async fn until(&mut self, then: Instant) -> io::Result<()> {
        let left = then.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let once = Itimerspec { it_interval: spec(Duration::ZERO), it_value: spec(left) };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.0.readable().await?;
            let mut expirations = [0; 8];
            let read = |fd: &AsyncFd<OwnedFd>| Ok(rustix::io::read(fd.get_ref(), &mut expirations)?);
            if let Ok(read) = ready.try_io(read) {
                return read.map(|_| ());
            }
        }
    }
}

fn spec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}
