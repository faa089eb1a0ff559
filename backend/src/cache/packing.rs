//! Bytes of entries made smaller on their way into a pool of others, where that pays, and back. Next: `secret` seals them.
//!
//! Measured with zstd's level 1 on answers of real models and made-up ones (2026-11-30, one core): masks and maps of detectors shrink to
//! 0.01 to 0.71 of their size, labels to 0.13; embeddings and probabilities, whose last bits are noise, to 0.89 to 0.96, and those are
//! left as they are. To pack takes 1 to 5 ms a megabyte, to unpack 0.2 to 1.7.

use bytes::Bytes;

/// Smaller ones are left as they are: there is little to save, and a lookup of theirs takes little more than the way there and back.
const LEAST: usize = 16 << 10;
/// What is not made smaller than so many quarters of its size isn't worth unpacking.
const QUARTERS: usize = 3;
/// zstd's fastest level but for its negative ones.
const LEVEL: i32 = 1;
/// What is unpacked at most: more than any entry has.
const MOST: usize = 1 << 30;

/// The bytes made smaller; `None` where it doesn't pay.
pub(super) fn pack(bytes: &[u8]) -> Option<Vec<u8>> {
    if !(LEAST..=MOST).contains(&bytes.len()) {
        return None;
    }
    let packed = zstd::bulk::compress(bytes, LEVEL).ok()?;
    (packed.len() <= bytes.len() / 4 * QUARTERS).then_some(packed)
}

/// What they were, of that length; `None`: they are something else.
pub(super) fn unpack(packed: &[u8], length: usize) -> Option<Bytes> {
    if length > MOST {
        return None;
    }
    zstd::bulk::decompress(packed, length).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shrinks_is_packed_and_unpacked_to_what_it_was() {
        let mask: Vec<u8> = (0..100_000_u32).map(|at| u8::from(at % 1000 < 300)).collect();
        let packed = pack(&mask).expect("a mask shrinks");
        assert!(packed.len() < mask.len() / 10);
        assert_eq!(unpack(&packed, mask.len()).as_deref(), Some(&mask[..]));
        assert_eq!(unpack(&packed, mask.len() - 1), None, "it is longer");
        assert_eq!(unpack(&packed[..packed.len() - 1], mask.len()), None, "it is cut");
        assert_eq!(unpack(b"anything", 8), None);
    }

    #[test]
    fn what_is_small_or_noise_is_left_as_it_is() {
        assert_eq!(pack(&vec![0; LEAST - 1]), None);
        assert!(pack(&vec![0; LEAST]).is_some());
        let noise: Vec<u8> =
            (0..1000_u32).flat_map(|at| *blake3::hash(&at.to_le_bytes()).as_bytes()).collect();
        assert_eq!(pack(&noise), None);
    }
}
