//! The end of the process at once, for when threads of native libraries still run: an orderly exit would destroy what they are using,
//! and may wait for them.

use std::ffi::c_int;

// SAFETY: POSIX's `_exit` has this signature. It takes a number, runs nothing of this process any more, and doesn't return.
unsafe extern "C" {
    safe fn _exit(status: c_int) -> !;
}

/// Ends the process with that code.
pub fn now(code: u8) -> ! {
    _exit(c_int::from(code))
}
