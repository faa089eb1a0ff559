//! A record as it stands in a segment: its length, then its bytes, sealed. Made by who is asked, with room for the tag; sealed in
//! place by the writer.

use prost::Message as _;

use crate::record::Recorded;
use crate::record::key::{SegmentKey, TAG_BYTES};

/// Bytes of a record's length.
pub(super) const LENGTH_BYTES: usize = 4;
/// What a request was asked with: its time, its protobuf.
pub(super) const INPUTS: u8 = 1;
/// The end: how many came before it.
pub(super) const END: u8 = 2;
/// A request as it was asked: its time, its protobuf.
pub(super) const WHOLE: u8 = 3;

/// A record that isn't sealed yet.
pub(in crate::record) struct Frame {
    kind: u8,
    /// The time, or the count.
    number: u64,
    /// The length's place, then all of the record.
    bytes: Vec<u8>,
}

/// The kind and the number.
pub(super) const HEAD_BYTES: usize = 9;

/// What finishing a segment takes.
pub(in crate::record) const END_BYTES: u64 = (LENGTH_BYTES + HEAD_BYTES + TAG_BYTES) as u64;

impl Frame {
    /// A request's.
    pub(in crate::record) fn of(Recorded { time_ms, request, is_whole }: &Recorded) -> Self {
        let length = LENGTH_BYTES + HEAD_BYTES + request.encoded_len();
        let mut bytes = Vec::with_capacity(length + TAG_BYTES);
        bytes.resize(LENGTH_BYTES + HEAD_BYTES, 0);
        // A vector has room for all.
        let _ = request.encode(&mut bytes);
        Self { kind: if *is_whole { WHOLE } else { INPUTS }, number: *time_ms, bytes }
    }

    /// The end of a segment with so many records.
    pub(in crate::record) fn end(records: u64) -> Self {
        Self { kind: END, number: records, bytes: vec![0; LENGTH_BYTES + HEAD_BYTES] }
    }

    /// Bytes that it takes on disk.
    pub(in crate::record) fn length(&self) -> u64 {
        (self.bytes.len() + TAG_BYTES) as u64
    }

    /// As it is written.
    pub(super) fn sealed(self, key: &SegmentKey, number: u64) -> Vec<u8> {
        let Self { kind, number: told, mut bytes } = self;
        bytes[LENGTH_BYTES] = kind;
        bytes[LENGTH_BYTES + 1..LENGTH_BYTES + HEAD_BYTES].copy_from_slice(&told.to_le_bytes());
        let length = u32::try_from(bytes.len() - LENGTH_BYTES + TAG_BYTES).unwrap_or(u32::MAX).to_le_bytes();
        bytes[..LENGTH_BYTES].copy_from_slice(&length);
        let tag = key.seal(number, &length, &mut bytes[LENGTH_BYTES..]);
        bytes.extend_from_slice(&tag);
        bytes
    }
}
