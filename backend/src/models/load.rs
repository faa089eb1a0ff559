//! A model's folder -> its versions, each loaded and warm, or what is wrong with it and where. Next: `control` puts the
//! model among those that are served.

mod error;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forebay_protocol::digest::Generation;
use tokio_util::sync::CancellationToken;

use super::checksum;
use super::chosen::{Chooser, Chosen};
use super::complete::{Completing, complete};
use super::generation;
use super::lighter::{self, Variant};
use super::outs::Outs;
use super::policy::{self, Policy};
use super::repository::{self, Read, RepositoryError};
use super::resident;
use super::served::{Computes, Lighter, Model, Origin, Version};
use super::variant::Digest;
use super::warmup::{self, WarmupError};
use crate::config::{self, Device, ModelConfig, Platform, Written};
use crate::engine::fitted::fitted;
use crate::engine::gpu::Gpu;
use crate::engine::signature::view::{DeclarationError, View};
use crate::engine::{Engine, EngineError, Engines, ModelFiles, SessionOptions};
use crate::observe::statistics::Statistics;
use crate::proto::ModelInstanceGroup;
use crate::proto::model_instance_group::Kind;
use crate::schedule::batching::{Batching, BatchingError};
use crate::schedule::flight::Flights;
use crate::schedule::{QueueLimits, Schedule};
use crate::settings::{Completion, Elsewhere, ShadowSettings};
use crate::time::steps::Steps;
pub(crate) use error::LoadError;

/// Turns folders into models.
pub(crate) struct Loader {
    pub(crate) root: PathBuf,
    /// What the model is called whose folder the root is.
    pub(crate) name: Option<String>,
    pub(crate) engines: Engines,
    pub(crate) options: SessionOptions,
    /// So many models are loaded side by side, at start and as the repository changes; at least 1.
    pub(crate) at_a_time: usize,
    /// Sessions of a model whose `config.pbtxt` doesn't say.
    pub(crate) instances: usize,
    /// What is filled in where it says nothing.
    pub(crate) completion: Completion,
    pub(crate) limits: QueueLimits,
    /// What is done with a variant that was judged on another class of processor.
    pub(crate) elsewhere: Elsewhere,
    /// Which variants are out for all servers of the service.
    pub(crate) outs: Outs,
    /// Which are run beside their originals; `None`: nothing is served.
    pub(crate) shadows: Option<ShadowSettings>,
}

/// One model on its way in.
struct Loading<'a> {
    root: &'a Path,
    name: &'a str,
    written: Written,
    policy: Option<Policy>,
    labels: BTreeMap<String, Arc<[u8]>>,
    /// Of originals that answer for a variant.
    expected: BTreeMap<u64, Digest>,
    before: Option<&'a Model>,
    stop: &'a CancellationToken,
}

impl Loader {
    /// The models of the repository, as [`repository::model_names`] has them.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn names(&self) -> Result<Vec<String>, RepositoryError> {
        match &self.name {
            Some(name) if repository::is_model(&self.root) => Ok(vec![name.clone()]),
            _ => repository::model_names(&self.root),
        }
    }

    /// Loads a model out of `root`, with `config` in place of its own. Versions that `before` has in the same generation
    /// are taken from it. What takes minutes ends early when `stop` is cancelled.
    ///
    /// # Errors
    /// What is wrong, with the file it is in.
    pub(crate) fn load(
        &self,
        root: &Path,
        name: &str,
        config: Option<Written>,
        before: Option<&Model>,
        stop: &CancellationToken,
    ) -> Result<Model, LoadError> {
        if stop.is_cancelled() {
            return Err(LoadError::Stopped);
        }
        let fingerprint = repository::fingerprint(root, name)?;
        let written = match config {
            Some(written) => written,
            None => repository::read_config(root, name)?,
        };
        let Written { config, places } = &written;
        checksum::check(&repository::folder(root, name), config)
            .map_err(|source| LoadError::Checksum { place: places.at(&source.field()), source })?;
        let policy = policy::of(config)
            .map_err(|source| LoadError::Policy { place: places.at(&source.field()), source })?;
        let labels = repository::read_labels(root, name, config)?;
        let Chosen { versions: numbers, out, expected } = self.choose(root, name, &written)?;
        let loading = Loading { root, name, written, policy, labels, expected, before, stop };
        let mut versions = BTreeMap::new();
        for number in numbers {
            versions.insert(number, self.load_version(&loading, number)?);
        }
        if repository::fingerprint(root, name)? != fingerprint {
            return Err(LoadError::Changing);
        }
        let is_shadowed = self.shadows.as_ref().is_some_and(|shadows| shadows.share(name).is_some());
        if is_shadowed && out.is_empty() && versions.values().all(|version| version.variant.is_none()) {
            tracing::warn!(
                model = name,
                "named by --shadow, and none of its versions is a variant: nothing is compared"
            );
        }
        for (version, out) in &out {
            tracing::warn!(model = name, version, instead = out.instead(), "{}", out.reason());
        }
        Ok(Model { versions, out, fingerprint, is_brought: false })
    }

    /// The versions that answer.
    fn choose(&self, root: &Path, name: &str, written: &Written) -> Result<Chosen, LoadError> {
        let versions = repository::versions(root, name, written)?;
        let devices = |platform| self.devices(&written.config, platform);
        let (config, elsewhere, outs) = (&written.config, self.elsewhere, &self.outs);
        Ok(Chooser { root, name, config, elsewhere, outs, devices: &devices }.choose(versions)?)
    }

    /// Where a model of that platform runs.
    fn devices(&self, config: &ModelConfig, platform: Platform) -> Vec<Device> {
        let gpus = self.engines.gpus().len();
        let devices = config.instances(platform, gpus);
        if devices.is_empty() { platform.devices(self.instances, gpus) } else { devices }
    }

    /// The generations of a model's versions as [`Self::load`] gives them; no session is opened.
    ///
    /// # Errors
    /// What is wrong with its files, or there is no engine for them.
    pub(crate) fn generations(&self, name: &str) -> Result<BTreeMap<u64, Generation>, LoadError> {
        let written = repository::read_config(&self.root, name)?;
        let labels = repository::read_labels(&self.root, name, &written.config)?;
        let mut generations = BTreeMap::new();
        for number in self.choose(&self.root, name, &written)?.versions {
            let Read { files, .. } = repository::read_files(&self.root, name, number, &written.config)?;
            let engine = self.engines.of(files.platform);
            let engine = engine.map_err(|source| LoadError::Engine { version: number, source })?;
            generations.insert(number, self.generation(number, &files, &written.config, &labels, engine));
        }
        Ok(generations)
    }

    fn generation(
        &self,
        number: u64,
        files: &ModelFiles,
        config: &ModelConfig,
        labels: &BTreeMap<String, Arc<[u8]>>,
        engine: &dyn Engine,
    ) -> Generation {
        let settings =
            generation::Settings { config, labels, options: self.options, completion: self.completion };
        generation::of(number, files, &settings, engine.identity())
    }

    fn load_version(&self, loading: &Loading<'_>, number: u64) -> Result<Arc<Version>, LoadError> {
        let Loading { root, name, written: written @ Written { config, places }, .. } = loading;
        let _span = tracing::info_span!("load", model = name, version = number).entered();
        let mut steps = Steps::begin();
        let Read { files, variant } = repository::read_files(root, name, number, config)?;
        if let Some(expected) = loading.expected.get(&number) {
            lighter::check_original(number, &files, expected)?;
        }
        let failed = |source| match source {
            EngineError::Option { key, reason } => LoadError::Option {
                version: number,
                place: place_of(written, &key, files.platform),
                key,
                reason,
            },
            source => LoadError::Engine { version: number, source },
        };
        let engine = self.engines.of(files.platform).map_err(failed)?;
        let generation = self.generation(number, &files, config, &loading.labels, engine);
        let same = loading.before.and_then(|model| model.versions.get(&number));
        if let Some(same) = same.filter(|version| version.generation == generation) {
            return Ok(same.clone());
        }
        for line in config::said_to_another(written, files.platform) {
            tracing::warn!("{line}");
        }
        warn_of_parameters(written, engine);
        let undeclared = |source: DeclarationError| LoadError::Declaration {
            place: places.at(&source.field(config)),
            source,
        };
        let cold = |source: WarmupError| LoadError::Warmup {
            version: number,
            place: places.at(&source.field(config)),
            source,
        };
        let unbatched =
            |source: BatchingError| LoadError::Batching { place: places.at(&source.field()), source };
        // A build may take minutes: what is wrong without one is said before. What is opened at once may be completed first.
        if files.platform == Platform::TensorRt {
            Batching::of(config).map_err(unbatched)?;
            let promised = files.promised();
            promised.map_or(Ok(()), |promised| View::check_promise(&promised, config)).map_err(undeclared)?;
            warmup::check(&repository::folder(root, name), config).map_err(cold)?;
        }
        let gpus = self.engines.gpus().len();
        let devices = self.devices(config, files.platform);
        let before = resident::resident_bytes();
        steps.ends("read");
        let sessions = engine.open(&files, config, &devices, self.options, loading.stop).map_err(failed)?;
        let Some(signature) = sessions.first().map(|session| session.signature().clone()) else {
            return Err(failed(EngineError::Failed("no session was asked for".to_owned())));
        };
        let completing = Completing { name, signature: &signature, files: &files, devices: &devices, gpus };
        let config = complete(config.clone(), &completing, self.completion);
        let incomplete = |source| LoadError::Incomplete { place: places.at("input"), source };
        let config = &config.map_err(incomplete)?;
        let batching = Batching::of(config).map_err(unbatched)?;
        let view = Arc::new(View::of(&signature, config).map_err(undeclared)?);
        let mut sessions: Vec<_> = sessions.into_iter().map(|session| fitted(session, &view)).collect();
        steps.ends("open");
        for session in &mut sessions {
            warmup::run(&repository::folder(root, name), config, session.as_mut()).map_err(cold)?;
        }
        steps.ends("warm");
        engine.check_room(&files, &devices).map_err(failed)?;
        let signature = &view.signature;
        let variant = variant.map(|known| {
            let of = Variant { root, model: name, version: number, known: &known, config, signature };
            let (told, shadow) = (of.tell(&devices), self.shadow(&of, loading.stop));
            Lighter { known, _told: told, shadow }
        });
        let statistics = Statistics::new(name, &number.to_string());
        let bytes = resident::resident_bytes().saturating_sub(before);
        let (instances, all) = (devices.len(), sessions.len());
        tracing::info!(
            model = name,
            version = number,
            bytes,
            instances,
            sessions = all,
            "loaded and warm: {steps}"
        );
        let statistics = Arc::new(statistics.holding(bytes).loaded_in(&steps));
        statistics.hold_on_gpus(sessions.iter().filter_map(|session| session.memory()));
        let is_on_gpus = sessions.iter().any(|session| session.memory().is_some());
        let schedule = Schedule::start(name, sessions, batching, self.limits, statistics.clone());
        Ok(Arc::new(Version {
            number: number.to_string(),
            config: config.clone(),
            labels: loading.labels.iter().map(|(output, text)| (output.clone(), lines(text))).collect(),
            signature: view.signature.clone(),
            generation,
            generation_header: generation::header(&generation),
            policy: loading.policy,
            platform: engine.platform().name(),
            computes: Computes::Sessions(schedule.map_err(LoadError::Thread)?),
            flights: Arc::new(Flights::new(self.limits)),
            statistics,
            variant,
            origin: is_on_gpus.then(|| Origin { files, config: config.clone(), devices, view }),
        }))
    }

    /// Opens the sessions of a version again that went with a GPU.
    ///
    /// # Errors
    /// They can't be opened, or are lost again.
    pub(crate) fn reopen(
        &self,
        model: &str,
        version: &Version,
        gpu: &Gpu,
        stop: &CancellationToken,
    ) -> Result<(), EngineError> {
        let (Some(Origin { files, config, devices, view }), Some(schedule)) =
            (&version.origin, version.sessions())
        else {
            return Ok(());
        };
        if schedule.away(gpu.number()) == 0 {
            return Ok(());
        }
        let here = |device: &&Device| **device == Device::Gpu(gpu.number());
        let devices: Vec<Device> = devices.iter().filter(here).copied().collect();
        let engine = self.engines.of(files.platform)?;
        let sessions = engine.open(files, config, &devices, self.options, stop)?;
        let mut sessions: Vec<_> = sessions.into_iter().map(|session| fitted(session, view)).collect();
        for session in &mut sessions {
            // It was warm once: what fails now is the GPU, or a file that is gone.
            if let Err(error) = warmup::run(&repository::folder(&self.root, model), config, session.as_mut())
            {
                tracing::debug!(model, "not warmed again: {error}");
            }
        }
        if let Some(gpu) = sessions.iter().find_map(|session| session.lost()) {
            return Err(EngineError::Away { reason: gpu.why() });
        }
        version.statistics.hold_on_gpus(sessions.iter().filter_map(|session| session.memory()));
        schedule.restore(gpu.number(), sessions);
        Ok(())
    }
}

/// Where an engine's option stands: of `instance_group` the group that an engine of that platform may not have.
fn place_of(Written { config, places }: &Written, key: &str, platform: Platform) -> String {
    let is_suspect = |group: &&ModelInstanceGroup| {
        let is_gpu = platform.kind(group) == Kind::Gpu;
        key == "instance_group" && !group.passive && is_gpu == (platform == Platform::OnnxRuntime)
    };
    match config.instance_group.iter().position(|group| is_suspect(&group)) {
        Some(index) => places.at(&format!("instance_group[{index}].kind")),
        None => places.at_named(key),
    }
}

/// Says which parameters nobody reads.
fn warn_of_parameters(Written { config, places }: &Written, engine: &dyn Engine) {
    for key in config.parameters.keys().map(String::as_str) {
        if policy::PARAMETERS.contains(&key) || engine.parameters().contains(&key) {
            continue;
        }
        let why = engine.why_ignored(key).unwrap_or("nothing reads it");
        tracing::warn!("{}: parameter {key:?} is ignored: {why}", places.at(&format!("parameters[{key}]")));
    }
}

/// Labels stand one a line.
fn lines(text: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(text).lines().map(str::to_owned).collect()
}
