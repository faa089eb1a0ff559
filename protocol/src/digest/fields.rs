//! What all hashed texts are made of: fields, each after its length, so that no two lists of fields give the same bytes.

/// A BLAKE3 hash over length-prefixed fields.
pub(crate) struct Fields(blake3::Hasher);

impl Fields {
    /// Begins with a domain tag, which keeps digests, keys and raw keys apart, and their versions.
    pub(crate) fn tagged(tag: &str) -> Self {
        Self::over(blake3::Hasher::new(), tag)
    }

    /// The same with a keyed hash: a MAC.
    pub(crate) fn keyed(key: &[u8; 32], tag: &str) -> Self {
        Self::over(blake3::Hasher::new_keyed(key), tag)
    }

    fn over(hasher: blake3::Hasher, tag: &str) -> Self {
        let mut fields = Self(hasher);
        fields.bytes(tag.as_bytes());
        fields
    }

    /// A field of any length: u64 little endian, then the bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    /// A field of eight bytes, little endian: a count, a dimension, a number.
    pub(crate) fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    /// A field of one byte: which kind of value follows.
    pub(crate) fn kind(&mut self, kind: u8) {
        self.0.update(&[kind]);
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }

    /// Does the hash equal `expected`? In constant time.
    pub(crate) fn verify(self, expected: [u8; 32]) -> bool {
        self.0.finalize() == blake3::Hash::from_bytes(expected)
    }
}
