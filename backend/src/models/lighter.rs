//! A variant on its way in -> what is said of it, and its original, opened beside it where that is to shadow it. A shadow that can't be
//! had is said, and the variant served without. Next: `infer` offers the shadow what was computed.

use tokio_util::sync::CancellationToken;

use super::chosen::{Standing, State, Told};
use super::load::{LoadError, Loader};
use super::repository::{self, Read};
use super::variant::{Compare, Digest, Known};
use crate::config::{Device, ModelConfig, Platform};
use crate::engine::fitted::fitted;
use crate::engine::signature::Signature;
use crate::engine::signature::view::{DeclarationError, View};
use crate::engine::{EngineError, ModelFiles};
use crate::proto::ModelParameter;
use crate::settings::ShadowSettings;
use crate::shadow::{Shadow, Terms, Watched};

/// Why a variant has no shadow.
#[derive(Debug, thiserror::Error)]
enum ShadowError {
    #[error(transparent)]
    Load(#[from] Box<LoadError>),
    #[error("its original is {}: originals of ONNX Runtime alone can be run beside their variants", platform.name())]
    Platform { platform: Platform },
    #[error("its original: {0}")]
    Engine(#[from] EngineError),
    #[error("its original: {0}")]
    Declaration(#[from] DeclarationError),
    #[error("{name:?} of its shadow.outputs is no output of both; {has} are")]
    NoOutput { name: String, has: String },
    #[error("its shadow.outputs are none")]
    NoOutputs,
    #[error("no thread: {0}")]
    Thread(std::io::Error),
}

/// A variant that was loaded.
pub(super) struct Variant<'a> {
    pub(super) root: &'a std::path::Path,
    pub(super) model: &'a str,
    pub(super) version: u64,
    pub(super) known: &'a Known,
    /// Completed.
    pub(super) config: &'a ModelConfig,
    /// As clients see the variant.
    pub(super) signature: &'a Signature,
}

impl Variant<'_> {
    /// Says what is known of it here.
    pub(super) fn tell(&self, devices: &[Device]) -> Told {
        let Self { model, version, known, .. } = *self;
        let original = known.is.original.version;
        let state = match Standing::of(known, devices) {
            Standing::Judged => {
                tracing::info!(model, version, original, "a variant, judged on this class of processor");
                State::Served
            }
            Standing::Elsewhere(difference) => {
                let judged = &known.is.judged.cpu;
                tracing::warn!(
                    model,
                    version,
                    original,
                    "a variant that was judged on another class of processor ({judged}): {difference}; what is lost here is not known \
                 (--variant-elsewhere serve)"
                );
                State::Unjudged
            }
            Standing::OnGpus => {
                tracing::warn!(
                    model,
                    version,
                    original,
                    "a variant that runs on a GPU: it was judged on a processor ({}), what is lost here is not known",
                    known.is.judged.cpu
                );
                State::Unjudged
            }
        };
        Told::of(model, version, state)
    }
}

/// Whether an original is the one that its variant was made of.
pub(super) fn check_original(version: u64, files: &ModelFiles, expected: &Digest) -> Result<(), LoadError> {
    let file = files.model_file.clone();
    let found = Digest::of(files.files.get(&file).map_or(&[], AsRef::as_ref));
    if found == *expected {
        return Ok(());
    }
    Err(LoadError::OtherOriginal { version, file, found, expected: expected.clone() })
}

impl Loader {
    /// The shadow of a variant, if its model is to have one.
    pub(super) fn shadow(&self, of: &Variant<'_>, stop: &CancellationToken) -> Option<Shadow> {
        let settings = self.shadows.as_ref()?;
        let share = settings.share(of.model)?;
        let (model, version) = (of.model, of.version);
        match self.open(of, settings, share, stop) {
            Ok(shadow) => {
                tracing::info!(
                    model,
                    version,
                    share,
                    "shadowed by its original, version {}",
                    of.known.is.original.version
                );
                Some(shadow)
            }
            Err(error) => {
                tracing::error!(model, version, "served without a shadow: {error}");
                None
            }
        }
    }

    fn open(
        &self,
        of: &Variant<'_>,
        settings: &ShadowSettings,
        share: f64,
        stop: &CancellationToken,
    ) -> Result<Shadow, ShadowError> {
        let original = &of.known.is.original;
        let read = repository::read_files(of.root, of.model, original.version, of.config);
        let Read { files, .. } = read.map_err(|error| Box::new(error.into()))?;
        check_original(original.version, &files, &original.blake3).map_err(Box::new)?;
        if files.platform != Platform::OnnxRuntime {
            return Err(ShadowError::Platform { platform: files.platform });
        }
        let config = alone(of.config);
        let engine = self.engines.of(files.platform)?;
        let mut sessions = engine.open(&files, &config, &[Device::Cpu], self.options, stop)?;
        let session =
            sessions.pop().ok_or_else(|| EngineError::Failed("no session was opened".to_owned()))?;
        let view = std::sync::Arc::new(View::of(session.signature(), &config)?);
        let outputs = watched(of, &view.signature)?;
        let budget = of.known.is.shadow.budget;
        let terms = Terms { outputs, share, budget, queue_bytes: settings.queue_bytes() };
        let shadow = Shadow::start(of.model, &of.version.to_string(), fitted(session, &view), terms);
        shadow.map_err(ShadowError::Thread)
    }
}

/// The same configuration for a session that computes on its own thread, on the processor.
fn alone(config: &ModelConfig) -> ModelConfig {
    let mut config = config.clone();
    config.instance_group.clear();
    if let Some(optimization) = &mut config.optimization {
        optimization.execution_accelerators = None;
    }
    for threads in ["intra_op_thread_count", "inter_op_thread_count"] {
        let one = ModelParameter { string_value: "1".to_owned() };
        config.parameters.insert(threads.to_owned(), one);
    }
    config
}

/// Where the outputs that are compared stand.
fn watched(of: &Variant<'_>, original: &Signature) -> Result<Vec<Watched>, ShadowError> {
    let place =
        |signature: &Signature, name: &str| signature.outputs.iter().position(|spec| spec.name == name);
    let one = |(name, compare): (&String, &Compare)| {
        let both = place(of.signature, name).zip(place(original, name));
        let both = both
            .filter(|(index, at)| of.signature.outputs[*index].datatype == original.outputs[*at].datatype);
        let (index, at) = both.ok_or_else(|| {
            let names: Vec<&str> = original.outputs.iter().map(|spec| spec.name.as_str()).collect();
            ShadowError::NoOutput { name: name.clone(), has: names.join(", ") }
        })?;
        let datatype = original.outputs[at].datatype;
        Ok(Watched { index, original: at, datatype, compare: *compare })
    };
    let watched: Vec<Watched> =
        of.known.is.shadow.outputs.iter().map(one).collect::<Result<_, ShadowError>>()?;
    if watched.is_empty() { Err(ShadowError::NoOutputs) } else { Ok(watched) }
}
