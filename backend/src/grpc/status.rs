//! Why there is no answer -> gRPC's status, with the codes that Triton's clients know. The only place where a cause
//! becomes a code.

use tonic::{Code, Status};

use crate::control::ControlError;
use crate::engine::EngineError;
use crate::infer::InferError;
use crate::logs::LogError;
use crate::schedule::RunError;

/// The status of an error.
pub(super) fn of(error: &InferError) -> Status {
    let code = match error {
        InferError::Unknown(_) => Code::NotFound,
        InferError::Mismatch(_)
        | InferError::Parameter { .. }
        | InferError::Run(RunError::Engine(EngineError::BadInput(_))) => Code::InvalidArgument,
        InferError::SharedMemory => Code::Unimplemented,
        InferError::OnlyIfCached | InferError::Deadline => Code::DeadlineExceeded,
        InferError::Queue(_)
        | InferError::Run(RunError::Expired | RunError::Engine(EngineError::Away { .. })) => {
            Code::Unavailable
        }
        InferError::Run(_) | InferError::Lost => Code::Internal,
    };
    if code == Code::Internal {
        tracing::error!("a request failed: {error}");
    }
    Status::new(code, error.to_string())
}

/// A request that can't be read.
pub(super) fn bad(error: &dyn std::error::Error) -> Status {
    Status::invalid_argument(error.to_string())
}

/// A change of the models that was not made.
pub(super) fn of_control(error: &ControlError) -> Status {
    let code = match error {
        // As Triton says it, though it will not pass by itself.
        ControlError::Polling | ControlError::NotExplicit | ControlError::Busy { .. } => Code::Unavailable,
        ControlError::Unknown(_) | ControlError::NoFolder { .. } => Code::NotFound,
        ControlError::Files { .. } | ControlError::Repository(_) | ControlError::Ended { .. } => {
            Code::Internal
        }
        _ => Code::InvalidArgument,
    };
    Status::new(code, error.to_string())
}

/// Log settings that were not taken.
pub(super) fn of_log(error: &LogError) -> Status {
    let code = match error {
        LogError::Fixed { .. } => Code::Unimplemented,
        LogError::Reload(_) => Code::Internal,
        LogError::Kind { .. } | LogError::Unknown { .. } => Code::InvalidArgument,
    };
    Status::new(code, error.to_string())
}
