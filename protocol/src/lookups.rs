//! Lookups that go to the gate together: what each asks for leaves a filter in one message, and one comes back that says what came of
//! each, in the same order. Protobuf, so that what is added later is no other format.

use bytes::Bytes;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use prost::{DecodeError, Message};

/// Most lookups in one message.
pub const MAX_LOOKUPS: usize = 32;
/// Largest message of lookups that the gate takes, in bytes: that many with the longest names that requests may have, thrice over.
pub const MAX_LOOKUPS_BYTES: usize = 256 << 10;
/// Bytes of entries from which on a gate leaves the rest of an answer for another one. The first entry is in it, whatever its size.
pub const FULL_BYTES: usize = 1 << 20;
/// The status of a lookup that was not made, for the answer was full: it is to be asked again.
pub const LATER: u32 = 0;

/// The field of a lookup in a message of them.
const LOOKUP: u32 = 1;

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Lookups {
    /// One after the other.
    #[prost(message, repeated, tag = "1")]
    pub lookups: Vec<Lookup>,
}

/// One lookup.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Lookup {
    /// The service.
    #[prost(string, tag = "1")]
    pub service: String,
    /// Who may share results; "" without tenants.
    #[prost(string, tag = "2")]
    pub tenant: String,
    /// The model's name.
    #[prost(string, tag = "3")]
    pub model: String,
    /// The requested version, or "".
    #[prost(string, tag = "4")]
    pub version: String,
    /// The request's digest, 32 bytes.
    #[prost(bytes = "bytes", tag = "5")]
    pub digest: Bytes,
    /// The trace that it is of, or "".
    #[prost(string, tag = "6")]
    pub traceparent: String,
}

/// What came of them.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Outcomes {
    /// In the order of the lookups.
    #[prost(message, repeated, tag = "1")]
    pub outcomes: Vec<Outcome>,
}

/// What came of one.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Outcome {
    /// The HTTP status that it would have had by itself, or [`LATER`].
    #[prost(uint32, tag = "1")]
    pub status: u32,
    /// With a 200, the plain entry.
    #[prost(bytes = "bytes", tag = "2")]
    pub entry: Bytes,
}

/// Why bytes are no lookups.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupsError {
    /// The protobuf is broken.
    #[error("not the protobuf expected: {0}")]
    Malformed(#[from] DecodeError),
    /// None, or too many.
    #[error("{0} lookups: 1 to {MAX_LOOKUPS} are expected")]
    Count(usize),
}

impl Lookups {
    /// What a filter sent. What each says is still to be checked.
    ///
    /// # Errors
    /// [`LookupsError`].
    pub fn parse(bytes: Bytes) -> Result<Self, LookupsError> {
        match lookups(&bytes)? {
            1..=MAX_LOOKUPS => Ok(Self::decode(bytes)?),
            count => Err(LookupsError::Count(count)),
        }
    }
}

/// How many lookups a message has, before any is read: one takes a hundred times the bytes that an empty one has in a message. What else
/// stands there, added later, is none.
fn lookups(mut bytes: &[u8]) -> Result<usize, DecodeError> {
    let mut count = 0_usize;
    while !bytes.is_empty() {
        let (tag, wire_type) = decode_key(&mut bytes)?;
        skip_field(wire_type, tag, &mut bytes, DecodeContext::default())?;
        count = count.saturating_add(usize::from(tag == LOOKUP));
    }
    Ok(count)
}

impl Outcomes {
    /// What came of so many lookups; `None` where that is not what is told. Entries stay slices of `bytes`.
    pub fn parse(bytes: Bytes, lookups: usize) -> Option<Vec<Outcome>> {
        let outcomes = Self::decode(bytes).ok()?.outcomes;
        (outcomes.len() == lookups).then_some(outcomes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(count: usize) -> Bytes {
        Lookups { lookups: vec![Lookup::default(); count] }.encode_to_vec().into()
    }

    #[test]
    fn some_lookups_come_together_and_not_too_many() {
        assert_eq!(Lookups::parse(of(1)).unwrap().lookups.len(), 1);
        assert_eq!(Lookups::parse(of(MAX_LOOKUPS)).unwrap().lookups.len(), MAX_LOOKUPS);
        for count in [0, MAX_LOOKUPS + 1] {
            assert_eq!(Lookups::parse(of(count)), Err(LookupsError::Count(count)));
        }
        let empty = [0x0a, 0].repeat(MAX_LOOKUPS_BYTES / 2);
        assert_eq!(Lookups::parse(empty.into()), Err(LookupsError::Count(MAX_LOOKUPS_BYTES / 2)));
        assert_eq!(
            Lookups::parse(Bytes::from_static(&[0x10, 1])),
            Err(LookupsError::Count(0)),
            "another field"
        );
        let more = [&of(MAX_LOOKUPS)[..], &[0x10, 1]].concat();
        assert_eq!(Lookups::parse(more.into()).unwrap().lookups.len(), MAX_LOOKUPS, "what is added later");
        assert!(matches!(Lookups::parse(Bytes::from_static(b"{}")), Err(LookupsError::Malformed(_))));
    }

    #[test]
    fn outcomes_are_of_as_many_as_were_asked() {
        let told = Outcomes { outcomes: vec![Outcome { status: 404, entry: Bytes::new() }; 2] };
        let bytes = Bytes::from(told.encode_to_vec());
        assert_eq!(Outcomes::parse(bytes.clone(), 2), Some(told.outcomes));
        assert_eq!(Outcomes::parse(bytes.clone(), 3), None);
        assert_eq!(Outcomes::parse(bytes.slice(1..), 2), None);
    }
}
