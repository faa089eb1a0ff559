//! Reading V2 bodies, requests and answers alike: bytes and a header length enter; tensors with canonical values leave, and what
//! can be wrong on the way. `request` and `response` are next.
//!
//! JSON is pulled key by key, with no tree in between; `data` goes straight into a tensor's raw bytes. Nesting is walked without
//! recursion, so depth costs no stack.

mod body;
mod nested;
mod number;
mod parameters;
mod plain;
mod reader;
mod tensors;
mod values;

pub(crate) use body::{contents, split};
pub(crate) use nested::{Nesting, read_nested};
pub(crate) use parameters::{flag, read_parameters};
pub(crate) use reader::Reader;
pub(crate) use tensors::{Tensor, read_name, read_tensors, refuse_twin};
pub(crate) use values::{BASE64_KEY, Target};

use crate::datatype::DataType;
use crate::tensor::TensorError;
use std::fmt;

/// What is wrong with a body, where, and what would be right. Each is a client's error (400).
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
    #[error("{field}: {found} is over the limit of {limit}")]
    Limit {
        /// What is bounded, with its unit.
        field: &'static str,
        /// What it came to; counting may have stopped there.
        found: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The header length can't be read.
    #[error("inference-header-content-length {0}")]
    HeaderLength(String),
    /// A member that V2 requires is not there.
    #[error("{at} has no '{member}'")]
    Missing {
        /// The object that lacks it.
        at: String,
        /// The member.
        member: &'static str,
    },
    /// A tensor is not what its datatype and shape say.
    #[error("{kind} '{name}': {error}")]
    Tensor {
        /// Whose tensor.
        kind: Kind,
        /// Its name.
        name: String,
        /// What is wrong.
        #[source]
        error: TensorError,
    },
    /// FP16 and BF16 have no JSON form. Triton's words.
    #[error(
        "receiving {datatype} data via JSON is not supported. Please use the binary data format for {kind} {name}"
    )]
    NoJsonForm {
        /// FP16 or BF16.
        datatype: DataType,
        /// Whose tensor.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// Two tensors have one name.
    #[error("{kind} '{name}' comes twice: names must differ")]
    Twin {
        /// Whose tensors.
        kind: Kind,
        /// Their name.
        name: String,
    },
    /// A parameter has a name that Triton keeps for itself. Triton's words, and which.
    #[error(
        "parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified: '{0}'"
    )]
    Reserved(String),
    /// Bytes are left over behind the last binary tensor.
    #[error(
        "{0} bytes follow the last binary tensor: the 'binary_data_size' of all tensors must add up to the rest of the body"
    )]
    LeftOver(usize),
    /// A message that did not come as JSON is not canonical.
    #[error("{tensors} inputs but {contents} raw contents: one raw content an input is expected")]
    Contents {
        /// Tensors named.
        tensors: usize,
        /// Raw contents given.
        contents: usize,
    },
}

impl DecodeError {
    /// The body or a tensor is larger than it may be: over HTTP that is 413, not 400.
    pub fn is_too_large(&self) -> bool {
        match self {
            Self::Limit { field, .. } => [BODY, JSON].contains(field),
            Self::Tensor { error, .. } => matches!(error, TensorError::TooLarge { .. }),
            _ => false,
        }
    }
}

/// The bounds of sizes, as [`DecodeError::Limit`] names them.
pub(crate) const BODY: &str = "bytes of the body";
pub(crate) const JSON: &str = "bytes of JSON";

/// Whose tensor it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request's.
    Input,
    /// An answer's, or one asked for.
    Output,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input => "input",
            Self::Output => "output",
        })
    }
}

/// Refuses what passes a bound.
pub(crate) fn bound(field: &'static str, found: usize, limit: usize) -> Result<(), DecodeError> {
    if found > limit { Err(DecodeError::Limit { field, found, limit }) } else { Ok(()) }
}
