//! What this process holds in memory, as the kernel counts it.

/// Bytes of memory that are resident now; 0 where the kernel doesn't tell.
pub(crate) fn resident_bytes() -> u64 {
    const KIB: u64 = 1024;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|value| value.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * KIB
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_to_is_resident() {
        // Other tests of this process give memory back now and then.
        let grows = |_| {
            let before = resident_bytes();
            let held = vec![1_u8; 64 << 20];
            resident_bytes() >= before + held.len() as u64 / 2
        };
        assert!((0..10).any(grows));
    }
}
