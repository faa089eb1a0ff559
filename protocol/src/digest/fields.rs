//! What all hashed texts are made of: fields, each after its length, so that no two lists of fields give the same bytes.

/// Bytes that wait for those behind them: a hash of many small pieces costs more for the pieces than for their bytes.
const WAITING_BYTES: usize = 512;

/// A BLAKE3 hash over length-prefixed fields.
pub(crate) struct Fields {
    hasher: blake3::Hasher,
    waiting: [u8; WAITING_BYTES],
    /// How many of those there are.
    count: usize,
}

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
        let mut fields = Self { hasher, waiting: [0; WAITING_BYTES], count: 0 };
        fields.bytes(tag.as_bytes());
        fields
    }

    /// A field of any length: u64 little endian, then the bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.add(bytes);
    }

    /// A field of eight bytes, little endian: a count, a dimension, a number.
    pub(crate) fn number(&mut self, number: u64) {
        self.add(&number.to_le_bytes());
    }

    /// A field of one byte: which kind of value follows.
    pub(crate) fn kind(&mut self, kind: u8) {
        self.add(&[kind]);
    }

    fn add(&mut self, bytes: &[u8]) {
        let end = self.count.saturating_add(bytes.len());
        if let Some(place) = self.waiting.get_mut(self.count..end) {
            place.copy_from_slice(bytes);
            self.count = end;
            return;
        }
        self.hash_waiting();
        match self.waiting.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.count = bytes.len();
            }
            None => {
                self.hasher.update(bytes);
            }
        }
    }

    fn hash_waiting(&mut self) {
        self.hasher.update(self.waiting.get(..self.count).unwrap_or_default());
        self.count = 0;
    }

    pub(crate) fn finish(mut self) -> [u8; 32] {
        self.hash_waiting();
        *self.hasher.finalize().as_bytes()
    }

    /// Does the hash equal `expected`? In constant time.
    pub(crate) fn verify(mut self, expected: [u8; 32]) -> bool {
        self.hash_waiting();
        self.hasher.finalize() == blake3::Hash::from_bytes(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What waits is hashed all the same: pieces of every length give the hash of their text.
        #[test]
        fn pieces_give_the_hash_of_their_text(lengths in prop::collection::vec(0_usize..1200, 0..12)) {
            let mut fields = Fields::tagged("t");
            let mut text = [&1_u64.to_le_bytes()[..], b"t"].concat();
            for (index, length) in lengths.into_iter().enumerate() {
                let bytes = vec![u8::try_from(index).unwrap(); length];
                fields.bytes(&bytes);
                fields.kind(7);
                text.extend_from_slice(&(length as u64).to_le_bytes());
                text.extend_from_slice(&bytes);
                text.push(7);
            }
            let hash = *blake3::hash(&text).as_bytes();
            prop_assert_eq!(fields.finish(), hash);
        }
    }
}
