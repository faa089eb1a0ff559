//! An ONNX model -> its engine on a GPU: of the plan that was kept, or of one that is built. NVIDIA's parser and builder run in a
//! process of their own, for a model can bring them down. Next: `tensorrt` makes sessions of the engine.

mod build_options;
mod profiles;

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use forebay_bindings::cuda::Device;
use forebay_bindings::{BuildOptions, Flavour, HostCode, Job, Library};
use tokio_util::sync::CancellationToken;

use super::identity;
use crate::config::ModelConfig;
use crate::engine::choice::Compiling;
use crate::engine::kept::{Shelf, Source};
use crate::engine::{EngineError, ModelFiles, onnx};
use crate::settings;

/// Names what is kept and what it is made from.
const PLAN_CONTEXT: &str = "forebay compiled plan v1";
const TIMING_CONTEXT: &str = "forebay timing cache v1";
/// How the files end.
const PLAN_EXTENSION: &str = "plan";
const TIMING_EXTENSION: &str = "timing";
/// How often it is looked whether the GPU is free for a build.
const POLL: Duration = Duration::from_millis(20);

/// What a plan is built for.
pub(super) struct Target {
    gpu: i32,
    name: String,
    compute_capability: (i32, i32),
}

/// Makes something of a plan.
type Open<'a, T> = &'a dyn Fn(&[u8]) -> Result<T, EngineError>;

/// Builds plans.
pub(super) struct Compiler {
    settings: Compiling,
    library: Library,
    host_code: HostCode,
    /// By the number of the GPU: held by who builds for it, for builds at the same time would disturb each other's timings.
    turns: Vec<Mutex<()>>,
}

/// A model on its way.
pub(super) struct Compilation<'a> {
    compiler: &'a Compiler,
    files: &'a ModelFiles,
    stop: &'a CancellationToken,
    options: BuildOptions,
    /// All but the GPU that a plan is made from.
    source: Source,
    /// The last plan that was built here, for further GPUs of the same model.
    built: Option<(Source, Vec<u8>)>,
}

/// How the configuration has that model built.
///
/// # Errors
/// `Load` if it is no ONNX model, `Option` if it can't be built so.
pub(crate) fn build_options(files: &ModelFiles, config: &ModelConfig) -> Result<BuildOptions, EngineError> {
    let inputs = onnx::inputs(files.model()?);
    let inputs = inputs.map_err(|error| files.failed(&format!("it is no ONNX model: {error}")))?;
    build_options::of(config, &inputs)
}

impl Compiler {
    pub(super) fn new(settings: Compiling, library: Library, host_code: HostCode, gpus: usize) -> Self {
        let turns = (0..gpus).map(|_| Mutex::new(())).collect();
        Self { settings, library, host_code, turns }
    }

    /// Begins with a model. A build ends when `stop` is cancelled.
    ///
    /// # Errors
    /// As [`build_options`].
    pub(super) fn begin<'a>(
        &'a self,
        files: &'a ModelFiles,
        config: &ModelConfig,
        stop: &'a CancellationToken,
    ) -> Result<Compilation<'a>, EngineError> {
        let options = build_options(files, config)?;
        if options.version_compatible && !options.exclude_lean_runtime && self.host_code == HostCode::Refuse {
            let reason = "makes a plan with code for the host: set excludeLeanRuntime, or start with \
                          --tensorrt-host-code";
            return Err(build_options::wrong("versionCompatible", reason.to_owned()));
        }
        let settings = serde_json::to_vec(&options).map_err(|error| files.failed(&error))?;
        let source =
            Source::new(PLAN_CONTEXT).field(identity(&self.library).as_bytes()).field(&settings).files(files);
        Ok(Compilation { compiler: self, files, stop, options, source, built: None })
    }
}

impl Target {
    /// Any GPU of the same model.
    pub(super) fn of(device: &Device) -> Self {
        let (name, compute_capability) = (device.name().to_owned(), device.compute_capability());
        Self { gpu: device.ordinal(), name, compute_capability }
    }
}

impl Compilation<'_> {
    /// Opens the model's plan.
    ///
    /// # Errors
    /// `Load`: it can't be built; or the plan can't be opened.
    pub(super) fn open<T>(&mut self, target: &Target, open: Open<'_, T>) -> Result<T, EngineError> {
        let source = of_gpu(self.source.clone(), target);
        let kept = self.compiler.settings.kept.as_ref();
        let place = kept.map(|kept| kept.place(&source, PLAN_EXTENSION));
        if let Some(opened) = open_kept(open, place.as_ref())? {
            return Ok(opened);
        }
        if self.built.as_ref().is_none_or(|(built, _)| *built != source) {
            self.built = Some((source, self.build(target)?));
        }
        let plan = self.built.as_ref().map_or(&[][..], |(_, plan)| plan);
        let opened = open(plan)?;
        match place.map(|place| (place.keep(plan), place)) {
            None => tracing::info!("the plan is not kept: --optimized-model-dir is not set"),
            Some((Ok(()), place)) => tracing::info!(path = %place.path().display(), "the plan is kept"),
            Some((Err(error), _)) => tracing::warn!("the plan is not kept: {error}"),
        }
        Ok(opened)
    }

    fn build(&self, target: &Target) -> Result<Vec<u8>, EngineError> {
        let _turn = self.turn(target)?;
        let (file, gpu) = (&self.files.model_file, &target.name);
        tracing::info!(gpu, library = ?self.compiler.library, "{file} is being compiled");
        let since = Instant::now();
        let folder = tempfile::tempdir().map_err(|error| self.files.failed(&error))?;
        let plan = self.build_in(folder.path(), target)?;
        let (seconds, bytes) = (since.elapsed().as_secs_f64(), plan.len());
        tracing::info!(gpu, seconds, bytes, "{file} was compiled");
        Ok(plan)
    }

    /// Only one plan is built for a GPU at a time.
    fn turn(&self, target: &Target) -> Result<Option<MutexGuard<'_, ()>>, EngineError> {
        let turn = usize::try_from(target.gpu).ok().and_then(|gpu| self.compiler.turns.get(gpu));
        let Some(turn) = turn else { return Ok(None) };
        while !self.stop.is_cancelled() {
            match turn.try_lock() {
                Ok(turn) => return Ok(Some(turn)),
                Err(TryLockError::Poisoned(turn)) => return Ok(Some(turn.into_inner())),
                Err(TryLockError::WouldBlock) => std::thread::sleep(POLL),
            }
        }
        Err(self.files.failed(&"it is wanted no more"))
    }

    fn build_in(&self, folder: &Path, target: &Target) -> Result<Vec<u8>, EngineError> {
        let failed = |error: io::Error| self.files.failed(&error);
        let Compiler { settings, library, .. } = self.compiler;
        // What was read and hashed is built, not what the repository's files are by now.
        let model = folder.join("version");
        self.files.write_to(&model).map_err(failed)?;
        let needs_gpu = library.flavour() != Flavour::Rtx;
        let (timings, learnt) = (self.timings(target), folder.join("timings"));
        if let Some(known) = timings.as_ref().and_then(Shelf::read) {
            fs::write(&learnt, known).map_err(failed)?;
        }
        let job = Job {
            library: library.path().to_owned(),
            flavour: library.flavour(),
            device: needs_gpu.then(|| usize::try_from(target.gpu).unwrap_or(0)),
            model: model.join(&self.files.model_file),
            plan: folder.join("plan"),
            timing_cache: timings.as_ref().map(|_| learnt.clone()),
            options: self.options.clone(),
        };
        // This very program, also where its file was replaced since it was started.
        let mut program = Command::new("/proc/self/exe");
        program.arg0("forebay").arg(settings::PLAN).envs(settings.logs.clone());
        for secret in settings::SECRETS {
            program.env_remove(secret);
        }
        job.run(&mut program, settings.limit, || self.stop.is_cancelled())
            .map_err(|error| self.files.failed(&error))?;
        if let Some(timings) = timings
            && let Err(error) = fs::read(&learnt).and_then(|learnt| timings.keep(&learnt))
        {
            tracing::warn!("the timing cache is not kept: {error}");
        }
        fs::read(&job.plan).map_err(failed)
    }

    /// Where what builds learn of kernels' times on such a GPU is kept. TensorRT-RTX times none.
    fn timings(&self, target: &Target) -> Option<Shelf<'_>> {
        let library = &self.compiler.library;
        let kept = self.compiler.settings.kept.as_ref().filter(|_| library.flavour() != Flavour::Rtx)?;
        let source = of_gpu(Source::new(TIMING_CONTEXT).field(identity(library).as_bytes()), target);
        Some(kept.place(&source, TIMING_EXTENSION))
    }
}

/// The plan that was kept, opened, if there is one that can be used.
fn open_kept<T>(open: Open<'_, T>, place: Option<&Shelf<'_>>) -> Result<Option<T>, EngineError> {
    let Some((plan, place)) = place.and_then(|place| Some((place.read()?, place))) else {
        return Ok(None);
    };
    match open(&plan) {
        Ok(opened) => {
            tracing::info!(path = %place.path().display(), "a plan that was kept is used");
            Ok(Some(opened))
        }
        // Another would fare no better.
        Err(
            error @ (EngineError::NoRoom { .. } | EngineError::OverBudget { .. } | EngineError::Away { .. }),
        ) => Err(error),
        Err(error) => {
            tracing::warn!(path = %place.path().display(), "a kept plan is built again: {error}");
            Ok(None)
        }
    }
}

/// A plan is for one model of GPU, whichever of them.
fn of_gpu(source: Source, target: &Target) -> Source {
    let (major, minor) = target.compute_capability;
    source.field(target.name.as_bytes()).field(format!("{major}.{minor}").as_bytes())
}
