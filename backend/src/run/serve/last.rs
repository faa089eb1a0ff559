//! The last of `serve`: ports that are served and an [`End`] that has begun enter; what is on its way goes out, in order; whether all of
//! it did, or something was cut, leaves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cache::store::Store;
use crate::gate::key_trace::KeyTraces;
use crate::models::control::Control;
use crate::observe::trace::Tracing;
use crate::record::Recorder;
use crate::run::end::{End, PATIENCE};
use crate::run::serving::Serving;

/// A session may take so long to come back after its last answer has gone out.
const MOMENT: Duration = Duration::from_millis(100);
/// How often it is looked whether it has.
const GLANCE: Duration = Duration::from_millis(5);

/// What is not over with the last answer.
pub(in crate::run) struct Last {
    /// Whatever follows something, until now.
    pub(in crate::run) stop: CancellationToken,
    pub(in crate::run) store: Option<Arc<Store>>,
    /// Done when the other instances know that this one leaves.
    pub(in crate::run) farewell: Option<oneshot::Receiver<()>>,
    pub(in crate::run) tracing: Tracing,
    pub(in crate::run) recorder: Option<Arc<Recorder>>,
    pub(in crate::run) key_traces: Option<Arc<KeyTraces>>,
    /// Follows the repository.
    pub(in crate::run) following: Option<JoinHandle<()>>,
    /// Of what computes here.
    pub(in crate::run) control: Option<Arc<Control>>,
}

impl Last {
    /// Whether nothing was cut.
    ///
    /// # Errors
    /// A task of the ports failed.
    pub(in crate::run) async fn in_order(self, serving: Serving, end: &End) -> anyhow::Result<bool> {
        let Self { stop, store, farewell, tracing, recorder, key_traces, following, control } = self;
        let is_whole = serving.drain(end).await?;
        end.goes_on_with(
            "results on their way to the pool, records and the last trace of keys on theirs to disk, and the word to other servers that this one leaves",
        );
        stop.cancel();
        let written = async {
            if let Some(store) = store {
                store.drain(end.left(PATIENCE)).await;
            }
        };
        let told = async {
            if let Some(farewell) = farewell {
                // It was tried since the signal. The pool may be gone; the end doesn't wait for it for long.
                let _ = tokio::time::timeout(end.left(PATIENCE), farewell).await;
            }
        };
        let recorded = async {
            if let Some(recorder) = recorder {
                recorder.end(end.left(PATIENCE)).await;
            }
        };
        let traced = async {
            if let Some(key_traces) = key_traces {
                key_traces.end(end.left(PATIENCE)).await;
            }
        };
        tokio::join!(written, told, recorded, traced);
        end.goes_on_with("models");
        if let Some(following) = following {
            let _ = tokio::time::timeout(end.left(PATIENCE), following).await;
        }
        let is_at_rest = match &control {
            Some(control) => rest(control).await,
            None => true,
        };
        // A session holds the trace of a request for a moment after its answer has gone out.
        end.goes_on_with("traces");
        tracing.end(end.left(PATIENCE)).await;
        Ok(is_at_rest && is_whole)
    }
}

/// Waits a moment for sessions whose answers have just gone out; whether nothing computes or loads any more. What does nobody waits
/// for: those who asked have left.
async fn rest(control: &Control) -> bool {
    let until = Instant::now() + MOMENT;
    while Instant::now() < until && !control.busy().is_empty() {
        tokio::time::sleep(GLANCE).await;
    }
    let busy = control.busy();
    if !busy.is_empty() {
        tracing::warn!(models = busy.join(", "), "cut: they still compute, or are being loaded");
    }
    busy.is_empty()
}
