//! What is wrong with a trace, and where.

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// It is something else, or of another version.
    #[error(
        "this is no trace of version 1 or 2: it must begin with {:?} or the same with v2",
        "forebay-trace v1"
    )]
    Magic,
    /// It was cut.
    #[error("the trace ends inside {0}")]
    Ends(String),
    /// A number is too large, or not written as short as it can be.
    #[error("the trace has a wrong number in {0}")]
    Number(String),
    /// A model can't be.
    #[error("the trace has {0}")]
    Models(String),
    /// Neither a request nor a rollout.
    #[error("record {number} of the trace is of kind {kind}; 0 is a request, 1 a rollout")]
    Kind {
        /// From 1.
        number: u64,
        /// What it says.
        kind: u8,
    },
    /// A model that is not in the list.
    #[error("record {number} of the trace is of model {model}; there are {models}")]
    Unknown {
        /// From 1.
        number: u64,
        /// What it says.
        model: u32,
        /// How many there are.
        models: usize,
    },
    /// It is too long.
    #[error("record {number} of the trace is later than its end, {most_us} microseconds after its beginning")]
    Late {
        /// From 1.
        number: u64,
        /// How long it may be.
        most_us: u64,
    },
    /// A time that is none.
    #[error("the trace begins {0} milliseconds after 1970; up to 2^46 may be")]
    Begins(u64),
    /// So few keys that they stand for too many.
    #[error("the trace's rate is {0}; 4096 to 4294967295 may be")]
    Rate(u32),
    /// A key that is not sampled at that rate.
    #[error("record {0} of the trace has a key that its rate leaves out")]
    Unsampled(u64),
}
