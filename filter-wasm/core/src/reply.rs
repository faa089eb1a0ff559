//! What a client is answered with, by the filter itself: what it says, not how it is written. [`crate::encoding`] writes it.

use crate::cache_status::CacheStatus;
use crate::l1::Answer;
use std::rc::Rc;

/// An answer of the filter's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// An answer that is kept here, or that was just made for an equal request. Its body travels by reference.
    Kept {
        /// The answer.
        answer: Rc<Answer>,
        /// The client's id; "" for none.
        id: String,
        /// How it came by it.
        status: CacheStatus,
        /// When, for its age.
        now_ms: u64,
    },
    /// The client wants nothing but a kept answer, and there is none.
    Unsatisfiable {
        /// Why there is none.
        status: CacheStatus,
        /// It was asked over gRPC.
        is_call: bool,
    },
    /// A call's own time was over while it waited.
    Late {
        /// What it waited for.
        status: CacheStatus,
    },
}
