//! The key of records -> a key of each segment's own, by which its header and its records are sealed (AES-256-GCM). Next: a `segment`
//! is written or read with it.
//!
//! No nonce comes twice under one key. A segment's key is derived (HKDF-SHA256) from the key of records, 32 bytes of chance that are in
//! its header, and the header itself; so segments of all replicas and restarts have different keys. Within a segment the nonce is the
//! record's number, a segment is written by the process that began it alone, and never on after a write that failed.

use std::path::Path;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};

use crate::settings::{SettingsError, read_key};

/// What a key's id is derived with, which tells nothing of the key nor of those of segments.
const ID_SALT: &[u8] = b"forebay.record key id";
/// Bytes that sealing adds.
pub(super) const TAG_BYTES: usize = 16;
/// The number of the header: no record comes to it.
const HEADER: u64 = u64::MAX;

/// A name of a key that tells nothing of it.
pub(super) type KeyId = [u8; 8];

/// The key of records. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// The key in a file that a flag names.
    ///
    /// # Errors
    /// When it can't be read, or holds no key.
    pub(crate) fn read(flag: &'static str, path: &Path) -> Result<Self, SettingsError> {
        Ok(Self(read_key(flag, path)?))
    }

    pub(super) const fn of(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) fn id(&self) -> KeyId {
        let mut id = KeyId::default();
        let extracted = Salt::new(HKDF_SHA256, ID_SALT).extract(&self.0);
        if let Ok(expanded) = extracted.expand(&[b"id"], IdLength) {
            // Both are as long as it says.
            let _ = expanded.fill(&mut id);
        }
        id
    }

    /// The key of the segment with that salt and header.
    pub(super) fn of_segment(&self, salt: &[u8; 32], header: &[u8]) -> SegmentKey {
        let extracted = Salt::new(HKDF_SHA256, salt).extract(&self.0);
        let info = [header];
        let expanded = extracted.expand(&info, &AES_256_GCM);
        // HKDF refuses only what is longer than 255 hashes.
        SegmentKey(LessSafeKey::new(UnboundKey::from(expanded.expect("32 bytes can be derived"))))
    }
}

struct IdLength;

impl KeyType for IdLength {
    fn len(&self) -> usize {
        size_of::<KeyId>()
    }
}

/// What seals and opens the parts of one segment.
pub(super) struct SegmentKey(LessSafeKey);

/// It was sealed with another key, under another number, or changed since.
pub(super) struct NotOpened;

impl SegmentKey {
    /// Seals the record of that number in place; the tag that belongs behind it.
    pub(super) fn seal(&self, number: u64, beside: &[u8], plain: &mut [u8]) -> [u8; TAG_BYTES] {
        let sealed = self.0.seal_in_place_separate_tag(nonce(number), Aad::from(beside), plain);
        // What is longer than 64 GiB is refused; a record's length has 32 bits.
        let tag = sealed.expect("a record can be sealed");
        let mut bytes = [0; TAG_BYTES];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    /// The record of that number, opened in place.
    pub(super) fn open<'a>(
        &self,
        number: u64,
        beside: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a [u8], NotOpened> {
        let opened = self.0.open_in_place(nonce(number), Aad::from(beside), sealed);
        opened.map(|plain| &*plain).map_err(|_| NotOpened)
    }

    /// What proves the header that this key was derived with.
    pub(super) fn prove_header(&self) -> [u8; TAG_BYTES] {
        self.seal(HEADER, &[], &mut [])
    }

    pub(super) fn holds_header(&self, proof: &[u8; TAG_BYTES]) -> bool {
        self.open(HEADER, &[], &mut proof.clone()).is_ok()
    }
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}
