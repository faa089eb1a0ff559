//! The one host call that the filter makes beside proxy-wasm's SDK: a header list enters as the proxy writes it, in one buffer, and
//! leaves as that buffer. The SDK makes two allocations of each header, and traps where a name is no UTF-8.
//!
//! Only for modules of proxy-wasm's ABI 0.2, with the SDK in them: it is the SDK's `malloc` that the proxy takes the buffer from.

use std::ptr::{null_mut, slice_from_raw_parts_mut};

/// Whose headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Map {
    /// The request's.
    Request = 0,
    /// The response's.
    Response = 2,
    /// The response's trailers.
    ResponseTrailers = 3,
    /// The answer's to a callout.
    Call = 6,
    /// That answer's trailers.
    CallTrailers = 7,
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
}

/// All headers as the ABI writes them: how many, the lengths of each name and value, and then those, each with a zero behind it.
/// Numbers have 32 bits, little endian. `None`: the proxy refuses.
#[must_use]
pub fn header_pairs(map: Map) -> Option<Vec<u8>> {
    let (mut data, mut size) = (null_mut(), 0);
    // SAFETY: both pointers are to locals that outlive the call, and the ABI has the proxy write one pointer and one size there.
    let status = unsafe { proxy_get_header_map_pairs(map as u32, &raw mut data, &raw mut size) };
    if status != 0 {
        return None;
    }
    if data.is_null() {
        return Some(Vec::new());
    }
    // SAFETY: the proxy has taken `data` from this module's `malloc`, which gives a boxed slice of exactly `size` bytes of the global
    // allocator, has filled all of it, and has kept no pointer: it is this caller's alone.
    Some(unsafe { Box::from_raw(slice_from_raw_parts_mut(data, size)) }.into_vec())
}
