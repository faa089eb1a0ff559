//! Rendezvous hashing: a key and the names of the servers -> the one that has it, the same for everybody. A server that is added or
//! taken away moves what it has itself, and nothing else.

use forebay_protocol::digest::Key;

/// What a server's name counts as.
pub(super) fn seed(name: &str) -> u64 {
    first_eight(blake3::hash(name.as_bytes()).as_bytes())
}

fn first_eight(bytes: &[u8; 32]) -> u64 {
    bytes.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

/// The position of the server that has the key, by the seeds of all.
pub(super) fn of(key: &Key, seeds: impl Iterator<Item = u64>) -> usize {
    let key = first_eight(&key.0);
    let best = seeds.enumerate().max_by_key(|(_, seed)| mixed(key ^ seed));
    best.map_or(0, |(at, _)| at)
}

/// `SplitMix64`'s last steps: every bit depends on every bit.
fn mixed(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> impl Iterator<Item = Key> {
        (0..3000_u32).map(|number| Key(*blake3::hash(&number.to_le_bytes()).as_bytes()))
    }

    #[test]
    fn keys_are_spread_and_a_server_that_goes_moves_only_its_own() {
        let three = ["a:11211", "b:11211", "c:11211"].map(seed);
        let mut counts = [0; 3];
        for key in keys() {
            let before = of(&key, three.into_iter());
            counts[before] += 1;
            let after = of(&key, three.into_iter().take(2));
            assert!(before == 2 || before == after);
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_key_lies_where_it_always_did() {
        let seeds = ["a:11211", "b:11211", "c:11211"].map(seed);
        let places: Vec<usize> = keys().take(12).map(|key| of(&key, seeds.into_iter())).collect();
        assert_eq!(
            places,
            [0, 0, 1, 2, 2, 1, 0, 2, 2, 1, 2, 0],
            "another place is a miss for every entry that is kept"
        );
    }
}
