//! Cache entries: a canonical answer with what is known about it. Sealed with a MAC over its key on the way into the pool,
//! checked on the way out; plain between gate and filter. `FORMAT.md` fixes the bytes.

use crate::cache_control::Freshness;
use crate::digest::{Fields, Generation, Key};
use crate::fields;
use crate::messages::ModelInferResponse;
use bytes::{Buf, Bytes};
use prost::Message;
use std::fmt;

/// Version of the format: a digit, the last byte of what an entry begins with. Another one is a miss.
const VERSION: u8 = b'2';
/// The same of an entry that is packed: compressed, with its length before it.
const PACKED_VERSION: u8 = b'3';
/// What a sealed entry begins with, before the version.
const SEALED: [u8; 3] = *b"FBE";
/// What a plain entry begins with, before the version.
const PLAIN: [u8; 3] = *b"FBP";
const MAC_TAG: &str = "forebay/entry/2";
const PACKED_TAG: &str = "forebay/entry/3";
const SECRET_CONTEXT: &str = "forebay 2026 entry MAC secret v1";
/// Shortest secret, in bytes: 128 bits.
const MIN_SECRET_BYTES: usize = 16;

/// A cached answer.
#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    /// The answer in canonical form, without `id`.
    #[prost(message, optional, tag = "1")]
    pub response: Option<ModelInferResponse>,
    /// The generation that computed it, 32 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub generation: Bytes,
    /// Compute time spent on it, in microseconds.
    #[prost(uint64, tag = "3")]
    pub cost_us: u64,
    /// When it was computed, in milliseconds since 1970 (UTC).
    #[prost(uint64, tag = "4")]
    pub created_ms: u64,
    /// For how long it is fresh, in seconds.
    #[prost(uint32, tag = "5")]
    pub max_age_s: u32,
    /// For how long after that it may be given while a new one is computed, in seconds.
    #[prost(uint32, tag = "6")]
    pub stale_while_revalidate_s: u32,
    /// For how long after that it may be given when computing fails, in seconds.
    #[prost(uint32, tag = "7")]
    pub stale_if_error_s: u32,
    /// The header fields of the answer that a cache keeps (see [`crate::fields`]), in order.
    #[prost(message, repeated, tag = "8")]
    pub fields: Vec<Field>,
}

/// A header field that is kept with an answer.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Field {
    /// Its name, in lower case.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its value, as it came.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// The key of the MAC. Its bytes are never shown.
#[derive(Clone)]
pub struct Secret(pub(crate) [u8; 32]);

/// Why bytes are not an entry. Each counts as a miss.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// No entry, or cut short.
    #[error(
        "not an entry: it must begin with 'FBE2' or 'FBE3' and a 32-byte MAC in the pool, with 'FBP2' between gate and filter"
    )]
    NotAnEntry,
    /// An entry of another version.
    #[error("an entry of version {0}: this program reads versions 2 and 3")]
    UnknownVersion(char),
    /// Written under another key or secret, or changed since.
    #[error("the entry's MAC is wrong: another key, another secret, or changed bytes")]
    WrongMac,
    /// What is packed can't be unpacked to the length that it says.
    #[error("the entry can't be unpacked")]
    Packed,
    /// The protobuf is broken.
    #[error("the entry is not the protobuf expected: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A field lacks or has a wrong size.
    #[error("the entry's {0}")]
    Incomplete(&'static str),
}

/// A secret that is too short to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret has {0} bytes: at least 16 are needed")]
pub struct ShortSecret(pub usize);

impl Secret {
    /// Makes the MAC's key of secret bytes of any length.
    ///
    /// # Errors
    /// [`ShortSecret`] below 16 bytes.
    pub fn from_bytes(material: &[u8]) -> Result<Self, ShortSecret> {
        if material.len() < MIN_SECRET_BYTES {
            return Err(ShortSecret(material.len()));
        }
        Ok(Self(blake3::derive_key(SECRET_CONTEXT, material)))
    }

    fn mac(&self, tag: &str, key: &Key, bytes: &[u8]) -> Fields {
        let mut fields = Fields::keyed(&self.0, tag);
        fields.bytes(&key.0);
        fields.bytes(bytes);
        fields
    }
}

/// In constant time.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        blake3::Hash::from(self.0) == blake3::Hash::from(other.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Entry {
    /// For how long it is of use.
    pub fn freshness(&self) -> Freshness {
        let &Self { max_age_s, stale_while_revalidate_s, stale_if_error_s, .. } = self;
        Freshness { max_age_s, stale_while_revalidate_s, stale_if_error_s }
    }

    /// For the pool: magic, MAC over key and protobuf, protobuf; or what `pack` makes of that, where it pays.
    pub fn seal(&self, key: &Key, secret: &Secret, pack: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
        let protobuf = self.encode_to_vec();
        let length = u32::try_from(protobuf.len()).ok();
        let packed = length.and_then(|length| Some([&length.to_le_bytes()[..], &pack(&protobuf)?].concat()));
        let (version, tag, bytes) = match packed {
            Some(packed) => (PACKED_VERSION, PACKED_TAG, packed),
            None => (VERSION, MAC_TAG, protobuf),
        };
        let mac = secret.mac(tag, key, &bytes).finish();
        [&SEALED[..], &[version], &mac, &bytes].concat()
    }

    /// From the pool. The tensors stay slices of `bytes`, or of what `unpack` makes of it, which is told how long that is to be.
    ///
    /// # Errors
    /// [`EntryError`]; a miss in any case.
    pub fn open(
        mut bytes: Bytes,
        key: &Key,
        secret: &Secret,
        unpack: impl FnOnce(&[u8], usize) -> Option<Bytes>,
    ) -> Result<Self, EntryError> {
        let version = begins(&mut bytes, SEALED)?;
        let tag = match version {
            VERSION => MAC_TAG,
            PACKED_VERSION => PACKED_TAG,
            other => return Err(EntryError::UnknownVersion(char::from(other))),
        };
        let mac = bytes.split_to_checked(32).ok_or(EntryError::NotAnEntry)?;
        let mac = <[u8; 32]>::try_from(&mac[..]).map_err(|_| EntryError::NotAnEntry)?;
        if !secret.mac(tag, key, &bytes).verify(mac) {
            return Err(EntryError::WrongMac);
        }
        if version == VERSION {
            return Self::read(bytes);
        }
        let (length, packed) = bytes.split_first_chunk::<4>().ok_or(EntryError::Packed)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| EntryError::Packed)?;
        let unpacked = unpack(packed, length).filter(|unpacked| unpacked.len() == length);
        Self::read(unpacked.ok_or(EntryError::Packed)?)
    }

    /// For the filter: magic and protobuf. The gate has checked the MAC.
    pub fn encode_plain(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.encoded_len().saturating_add(4));
        bytes.extend_from_slice(&PLAIN);
        bytes.push(VERSION);
        // A vector takes what it is given.
        let _ = self.encode(&mut bytes);
        bytes
    }

    /// From the gate. The tensors stay slices of `bytes`.
    ///
    /// # Errors
    /// [`EntryError`] but `WrongMac`.
    pub fn decode_plain(mut bytes: Bytes) -> Result<Self, EntryError> {
        match begins(&mut bytes, PLAIN)? {
            VERSION => Self::read(bytes),
            other => Err(EntryError::UnknownVersion(char::from(other))),
        }
    }

    fn read(protobuf: Bytes) -> Result<Self, EntryError> {
        let entry = Self::decode(protobuf)?;
        if entry.generation.len() != 32 {
            return Err(EntryError::Incomplete("generation must have 32 bytes"));
        }
        let response = entry.response.as_ref().ok_or(EntryError::Incomplete("response is missing"))?;
        if response.outputs.len() != response.raw_output_contents.len() {
            return Err(EntryError::Incomplete("response must have one raw content an output"));
        }
        if fields::bytes(&entry.fields) > fields::MAX_BYTES {
            return Err(EntryError::Incomplete("fields must have at most 8 KiB in all"));
        }
        Ok(entry)
    }

    /// The generation that computed it; `None` when the field has another size than 32 bytes.
    pub fn generation(&self) -> Option<Generation> {
        <[u8; 32]>::try_from(&self.generation[..]).ok().map(Generation)
    }
}

/// Takes what an entry begins with off `bytes`; its version, a digit.
fn begins(bytes: &mut Bytes, magic: [u8; 3]) -> Result<u8, EntryError> {
    let found = bytes.split_to_checked(4).ok_or(EntryError::NotAnEntry)?;
    match found.split_last() {
        Some((version, start)) if start == magic && version.is_ascii_digit() => Ok(*version),
        _ => Err(EntryError::NotAnEntry),
    }
}

/// `Bytes::split_to` that can't panic.
trait SplitChecked {
    fn split_to_checked(&mut self, count: usize) -> Option<Bytes>;
}

impl SplitChecked for Bytes {
    fn split_to_checked(&mut self, count: usize) -> Option<Bytes> {
        (self.remaining() >= count).then(|| self.split_to(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::InferOutputTensor;

    const KEY: Key = Key([7; 32]);

    fn secret() -> Secret {
        Secret::from_bytes(&[9; 16]).unwrap()
    }

    fn entry() -> Entry {
        let response = ModelInferResponse {
            model_name: "m".to_owned(),
            outputs: vec![InferOutputTensor { name: "y".to_owned(), ..InferOutputTensor::default() }],
            raw_output_contents: vec![Bytes::from_static(&[1; 100])],
            ..ModelInferResponse::default()
        };
        Entry {
            response: Some(response),
            generation: Bytes::from_static(&[1; 32]),
            cost_us: 5,
            fields: vec![Field { name: "x-a".to_owned(), value: Bytes::from_static(b"b") }],
            ..Entry::default()
        }
    }

    #[test]
    fn a_sealed_entry_opens_without_copying_tensors() {
        let sealed = Bytes::from(entry().seal(&KEY, &secret(), |_| None));
        let opened = Entry::open(sealed.clone(), &KEY, &secret(), |_, _| None).unwrap();
        assert_eq!(opened, entry());
        assert_eq!(opened.generation(), Some(Generation([1; 32])));
        assert!(sealed.as_ptr_range().contains(&opened.response.unwrap().raw_output_contents[0].as_ptr()));
    }

    #[test]
    fn a_flipped_bit_another_key_or_secret_does_not_open() {
        let open =
            |bytes: Vec<u8>, key: &Key, secret: &Secret| Entry::open(bytes.into(), key, secret, halves);
        for sealed in [entry().seal(&KEY, &secret(), |_| None), entry().seal(&KEY, &secret(), twice)] {
            for at in 0..sealed.len() {
                let mut flipped = sealed.clone();
                flipped[at] ^= 1;
                assert!(open(flipped, &KEY, &secret()).is_err(), "byte {at}");
                assert!(open(sealed[..at].to_vec(), &KEY, &secret()).is_err(), "cut at {at}");
            }
            let other = Secret::from_bytes(&[8; 16]).unwrap();
            assert_eq!(open(sealed.clone(), &KEY, &other), Err(EntryError::WrongMac));
            assert_eq!(open(sealed, &Key([8; 32]), &secret()), Err(EntryError::WrongMac));
        }
    }

    /// Packs, though it doesn't pay.
    #[expect(clippy::unnecessary_wraps, reason = "as what packs is given")]
    fn twice(protobuf: &[u8]) -> Option<Vec<u8>> {
        Some([protobuf, protobuf].concat())
    }

    fn halves(packed: &[u8], length: usize) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(packed.get(..length)?))
    }

    #[test]
    fn what_is_packed_opens_to_what_it_was_and_only_if_it_has_the_length_that_it_says() {
        let sealed = Bytes::from(entry().seal(&KEY, &secret(), twice));
        assert_eq!(&sealed[..4], b"FBE3");
        assert_eq!(Entry::open(sealed.clone(), &KEY, &secret(), halves), Ok(entry()));
        let cut = |packed: &[u8], length| halves(packed, length - 1);
        assert_eq!(Entry::open(sealed.clone(), &KEY, &secret(), cut), Err(EntryError::Packed));
        assert_eq!(Entry::open(sealed, &KEY, &secret(), |_, _| None), Err(EntryError::Packed));
    }

    #[test]
    fn plain_entries_must_be_whole() {
        assert_eq!(Entry::decode_plain(entry().encode_plain().into()), Ok(entry()));
        assert!(Entry::decode_plain(Bytes::new()).is_err());
        let without = Entry { response: None, ..entry() };
        assert!(matches!(Entry::decode_plain(without.encode_plain().into()), Err(EntryError::Incomplete(_))));
        assert!(Entry::decode_plain(Bytes::from_static(b"FBP2\xff\xff")).is_err());
        let many = vec![Field { name: "x".to_owned(), value: Bytes::from_static(&[b'y'; 5000]) }; 2];
        let many = Entry { fields: many, ..entry() };
        assert!(matches!(Entry::decode_plain(many.encode_plain().into()), Err(EntryError::Incomplete(_))));
    }

    #[test]
    fn another_version_is_named_and_what_is_none_is_not() {
        let plain = |magic: &[u8]| Entry::decode_plain([magic, &entry().encode_to_vec()].concat().into());
        assert_eq!(plain(b"FBP3"), Err(EntryError::UnknownVersion('3')));
        assert_eq!(plain(b"FBP1"), Err(EntryError::UnknownVersion('1')));
        assert_eq!(plain(b"FBE2"), Err(EntryError::NotAnEntry));
        assert_eq!(plain(b""), Err(EntryError::NotAnEntry));
    }

    #[test]
    fn secrets_are_long_enough_and_never_shown() {
        assert_eq!(Secret::from_bytes(&[0; 15]).unwrap_err(), ShortSecret(15));
        assert_eq!(format!("{:?}", secret()), "Secret(..)");
    }
}
