//! Whether this process wants requests: not once its drain has begun. Next: health over HTTP and gRPC says so.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

/// Whether this process wants requests. Not once the drain has begun.
#[derive(Debug, Default, Clone)]
pub(crate) struct Draining {
    begun: CancellationToken,
    closing: CancellationToken,
    cut: CancellationToken,
}

impl Draining {
    /// From here on readiness says 503, and no load goes on.
    pub(crate) fn begin(&self) {
        self.begun.cancel();
    }

    /// From here on nothing new is taken, and what would go on for ever is to end.
    pub(crate) fn close(&self) {
        self.closing.cancel();
    }

    /// From here on nobody waits for what is still in flight.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }

    /// Cancelled once the drain has begun.
    pub(crate) fn begun(&self) -> CancellationToken {
        self.begun.clone()
    }

    /// Cancelled once nothing new is taken.
    pub(crate) fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// Cancelled once nobody waits any more.
    pub(crate) fn over(&self) -> CancellationToken {
        self.cut.clone()
    }
}

/// Whether requests are wanted now: not drained, and what the process needs is there.
pub(crate) type Readiness = Arc<dyn Fn() -> bool + Send + Sync>;

impl Draining {
    /// `needed` says whether what the process needs is there.
    pub(crate) fn readiness(&self, needed: impl Fn() -> bool + Send + Sync + 'static) -> Readiness {
        let begun = self.begun();
        Arc::new(move || !begun.is_cancelled() && needed())
    }
}
