//! The end, in order and in time. One bound (`--exit-timeout-secs`) counts from the signal and holds for all of it, so that it fits
//! into what is granted: Kubernetes sends SIGKILL after 30 s.
//!
//! | when | what |
//! |---|---|
//! | at the signal | readiness turns 503, clients are told to go, no load goes on, other servers and gates are told that this one leaves |
//! | `--drain-secs` later | no connection is taken any more; idle ones are closed |
//! | [`LAST`] before the bound | requests in flight that have no answer yet are cut; results go out to the pool |
//! | at the bound | the process ends, whatever it does |
//!
//! A second signal ends it at once.
//!
//! The generations are withdrawn first, and not last, though requests are still answered. What is computed for them is right, and kept
//! under their own keys. A proxy passes such an answer on, and gives it again only if its table lists the generation: because another
//! server has it, or because none has another and the last word counts. Said last, what a deployment replaced would be given by
//! proxies for as long as the drain, or as one stuck client; and not said at all if SIGKILL came first.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forebay_bindings::exit;

use super::signals::Signals;
use crate::observe::readiness::Draining;
use crate::settings::HttpSettings;

/// What is left of the bound for the pool when requests are cut, or a quarter of it where that is less.
const LAST: Duration = Duration::from_secs(2);
/// Each step of the end after the last request gets so long, within the bound of all.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// The code of a process that was told twice.
const EXIT_AT_ONCE: u8 = 1;

/// An end that has begun.
pub(super) struct End {
    began: Instant,
    /// New connections are taken until then.
    pub(super) accepts_until: Instant,
    /// Requests in flight are waited for until then.
    pub(super) requests_until: Instant,
    until: Instant,
    /// What it waits for now.
    doing: Arc<Mutex<&'static str>>,
}

impl End {
    /// It begins now, and whoever has to know is told. The bound holds from here on: on a thread of its own, for those of the runtime
    /// may be busy for ever.
    pub(super) fn begins(settings: &HttpSettings, draining: &Draining) -> Self {
        let (began, within) = (Instant::now(), settings.exit_timeout_secs);
        let last = LAST.min(within.saturating_sub(settings.drain_secs) / 4);
        let doing = Arc::new(Mutex::new("nothing yet"));
        let end = Self {
            began,
            accepts_until: began + settings.drain_secs,
            requests_until: began + within.saturating_sub(last),
            until: began + within,
            doing: doing.clone(),
        };
        let bound = move || {
            std::thread::sleep(within);
            let cut = *doing.lock().unwrap_or_else(PoisonError::into_inner);
            tracing::warn!(cut, "the end took {within:?} (--exit-timeout-secs)");
            exit::now(0);
        };
        if let Err(error) = std::thread::Builder::new().name("end".into()).spawn(bound) {
            tracing::warn!("nobody bounds the end: {error}");
        }
        draining.begin();
        end
    }

    /// It waits for that now: what is cut if it takes too long.
    pub(super) fn goes_on_with(&self, what: &'static str) {
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// What is left of it, up to so much.
    pub(super) fn left(&self, most: Duration) -> Duration {
        self.until.saturating_duration_since(Instant::now()).min(most)
    }

    /// Comes to its end in order, unless a second signal says that nobody waits for that. Where something was cut, threads may still
    /// use what an orderly exit destroys: the process ends here.
    ///
    /// # Errors
    /// As the order's.
    pub(super) async fn in_order(
        &self,
        signals: &mut Signals,
        order: impl Future<Output = anyhow::Result<bool>>,
    ) -> anyhow::Result<()> {
        let is_whole = tokio::select! {
            is_whole = order => is_whole?,
            () = signals.wait_again(self.began) => {
                let cut = *self.doing.lock().unwrap_or_else(PoisonError::into_inner);
                tracing::warn!(cut, "a second signal: ends at once");
                exit::now(EXIT_AT_ONCE);
            }
        };
        if !is_whole {
            exit::now(0);
        }
        Ok(())
    }
}
