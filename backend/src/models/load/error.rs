//! What keeps a model from being served: the stage's own words enter, one line that says where and why leaves.

use crate::engine::EngineError;
use crate::engine::signature::view::DeclarationError;
use crate::models::checksum::ChecksumError;
use crate::models::chosen::ChoiceError;
use crate::models::complete::Incomplete;
use crate::models::policy::PolicyError;
use crate::models::repository::RepositoryError;
use crate::models::served::ModelSet;
use crate::models::variant::Digest;
use crate::models::warmup::WarmupError;
use crate::schedule::batching::BatchingError;

/// A model that can't be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error("version {version}: {source}")]
    Engine { version: u64, source: EngineError },
    #[error("version {version}: {source}; {held}")]
    NoRoom { version: u64, source: EngineError, held: String },
    /// Of these `place` is file and line.
    #[error("{place}: {source}")]
    Declaration { place: String, source: DeclarationError },
    #[error("{place}: {source}")]
    Policy { place: String, source: PolicyError },
    #[error("{place}: {source}")]
    Batching { place: String, source: BatchingError },
    #[error("version {version}: {place}: {source}")]
    Warmup { version: u64, place: String, source: WarmupError },
    #[error("version {version}: {place}: {key} {reason}")]
    Option { version: u64, place: String, key: String, reason: String },
    #[error("{place}: {source}")]
    Checksum { place: String, source: ChecksumError },
    #[error("{place}: {source}")]
    Incomplete { place: String, source: Incomplete },
    #[error(transparent)]
    Choice(#[from] ChoiceError),
    #[error(
        "version {version}: its {file} is {found}, and the variant that it is the original of says {expected}: it is another model"
    )]
    OtherOriginal { version: u64, file: String, found: Digest, expected: Digest },
    #[error("the files changed while they were read")]
    Changing,
    #[error("it was stopped: the model is unloaded, or the server ends")]
    Stopped,
    #[error("no thread for a session: {0}")]
    Thread(std::io::Error),
}

/// What the root of an ext4 volume has; not all may look into it.
const LOST_AND_FOUND: &str = "lost+found";

impl LoadError {
    /// Whether the folder of that name is no model's.
    pub(crate) fn is_of_no_model(&self, name: &str) -> bool {
        matches!(self, Self::Repository(RepositoryError::NoVersion { .. })) || name == LOST_AND_FOUND
    }

    /// Whether it may be loaded later though its files are the same.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Engine { source, .. } | Self::NoRoom { source, .. } => source.is_transient(),
            Self::Warmup { source, .. } => source.is_transient(),
            Self::Repository(RepositoryError::Unreadable { .. })
            | Self::Choice(ChoiceError::Repository(RepositoryError::Unreadable { .. }))
            | Self::Changing
            | Self::Thread(_) => true,
            _ => false,
        }
    }

    /// The same; where a GPU has no room it says which models have it.
    pub(crate) fn naming_holders(self, set: &ModelSet) -> Self {
        match self {
            Self::Engine {
                version,
                source: source @ (EngineError::NoRoom { gpu, .. } | EngineError::OverBudget { gpu, .. }),
            } => Self::NoRoom { version, source, held: set.holders(gpu) },
            other => other,
        }
    }
}
