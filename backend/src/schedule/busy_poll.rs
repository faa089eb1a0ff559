//! Busy polling: for a while after each answer the runtime asks the system for the next request instead of sleeping until
//! it comes. A request that comes in between finds a processor that is awake, with the model's weights still in its caches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::yield_now;

/// One for all requests of a server.
pub(crate) struct BusyPoll {
    time: Duration,
    began: Instant,
    /// When the last answer was ready, in nanoseconds since `began`.
    answered_ns: AtomicU64,
    answered: Notify,
}

impl BusyPoll {
    /// Starts the task that keeps a worker thread awake for `time` after each answer. Must be called inside a runtime.
    pub(crate) fn start(time: Duration) -> Arc<Self> {
        let (began, answered_ns, answered) = (Instant::now(), AtomicU64::new(0), Notify::new());
        let busy = Arc::new(Self { time, began, answered_ns, answered });
        tokio::spawn(busy.clone().keep_awake());
        busy
    }

    /// An answer is ready.
    pub(crate) fn answered(&self) {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.answered_ns.store(now, Ordering::Relaxed);
        self.answered.notify_one();
    }

    /// A task that only yields has its worker look for what came, without sleeping.
    async fn keep_awake(self: Arc<Self>) {
        loop {
            self.answered.notified().await;
            while self.is_due() {
                yield_now().await;
            }
        }
    }

    fn is_due(&self) -> bool {
        let answered = Duration::from_nanos(self.answered_ns.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(answered) < self.time
    }
}
