//! libFuzzer's program: `FOREBAY_FUZZ_TARGET` names the target, libFuzzer's own arguments say the rest.
#![no_main]

use std::sync::LazyLock;

use fuzz::Target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("FOREBAY_FUZZ_TARGET").unwrap_or_default();
    fuzz::target(&name).unwrap_or_else(|| panic!("FOREBAY_FUZZ_TARGET={name:?} is no target"))
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
