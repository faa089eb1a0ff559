//! Why there is no answer -> gRPC's status, with the codes that Triton's clients know. The only place where a class of error
//! becomes a code.

use forebay_protocol::request::RequestError;
use tonic::{Code, Status};

use crate::body::budget::Spent;
use crate::body::metered::Unread;
use crate::cache::live::Untold;
use crate::class::Class;
use crate::infer::InferError;
use crate::models::UnknownModel;
use crate::models::control::ControlError;
use crate::observe::logs::{LogError, seldom};
use crate::observe::trace::TraceError;

/// The status of an error of that class.
pub(crate) fn status(class: Class, error: &impl ToString) -> Status {
    let code = match class {
        Class::Wrong | Class::Coding => Code::InvalidArgument,
        Class::TooLarge => Code::OutOfRange,
        Class::Unproven => Code::Unauthenticated,
        Class::Forbidden => Code::PermissionDenied,
        Class::Unknown => Code::NotFound,
        Class::Unimplemented => Code::Unimplemented,
        Class::Conflict => Code::Aborted,
        Class::Left => Code::Cancelled,
        Class::Slow | Class::Late | Class::Uncached => Code::DeadlineExceeded,
        Class::Rejected | Class::Away => Code::Unavailable,
        Class::Full | Class::Often => Code::ResourceExhausted,
        Class::Failed => Code::Internal,
    };
    Status::new(code, error.to_string())
}

/// An inference that has no answer.
pub(super) fn of(error: &InferError) -> Status {
    if error.class() == Class::Failed {
        seldom!(error, "a request failed: {error}");
    }
    status(error.class(), error)
}

/// What is not served.
pub(super) fn of_unknown(error: &UnknownModel) -> Status {
    status(error.class(), error)
}

/// A trace setting that isn't taken.
pub(super) fn of_trace(error: &TraceError) -> Status {
    status(error.class(), error)
}

/// A request that can't be read.
pub(super) fn bad(error: &dyn std::error::Error) -> Status {
    status(Class::Wrong, &error)
}

/// A request that isn't what V2 expects, or larger than it may be.
pub(super) fn of_request(error: &RequestError) -> Status {
    status(if error.is_too_large() { Class::TooLarge } else { Class::Wrong }, error)
}

/// A message that was not read to its end.
pub(super) fn of_unread(unread: &Unread) -> Status {
    let said = match unread {
        Unread::Slow(slow) => format!("the message {slow}"),
        Unread::Broken(error) => format!("the message broke off: {error}"),
        Unread::Spent(_) | Unread::TooLarge { .. } => unread.to_string(),
    };
    status(unread.class(), &said)
}

/// No room for a request's bytes.
pub(super) fn of_spent(spent: Spent) -> Status {
    status(Class::Full, &spent)
}

/// A change of the models that was not made.
pub(super) fn of_control(error: &ControlError) -> Status {
    status(error.class(), error)
}

/// A change of the models that the registry has not heard of.
pub(super) fn of_untold(error: &Untold) -> Status {
    status(Class::Rejected, error)
}

/// Log settings that were not taken.
pub(super) fn of_log(error: &LogError) -> Status {
    status(error.class(), error)
}
