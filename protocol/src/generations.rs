//! The table of live generations: published by the backends to the pool, told by the gate, polled by the filters.

use crate::digest::{Digest, Generation};
use crate::gate::FORMAT;
use serde::{Deserialize, Serialize};

/// Largest table that a filter takes, in bytes of JSON (about 10,000 models).
pub const MAX_TABLE_BYTES: usize = 4 << 20;

/// Which generations answer, for every model of every service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Version of this form.
    pub format: u32,
    /// Grows whenever a live set changes.
    pub epoch: u64,
    /// That a gate gave it out: the next poll says it again.
    #[serde(default)]
    pub proof: String,
    /// The pool's time when the table was told, in milliseconds since 1970: what the hearer's clock is compared with.
    pub now_ms: u64,
    /// One row for each way to ask for a model.
    pub models: Vec<LiveModel>,
    /// Requests whose results were purged one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<Dropped>,
}

/// A request whose result was purged by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// The request.
    pub digest: Digest,
    /// The purge number, microseconds of the pool's clock or more: what was made until then is not given.
    pub number: u64,
}

/// The live generations of one model, as asked for by one version (or by none).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveModel {
    /// The service.
    pub service: String,
    /// The model.
    pub model: String,
    /// The requested version; "" when a client asks without one.
    pub version: String,
    /// Whose row it is, where a tenant's results were purged by themselves; other tenants go by the row that names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What may answer.
    pub generations: Vec<Generation>,
}

/// Bytes that are no table of this version.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Too many of them.
    #[error("the table has {0} bytes: at most {MAX_TABLE_BYTES} are taken")]
    TooLarge(usize),
    /// Not JSON, or of another shape.
    #[error("the table is not the JSON expected: {0}")]
    Shape(#[from] serde_json::Error),
    /// Of another version.
    #[error("the table has format {0}: this program reads format {FORMAT}")]
    UnknownFormat(u32),
}

/// What is looked at first: a later version may have any other members.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

impl Table {
    /// An empty table of that epoch.
    pub fn empty(epoch: u64) -> Self {
        Self {
            format: FORMAT,
            epoch,
            proof: String::new(),
            now_ms: 0,
            models: Vec::new(),
            dropped: Vec::new(),
        }
    }

    /// Reads a table.
    ///
    /// # Errors
    /// [`TableError`]; the table that one had stands then.
    pub fn parse(json: &[u8]) -> Result<Self, TableError> {
        if json.len() > MAX_TABLE_BYTES {
            return Err(TableError::TooLarge(json.len()));
        }
        let Versioned { format } = serde_json::from_slice(json)?;
        if format != FORMAT {
            return Err(TableError::UnknownFormat(format));
        }
        Ok(serde_json::from_slice(json)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_format_is_named_whatever_else_it_holds() {
        let table = Table::parse(br#"{"format":2,"epoch":7,"now_ms":5,"models":[]}"#).unwrap();
        assert_eq!((table.epoch, table.now_ms), (7, 5));
        assert!(matches!(Table::parse(br#"{"format":3,"rows":{}}"#), Err(TableError::UnknownFormat(3))));
        assert!(matches!(Table::parse(br#"{"epoch":7,"models":[]}"#), Err(TableError::Shape(_))));
        assert!(matches!(Table::parse(b"<html>"), Err(TableError::Shape(_))));
        assert!(matches!(Table::parse(&vec![b' '; MAX_TABLE_BYTES + 1]), Err(TableError::TooLarge(_))));
    }
}
