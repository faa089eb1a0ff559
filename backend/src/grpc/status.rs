//! Why there is no answer -> gRPC's status, with the codes that Triton's clients know. The only place where a cause
//! becomes a code.

use forebay_protocol::request::RequestError;
use tonic::{Code, Status};

use crate::control::ControlError;
use crate::engine::EngineError;
use crate::http::budget::Spent;
use crate::http::metered::Unread;
use crate::infer::InferError;
use crate::live::Untold;
use crate::logs::{LogError, seldom};
use crate::schedule::RunError;

/// The status of an error.
pub(super) fn of(error: &InferError) -> Status {
    let code = match error {
        InferError::Unknown(_) => Code::NotFound,
        InferError::Mismatch(_)
        | InferError::Manner(_)
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
        seldom!(error, "a request failed: {error}");
    }
    Status::new(code, error.to_string())
}

/// A request that can't be read.
pub(super) fn bad(error: &dyn std::error::Error) -> Status {
    Status::invalid_argument(error.to_string())
}

/// A request that isn't what V2 expects, or larger than it may be.
pub(super) fn of_request(error: &RequestError) -> Status {
    let code = if error.is_too_large() { Code::OutOfRange } else { Code::InvalidArgument };
    Status::new(code, error.to_string())
}

/// A message that was not read to its end.
pub(super) fn of_unread(unread: &Unread) -> Status {
    match unread {
        Unread::Slow(slow) => Status::deadline_exceeded(format!("the message {slow}")),
        Unread::Spent(spent) => of_spent(*spent),
        Unread::TooLarge { .. } => Status::out_of_range(unread.to_string()),
        Unread::Broken(error) => Status::cancelled(format!("the message broke off: {error}")),
    }
}

/// No room for a request's bytes.
pub(super) fn of_spent(spent: Spent) -> Status {
    Status::resource_exhausted(spent.to_string())
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
        ControlError::Stopped { .. } => Code::Aborted,
        _ => Code::InvalidArgument,
    };
    Status::new(code, error.to_string())
}

/// A change of the models that the tier has not heard of.
pub(super) fn of_untold(error: &Untold) -> Status {
    Status::unavailable(error.to_string())
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
