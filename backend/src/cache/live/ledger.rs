//! What the servers of one service keep in the pool together, beside what each says that it serves, and what its gates do: fields of
//! text, and counts that are added up. Notes enter, all fields leave, in one step. Next: `models::fleet` keeps there which variants are
//! out, and what shadows counted, and `hold::gates` how many requests wait at which gate.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::registry::Steps;
use crate::cache::pool::PoolError;

/// Version of a ledger's fields, and of what Memcached has of them.
pub(super) const FORMAT: u32 = 1;

/// Texts by name.
pub(crate) type Fields = BTreeMap<String, String>;

/// What is kept in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Book {
    /// Which variants are out.
    Variants,
    /// What waits at which gate.
    Held,
}

impl Book {
    /// Of a service's, by its name or its digest, behind the prefix. The 1 is the version of what is in it.
    pub(super) fn name(self, service: &str) -> String {
        match self {
            Self::Variants => format!("1:variants:{service}"),
            Self::Held => format!("1:held:{service}"),
        }
    }

    /// For how long it is kept when nobody writes to it. Servers that serve variants write to theirs all the time, and gates while
    /// somebody waits.
    pub(super) fn kept(self) -> Duration {
        match self {
            Self::Variants => Duration::from_hours(30 * 24),
            Self::Held => Duration::from_mins(10),
        }
    }
}

/// A change of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// It is that text.
    Put { field: String, text: String },
    /// It is a number, so much more.
    Add { field: String, more: u64 },
    /// There is none.
    Drop { field: String },
}

/// The ledger of one service.
pub(crate) trait Ledger: Send + Sync {
    /// Makes the changes, each once at most, and reads it. What failed for another reason than that the pool is [`PoolError::Down`]
    /// may be made all the same.
    fn note(&self, notes: Vec<Note>) -> BoxFuture<'_, Result<Fields, PoolError>>;
}

/// A ledger in a registry's tier.
pub(crate) struct Shared<S> {
    steps: S,
    book: Book,
    service: String,
}

impl<S: Steps> Shared<S> {
    pub(crate) fn of(steps: S, book: Book, service: &str) -> Self {
        Self { steps, book, service: service.to_owned() }
    }
}

impl<S: Steps> Ledger for Shared<S> {
    fn note(&self, notes: Vec<Note>) -> BoxFuture<'_, Result<Fields, PoolError>> {
        async move { self.steps.note(self.book, &self.service, &notes).await }.boxed()
    }
}

/// As a tier without fields of its own has it.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Written {
    pub(super) format: u32,
    pub(super) fields: Fields,
}

impl Written {
    /// What is no ledger of this version is an empty one.
    pub(super) fn read(bytes: &[u8]) -> Fields {
        let read: Option<Self> = serde_json::from_slice(bytes).ok();
        read.filter(|read| read.format == FORMAT).map(|read| read.fields).unwrap_or_default()
    }

    pub(super) fn write(fields: &Fields) -> Vec<u8> {
        serde_json::to_vec(&Self { format: FORMAT, fields: fields.clone() }).unwrap_or_default()
    }
}

/// Makes the changes.
pub(super) fn take(fields: &mut Fields, notes: &[Note]) {
    for note in notes {
        match note {
            Note::Put { field, text } => {
                fields.insert(field.clone(), text.clone());
            }
            Note::Add { field, more } => {
                let before = fields.get(field).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
                fields.insert(field.clone(), before.saturating_add(*more).to_string());
            }
            Note::Drop { field } => {
                fields.remove(field);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_put_and_dropped_and_counts_added_up() {
        let mut fields = Fields::new();
        let put = |text: &str| Note::Put { field: "a".into(), text: text.into() };
        let add = |more| Note::Add { field: "b".into(), more };
        take(&mut fields, &[put("x"), add(2), put("y"), add(3)]);
        assert_eq!(fields, Fields::from([("a".into(), "y".into()), ("b".into(), "5".into())]));
        take(&mut fields, &[Note::Drop { field: "a".into() }, Note::Drop { field: "c".into() }]);
        assert_eq!(fields, Fields::from([("b".into(), "5".into())]));
    }

    #[test]
    fn a_ledger_is_these_bytes_and_what_is_none_is_empty() {
        let fields = Fields::from([("a".to_owned(), "1".to_owned())]);
        let bytes = Written::write(&fields);
        assert_eq!(bytes, br#"{"format":1,"fields":{"a":"1"}}"#);
        assert_eq!(Written::read(&bytes), fields);
        for none in [&b"junk"[..], br#"{"format":2,"fields":{"a":"1"}}"#, b""] {
            assert_eq!(Written::read(none), Fields::new());
        }
    }
}
