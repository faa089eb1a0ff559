//! Settings -> the engines, and what loads models for them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use forebay_bindings::{Flavour, HostCode};

use crate::engine::choice::{Choice, Compiling};
use crate::engine::kept::Kept;
use crate::engine::ort::loading::Loading;
use crate::engine::tensorrt::TensorRt;
use crate::engine::{Engine as _, Engines, SessionOptions};
use crate::models::{Loader, Outs};
use crate::schedule::QueueLimits;
use crate::settings::{LogSettings, ModelSettings, SettingsError, TensorRtFlavour};

/// Unless `--compile-timeout-secs` says.
const COMPILE_TIMEOUT: Duration = Duration::from_hours(1);
/// Models that are loaded side by side, unless `--model-load-thread-count` says: as Triton does it. More would take more memory at once
/// than they keep.
const LOADS: usize = 4;
/// Where `ort`'s users say which library to load.
const ORT_DYLIB_PATH: &str = "ORT_DYLIB_PATH";

/// The loader that the settings ask for. ONNX Runtime goes on being loaded.
///
/// # Errors
/// `SettingsError`, when a library or a folder can't be used.
pub(in crate::run) fn loader(settings: &ModelSettings, logs: &LogSettings) -> anyhow::Result<Loader> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let path = settings.onnxruntime.clone().or_else(|| std::env::var_os(ORT_DYLIB_PATH).map(PathBuf::from));
    let path = path.ok_or_else(|| no_onnxruntime("is missing: the path of libonnxruntime.so"))?;
    let kept = settings.optimized_model_dir.as_ref().map(|folder| {
        Kept::at(folder, settings.optimized_model_bytes as u64).map_err(|error| SettingsError::Wrong {
            flag: "--optimized-model-dir",
            reason: format!("can't use {}: {error}", folder.display()),
        })
    });
    let kept = kept.transpose()?;
    let onnxruntime = Loading::begin(&path, usize::from(settings.intra_op_threads), kept.clone())
        .map_err(|reason| no_onnxruntime(&reason))?;
    let compiling = Compiling {
        kept,
        limit: settings.compile_timeout_secs.unwrap_or(COMPILE_TIMEOUT),
        logs: logs.environment(),
    };
    let engines = Engines { onnxruntime: Arc::new(onnxruntime), tensorrt: tensorrt(settings, compiling)? };
    // What a model holds of a GPU is counted as it is loaded, and who has room there goes by name.
    let asked = settings.model_load_thread_count.map_or(cores.min(LOADS), usize::from);
    let at_a_time = if engines.gpus().is_empty() { asked } else { 1 };
    match &engines.tensorrt {
        Ok(tensorrt) => tracing::info!("engine: {}", tensorrt.identity()),
        Err(reason) => tracing::info!("no TensorRT: {reason}"),
    }
    Ok(Loader {
        root: settings.model_repository.clone(),
        name: settings.model_name.clone(),
        engines,
        options: SessionOptions { intra_op_threads: usize::from(settings.intra_op_threads) },
        at_a_time,
        instances: settings.instances.map_or(cores, usize::from),
        completion: settings.completion.completion()?,
        elsewhere: settings.variant_elsewhere,
        outs: Outs::default(),
        shadows: None,
        limits: QueueLimits {
            requests: usize::try_from(settings.max_queue_requests)?,
            bytes: settings.max_queue_bytes(),
        },
    })
}

/// A library that can't be used.
pub(in crate::run) fn no_onnxruntime(reason: &str) -> SettingsError {
    SettingsError::Wrong { flag: "--onnxruntime", reason: reason.to_owned() }
}

/// TensorRT, or why there is none; a library that was asked for must be there.
fn tensorrt(
    settings: &ModelSettings,
    compiling: Compiling,
) -> Result<Result<TensorRt, String>, SettingsError> {
    let flavour = match settings.tensorrt_flavour {
        None | Some(TensorRtFlavour::Enterprise) => Flavour::Enterprise,
        Some(TensorRtFlavour::Lean) => Flavour::Lean,
        Some(TensorRtFlavour::Rtx) => Flavour::Rtx,
    };
    let host_code = if settings.tensorrt_host_code { HostCode::Allow } else { HostCode::Refuse };
    let (path, budget) = (settings.tensorrt.clone(), settings.gpu_memory_bytes);
    #[cfg(not(feature = "tensorrt"))]
    refuse_flags(settings)?;
    match TensorRt::load(Choice { flavour, path, host_code, budget, compiling }) {
        Err(reason) if settings.tensorrt.is_some() => {
            Err(SettingsError::Wrong { flag: "--tensorrt", reason })
        }
        loaded => Ok(loaded),
    }
}

/// Of flags that TensorRT alone reads, none may be given where there is none.
#[cfg(not(feature = "tensorrt"))]
fn refuse_flags(settings: &ModelSettings) -> Result<(), SettingsError> {
    let given = [
        ("--tensorrt", settings.tensorrt.is_some()),
        ("--tensorrt-flavour", settings.tensorrt_flavour.is_some()),
        ("--tensorrt-host-code", settings.tensorrt_host_code),
        ("--gpu-memory-bytes", settings.gpu_memory_bytes.is_some()),
        ("--compile-timeout-secs", settings.compile_timeout_secs.is_some()),
    ];
    let reason = || crate::engine::tensorrt::NONE.to_owned();
    let wrong = |flag| Err(SettingsError::Wrong { flag, reason: reason() });
    given.into_iter().find(|(_, given)| *given).map_or(Ok(()), |(flag, _)| wrong(flag))
}
