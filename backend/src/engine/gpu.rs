//! A GPU as its sessions see it. What the driver says after a run that failed enters; whether the GPU was lost by it leaves.
//! Next: `recovery` brings it back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forebay_bindings::Error;
use forebay_bindings::cuda::{Account, CudaError};
use metrics::{counter, gauge};
use tokio::sync::Notify;

use super::EngineError;

/// A GPU of this process. Its context may be lost, by an error that every later call gets as well; all sessions on it are lost
/// then, whatever their model.
pub(crate) struct Gpu {
    number: i32,
    /// What all models hold of its memory, served or not any more.
    account: Account,
    /// Counts the losses: a session is lost if there was one since it was opened.
    losses: AtomicU64,
    state: Mutex<State>,
    loss: Notify,
}

#[derive(Default)]
struct State {
    /// Nothing can be opened on it.
    is_lost: bool,
    /// Why sessions are away, and what becomes of them; "" when none are.
    why: String,
}

impl Gpu {
    /// The GPU of that number.
    pub(crate) fn new(number: i32) -> Self {
        let (account, losses) = (Account::default(), AtomicU64::new(0));
        Self { number, account, losses, state: Mutex::default(), loss: Notify::new() }
    }

    /// Tells `/metrics` whether it runs models.
    pub(crate) fn publish(&self) {
        let usable = if self.why().is_empty() { 1.0 } else { 0.0 };
        gauge!("forebay_gpu_usable", "gpu" => self.number.to_string()).set(usable);
    }

    pub(crate) fn number(&self) -> i32 {
        self.number
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// What a session is given that is opened now.
    pub(crate) fn tie(self: &Arc<Self>) -> Tie {
        Tie { gpu: self.clone(), losses: self.losses.load(Ordering::Acquire) }
    }

    /// Whether it is lost, so that nothing can be opened on it.
    pub(crate) fn is_lost(&self) -> bool {
        self.state().is_lost
    }

    /// Why sessions that were on it are away.
    pub(crate) fn why(&self) -> String {
        self.state().why.clone()
    }

    /// Waits for a loss, or returns at once if there was one since the last time.
    pub(crate) async fn loss(&self) {
        self.loss.notified().await;
    }

    /// Its context is new: sessions can be opened.
    pub(crate) fn note_reset(&self) {
        self.state().is_lost = false;
    }

    /// All that was on it is there again.
    pub(crate) fn note_back(&self) {
        let mut state = self.state();
        if !state.is_lost {
            state.why.clear();
        }
    }

    /// It doesn't come back.
    pub(crate) fn note_stuck(&self, attempts: u32, last: &str) {
        self.state().why = format!(
            "GPU {} was lost and could not be brought back in {attempts} attempts (the last: {last}): restart the process",
            self.number
        );
    }

    fn lose(&self, losses: u64, reason: &str) {
        let mut state = self.state();
        // Other sessions may have told of this loss, or have met an older one.
        if self.losses.compare_exchange(losses, losses + 1, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return;
        }
        *state = State {
            is_lost: true,
            why: format!("GPU {} was lost ({reason}); it is being brought back", self.number),
        };
        counter!("forebay_gpu_losses", "gpu" => self.number.to_string()).increment(1);
        tracing::error!(gpu = self.number, "the GPU was lost: {reason}");
        self.loss.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What ties a session to its GPU, as it was when the session was opened.
#[derive(Clone)]
pub(crate) struct Tie {
    gpu: Arc<Gpu>,
    losses: u64,
}

impl Tie {
    /// The GPU, if it was lost since.
    pub(crate) fn lost(&self) -> Option<&Arc<Gpu>> {
        (self.gpu.losses.load(Ordering::Acquire) != self.losses).then_some(&self.gpu)
    }

    /// # Errors
    /// `Away`: the GPU was lost.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        self.lost().map_or(Ok(()), |gpu| Err(EngineError::Away { reason: gpu.why() }))
    }

    /// What an error of a run means, by what a wait for the GPU said after it.
    pub(crate) fn explain(&self, error: &Error, waited: &Result<(), CudaError>) -> EngineError {
        let reason = error.to_string();
        if self.is_lost_by(waited) {
            EngineError::Lost { gpu: self.gpu.number, reason }
        } else {
            EngineError::Failed(reason)
        }
    }

    /// Whether the GPU is lost, by what a wait for it said: all calls say the same then.
    pub(crate) fn is_lost_by(&self, waited: &Result<(), CudaError>) -> bool {
        let Some(error) = waited.as_ref().err().filter(|error| error.is_sticky()) else { return false };
        self.gpu.lose(self.losses, &error.to_string());
        true
    }

    /// The GPU.
    pub(crate) fn gpu(&self) -> &Gpu {
        &self.gpu
    }
}
