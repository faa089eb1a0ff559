//! What a segment begins with, which anybody can read, and who has the key can prove.

use std::io::Read;

use super::SegmentError;
use crate::record::key::{Key, KeyId, SegmentKey, TAG_BYTES};

/// Before the version.
const MAGIC: &[u8; 15] = b"forebay.record.";
const VERSION: u8 = b'2';
/// That of segments without whole requests, which are read as they are.
const FORMER_VERSION: u8 = b'1';

/// A segment's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::record) struct Header {
    pub(in crate::record) began_ms: u64,
    pub(in crate::record) salt: [u8; 32],
    pub(in crate::record) model: String,
    version: u8,
    /// What was read: the key's id, and the proof.
    said: Option<(KeyId, [u8; TAG_BYTES])>,
}

impl Header {
    pub(in crate::record) fn new(began_ms: u64, salt: [u8; 32], model: &str) -> Self {
        Self { began_ms, salt, model: model.to_owned(), version: VERSION, said: None }
    }

    /// Bytes of one for that model.
    pub(in crate::record) fn length(model: &str) -> u64 {
        let fixed = MAGIC.len() + 1 + size_of::<KeyId>() + 32 + 8 + 2 + TAG_BYTES;
        (fixed + model.len()) as u64
    }

    /// All but the proof.
    fn bytes(&self, id: KeyId) -> Vec<u8> {
        // The settings let no longer name in.
        let length = u16::try_from(self.model.len()).unwrap_or(u16::MAX);
        [
            &MAGIC[..],
            &[self.version],
            &id,
            &self.salt,
            &self.began_ms.to_le_bytes(),
            &length.to_le_bytes(),
            self.model.as_bytes(),
        ]
        .concat()
    }

    /// As it is written, and the key of what comes after it.
    pub(super) fn sealed(&self, key: &Key) -> (Vec<u8>, SegmentKey) {
        let mut bytes = self.bytes(key.id());
        let key = key.of_segment(&self.salt, &bytes);
        bytes.extend_from_slice(&key.prove_header());
        (bytes, key)
    }

    /// Reads one from a file of so many bytes.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn read(from: &mut impl Read, bytes: u64) -> Result<Self, SegmentError> {
        let mut left = bytes;
        let mut magic = [0; MAGIC.len() + 1];
        take(from, &mut left, &mut magic).map_err(|error| match error {
            SegmentError::Torn { .. } if bytes > 0 => SegmentError::NoSegment,
            error => error,
        })?;
        let version = match magic.strip_prefix(MAGIC) {
            None => return Err(SegmentError::NoSegment),
            Some([version @ (VERSION | FORMER_VERSION)]) => *version,
            Some(version) => {
                return Err(SegmentError::UnknownVersion(String::from_utf8_lossy(version).into_owned()));
            }
        };
        let (mut id, mut salt, mut began) = (KeyId::default(), [0; 32], [0; 8]);
        take(from, &mut left, &mut id)?;
        take(from, &mut left, &mut salt)?;
        take(from, &mut left, &mut began)?;
        let mut length = [0; 2];
        take(from, &mut left, &mut length)?;
        let mut model = vec![0; usize::from(u16::from_le_bytes(length))];
        take(from, &mut left, &mut model)?;
        let mut proof = [0; TAG_BYTES];
        take(from, &mut left, &mut proof)?;
        let model = String::from_utf8(model).map_err(|_| SegmentError::Header)?;
        Ok(Self { began_ms: u64::from_le_bytes(began), salt, model, version, said: Some((id, proof)) })
    }

    /// The key of what comes after a header that was read.
    ///
    /// # Errors
    /// When it was written with another key, or changed.
    pub(super) fn key(&self, key: &Key) -> Result<SegmentKey, SegmentError> {
        let (wrote, proof) = self.said.ok_or(SegmentError::Header)?;
        let given = key.id();
        if wrote != given {
            return Err(SegmentError::OtherKey { wrote: hex(wrote), given: hex(given) });
        }
        let key = key.of_segment(&self.salt, &self.bytes(wrote));
        if key.holds_header(&proof) { Ok(key) } else { Err(SegmentError::Header) }
    }

    /// Whether it is as it was written, with that key.
    ///
    /// # Errors
    /// As [`Self::key`].
    pub(in crate::record) fn prove(&self, key: &Key) -> Result<(), SegmentError> {
        self.key(key).map(|_| ())
    }
}

fn hex(id: KeyId) -> String {
    format!("{:016x}", u64::from_be_bytes(id))
}

/// Fills `into` from a file that has so many bytes left.
pub(super) fn take(from: &mut impl Read, left: &mut u64, into: &mut [u8]) -> Result<(), SegmentError> {
    let wanted = into.len() as u64;
    if wanted > *left {
        return Err(SegmentError::Torn { record: None });
    }
    from.read_exact(into)?;
    *left -= wanted;
    Ok(())
}
