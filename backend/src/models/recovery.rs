//! A GPU that was lost -> its sessions are let go, its context is made anew, and the sessions are opened again from the files
//! that their versions keep. Meanwhile the versions stay among those that are served: results of theirs that are cached are
//! answered, what has to be computed is refused with the reason, and what runs elsewhere goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_bindings::cuda::CudaError;
use metrics::counter;
use tokio_util::sync::CancellationToken;

use super::Version;
use super::control::Control;
use crate::engine::EngineError;
use crate::engine::gpu::Gpu;
use crate::time::backoff::backoff;

/// The pause before the first attempt: sessions that run find out and are let go.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Pauses double up to this one.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After so many attempts, some three seconds, it is said that a new process is needed; attempts go on.
const STUCK_AFTER: u32 = 6;

/// Why an attempt didn't bring a GPU back.
#[derive(Debug, thiserror::Error)]
enum RecoveryError {
    #[error("ONNX Runtime has sessions on it as well, which would not survive a reset")]
    Shared,
    #[error("its context can't be made anew: {0}")]
    Reset(CudaError),
    #[error("model {model:?} can't be opened again: {source}")]
    Open { model: String, source: EngineError },
    #[error("the attempt ended early: {0}")]
    Ended(tokio::task::JoinError),
}

/// Watches the GPUs until `stop`.
pub(crate) fn start(control: &Arc<Control>, stop: &CancellationToken) {
    for gpu in control.loader.engines.gpus() {
        let (control, gpu, stop) = (control.clone(), gpu.clone(), stop.clone());
        let stopped = stop.clone();
        let watch = async move {
            loop {
                gpu.loss().await;
                bring_back(&control, &gpu, &stop).await;
            }
        };
        tokio::spawn(async move { stopped.run_until_cancelled(watch).await });
    }
}

/// Tries until it works.
async fn bring_back(control: &Arc<Control>, gpu: &Arc<Gpu>, stop: &CancellationToken) {
    let began = Instant::now();
    let mut pauses = backoff((FIRST_PAUSE, LONGEST_PAUSE));
    for attempt in 1.. {
        pauses.pause().await;
        let error = {
            let (control, gpu, stop) = (control.clone(), gpu.clone(), stop.clone());
            match tokio::task::spawn_blocking(move || attempt_once(&control, &gpu, &stop)).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => error,
                Err(error) => RecoveryError::Ended(error),
            }
        };
        counter!("forebay_gpu_failed_recoveries", "gpu" => gpu.number().to_string()).increment(1);
        tracing::warn!(gpu = gpu.number(), attempt, "the GPU is not back: {error}");
        if attempt >= STUCK_AFTER {
            gpu.note_stuck(attempt, &error.to_string());
        }
        if attempt == STUCK_AFTER {
            tracing::error!(gpu = gpu.number(), "the GPU doesn't come back: the process must be restarted");
        }
    }
    gpu.note_back();
    counter!("forebay_gpu_recoveries", "gpu" => gpu.number().to_string()).increment(1);
    tracing::info!(gpu = gpu.number(), took = ?began.elapsed(), "the GPU is back");
}

fn attempt_once(control: &Control, gpu: &Gpu, stop: &CancellationToken) -> Result<(), RecoveryError> {
    let engines = &control.loader.engines;
    let versions = versions(control);
    for (_, version) in &versions {
        version.sessions().inspect(|schedule| schedule.withdraw_lost());
    }
    if gpu.is_lost() {
        let reset = engines.onnxruntime.unless_on(gpu.number(), || engines.reset(gpu));
        reset.ok_or(RecoveryError::Shared)?.map_err(RecoveryError::Reset)?;
    }
    let mut failed = None;
    for (model, version) in versions {
        if let Err(source) = control.loader.reopen(&model, &version, gpu, stop) {
            tracing::warn!(model, version = version.number, "not opened again: {source}");
            failed = Some(RecoveryError::Open { model, source });
        }
    }
    failed.map_or(Ok(()), Err)
}

/// The versions that are served now, with their models' names.
fn versions(control: &Control) -> Vec<(String, Arc<Version>)> {
    let set = control.models.current();
    let of = |(name, versions): (&String, Vec<Arc<Version>>)| {
        versions.into_iter().map(|version| (name.clone(), version)).collect::<Vec<_>>()
    };
    set.models
        .iter()
        .map(|(name, model)| (name, model.versions.values().cloned().collect()))
        .flat_map(of)
        .collect()
}
