//! CUDA's driver as its header declares it, by bindgen: what crosses are integers and addresses, for a driver may answer with
//! numbers that no header of ours knows. `build.rs` says which functions; all of them must be in the driver that is found here.

#![allow(
    missing_docs,
    unreachable_pub,
    non_camel_case_types,
    non_snake_case,
    dead_code,
    unsafe_op_in_unsafe_fn
)]
#![allow(clippy::all, clippy::pedantic, clippy::undocumented_unsafe_blocks)]

use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::error::CudaError;
use crate::error::said;

include!(concat!(env!("OUT_DIR"), "/cuda.rs"));

/// Where the system's loader finds it.
pub(super) const NAME: &str = "libcuda.so.1";

static LOADED: OnceLock<Result<Functions, CudaError>> = OnceLock::new();

/// Loads the driver, once a process; it stays. Later calls get the outcome.
pub(super) fn load() -> Result<&'static Functions, CudaError> {
    LOADED.get_or_init(|| load_now(NAME)).as_ref().map_err(Clone::clone)
}

fn load_now(name: &str) -> Result<Functions, CudaError> {
    // SAFETY: what runs as the library is loaded is its own initialisation.
    let library = unsafe { Library::open(Some(name), RTLD_NOW | RTLD_LOCAL) };
    let library = library.map_err(|error| CudaError::NoDriver { reason: said(&error) })?;
    // SAFETY: the functions are those that the header declares: NVIDIA keeps the meaning of each name.
    let functions = unsafe { Functions::from_library(library) };
    functions.map_err(|error| CudaError::TooOld { reason: said(&error) })
}

/// The driver's functions. It is loaded, for whatever calls one of them has something that the driver made.
pub(super) fn cuda() -> &'static Functions {
    match load() {
        Ok(functions) => functions,
        Err(error) => unreachable!("{error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_is_not_there_or_lacks_a_function_is_told_from_others_by_what_is_missing() {
        let refused = |name: &str| load_now(name).err().map(|error| error.to_string()).unwrap_or_default();
        let none = refused("/nowhere/libcuda.so.1");
        assert!(none.starts_with("CUDA's driver can't be loaded: /nowhere/libcuda.so.1: "), "{none}");
        // It has none of them; the first that is looked for is named.
        let old = refused("libm.so.6");
        assert!(
            old.starts_with("CUDA's driver is too old: ") && old.contains("undefined symbol: cu"),
            "{old}"
        );
    }
}
