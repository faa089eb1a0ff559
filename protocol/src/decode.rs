//! Reading V2 bodies, requests and answers alike: what can be wrong with one.

/// What is wrong with a body, where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Broken JSON, or JSON that is not what V2 expects.
    #[error("{what} at line {line} column {column} of the JSON")]
    Json {
        /// What is wrong.
        what: String,
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
    },
    /// A bound of [`crate::limits::Limits`] is passed.
    #[error("{field} is too large: {actual} is over the limit of {limit}")]
    Limit {
        /// What is bounded, with its unit.
        field: String,
        /// What it came to.
        actual: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The header length that came with the body can't be.
    #[error("inference-header-content-length {0}")]
    HeaderLength(String),
    /// A tensor is not what its datatype and shape say.
    #[error("{kind} '{name}': {what}")]
    Tensor {
        /// `input` or `output`.
        kind: &'static str,
        /// The tensor's name.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// The message as a whole is wrong.
    #[error("{0}")]
    Message(String),
}
