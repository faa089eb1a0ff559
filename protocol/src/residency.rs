//! How much of a pool an entry takes, and how a pool in memory is parted: what `serve` keeps by and what is simulated of it. Sizes
//! enter, weights and parts leave.

/// What an entry costs besides its encoded bytes: key, reference counts, names, the cache's own slot. Measured generously rather
/// than exactly.
pub const OVERHEAD_BYTES: u64 = 512;
/// A shard takes so many of the largest entries at least: one that filled its shard would push out all else there.
pub const ENTRIES_A_SHARD: u64 = 4;
/// The part of a shard, in hundredths, that is for what was asked for again; the cache takes no entry that weighs more.
pub const HOT_PERCENT: u8 = 97;

/// What an entry of so many encoded bytes takes.
pub fn weight(entry_bytes: u64) -> u64 {
    entry_bytes.saturating_add(OVERHEAD_BYTES)
}

/// Shards of a pool of so many bytes, for entries up to that size: four a processor, unless that would make them too small for what
/// they are to hold. A power of two.
pub fn shards(bytes: u64, max_entry_bytes: u64, cores: usize) -> usize {
    let least = weight(max_entry_bytes).saturating_mul(ENTRIES_A_SHARD).max(1);
    let most = usize::try_from(bytes.checked_div(least).unwrap_or(1)).unwrap_or(usize::MAX).max(1);
    let wanted = cores.saturating_mul(4).checked_next_power_of_two().unwrap_or(1);
    wanted.min(1_usize.checked_shl(most.ilog2()).unwrap_or(1))
}

/// The heaviest entry that a shard of so many bytes takes.
pub fn heaviest(shard_bytes: u64) -> u64 {
    shard_bytes.checked_div(100).unwrap_or_default().saturating_mul(u64::from(HOT_PERCENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_holds_some_of_the_largest_entries_on_any_machine() {
        for cores in [1, 2, 64, 1024] {
            for (bytes, largest) in [(256 << 20, 8 << 20), (1 << 20, 1 << 16), (1 << 30, 100)] {
                let shards = shards(bytes, largest, cores);
                assert!(shards.is_power_of_two() && shards <= (cores * 4).next_power_of_two());
                assert!(shards == 1 || bytes / shards as u64 >= ENTRIES_A_SHARD * weight(largest));
            }
        }
        assert_eq!((shards(0, 8 << 20, 4), shards(u64::MAX, 0, 1)), (1, 4));
    }
}
