//! A GPU is reset only where nobody else in the process knows CUDA. A library that is loaded stays, so this is a process of its own.

mod support;

use forebay_bindings::cuda::{CudaError, Driver};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use support::double::{device, double};
use tensorrt_double::CUDA;

#[test]
fn a_gpu_is_not_reset_under_another_library_that_uses_cuda() {
    let _held = double();
    let driver = Driver::load().unwrap();
    let used = device();
    assert!(matches!(driver.reset(0), Err(CudaError::Busy { .. })));
    drop(used);
    driver.reset(0).unwrap();

    // The name of the driver is in it, and its own name is none of NVIDIA's.
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("libprovider.so");
    std::fs::copy(CUDA, &other).unwrap();
    // SAFETY: it is the double's own code once more, which does nothing as it is loaded.
    let other_loaded = unsafe { Library::open(Some(&other), RTLD_NOW | RTLD_LOCAL) }.unwrap();
    let refused = driver.reset(0).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("the GPU's context can't be reset: {} uses CUDA in this process, too", other.display())
    );
    std::mem::forget(other_loaded);
}
