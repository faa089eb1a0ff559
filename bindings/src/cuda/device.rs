//! The number of a GPU enters; the GPU leaves, on which streams, events and memory are made.

use std::ffi::{CStr, c_char, c_int};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::account::Account;
use super::call::check;
use super::error::CudaError;
use super::others;
use super::sys::{self, CUcontext, CUdevice, CUdevice_attribute, cuda};

/// The GPUs whose contexts are retained, each as often as it is: such a context isn't reset.
static RETAINED: Mutex<Vec<CUdevice>> = Mutex::new(Vec::new());

/// A GPU, with its primary context, which TensorRT uses too. A handle: cheap to clone, used by any thread.
///
/// Everything that is made on it keeps a handle of it; the context is released with the last.
#[derive(Clone)]
pub struct Device {
    inner: Arc<Inner>,
    account: Account,
}

struct Inner {
    raw: CUdevice,
    context: CUcontext,
    name: String,
    compute_capability: (i32, i32),
}

// SAFETY: the driver takes its handles from any thread.
unsafe impl Send for Inner {}
// SAFETY: the driver is thread-safe.
unsafe impl Sync for Inner {}

/// A GPU's memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryInfo {
    /// What is free, for every process.
    pub free: usize,
    /// What there is.
    pub total: usize,
}

impl Device {
    pub(super) fn new(ordinal: c_int) -> Result<Self, CudaError> {
        let mut raw: CUdevice = 0;
        // SAFETY: the driver is loaded, for only it makes devices; it writes to a place that lives.
        check("cuDeviceGet", unsafe { cuda().cuDeviceGet(&raw mut raw, ordinal) })?;
        let name = name(raw)?;
        let capability = sys::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR;
        let major = attribute(raw, capability)?;
        let minor = attribute(raw, sys::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let mut context: CUcontext = std::ptr::null_mut();
        let mut all = retained();
        // SAFETY: the driver gave the device and writes to a place that lives.
        let result = unsafe { cuda().cuDevicePrimaryCtxRetain(&raw mut context, raw) };
        check("cuDevicePrimaryCtxRetain", result)?;
        all.push(raw);
        drop(all);
        let inner = Arc::new(Inner { raw, context, name, compute_capability: (major, minor) });
        let device = Self { inner, account: Account::default() };
        device.bind()?;
        Ok(device)
    }

    /// Resets the GPU's context: see [`super::Driver::reset`].
    pub(super) fn reset(ordinal: c_int) -> Result<(), CudaError> {
        let mut raw: CUdevice = 0;
        // SAFETY: as in `new`.
        check("cuDeviceGet", unsafe { cuda().cuDeviceGet(&raw mut raw, ordinal) })?;
        let all = retained();
        if all.contains(&raw) {
            return Err(CudaError::Busy {
                what: "the GPU's context",
                by: "what was made in it is still there",
            });
        }
        others::check_alone()?;
        // SAFETY: nothing that this crate made in the context is left, for all of it keeps a handle of its GPU; the lock keeps
        // others from retaining it meanwhile. No library that knows CUDA was loaded a moment ago, beside NVIDIA's that do nothing of
        // their own accord; that none is loaded and used from there to here is what callers of `Driver::reset` see to.
        check("cuDevicePrimaryCtxReset", unsafe { cuda().cuDevicePrimaryCtxReset_v2(raw) })
    }

    /// A handle of the same GPU whose memory is counted: what is made by way of it goes to that account.
    #[must_use]
    pub fn accounted(&self, account: &Account) -> Self {
        Self { inner: self.inner.clone(), account: account.clone() }
    }

    /// Where the memory goes that is taken by way of this handle.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Its number among those that this process sees.
    pub fn ordinal(&self) -> i32 {
        self.inner.raw
    }

    /// Its name, as "NVIDIA L4".
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Major and minor number of its architecture.
    pub fn compute_capability(&self) -> (i32, i32) {
        self.inner.compute_capability
    }

    /// How much memory it has and how much is free.
    ///
    /// # Errors
    /// The driver fails.
    pub fn memory(&self) -> Result<MemoryInfo, CudaError> {
        self.bind()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: the context is current; the driver writes to places that live.
        check("cuMemGetInfo", unsafe { cuda().cuMemGetInfo_v2(&raw mut free, &raw mut total) })?;
        Ok(MemoryInfo { free, total })
    }

    /// Waits for all work on the GPU and tells whether its context still works.
    ///
    /// # Errors
    /// It doesn't; [`CudaError::is_sticky`] says if it has to be made anew.
    pub fn check(&self) -> Result<(), CudaError> {
        self.bind()?;
        // SAFETY: the context is current.
        check("cuCtxSynchronize", unsafe { cuda().cuCtxSynchronize() })
    }

    /// Makes its context this thread's, for calls of the driver and of TensorRT.
    pub(crate) fn bind(&self) -> Result<(), CudaError> {
        // SAFETY: the context is retained as long as this handle lives.
        check("cuCtxSetCurrent", unsafe { cuda().cuCtxSetCurrent(self.inner.context) })
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        self.inner.raw == other.inner.raw
    }
}

impl Eq for Device {}

impl fmt::Debug for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "GPU {} ({})", self.inner.raw, self.inner.name)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut all = retained();
        // SAFETY: retained once when made; whatever used it kept a handle, so nothing does now. A failure leaves nothing to do.
        let _ = unsafe { cuda().cuDevicePrimaryCtxRelease_v2(self.raw) };
        if let Some(place) = all.iter().position(|raw| *raw == self.raw) {
            all.swap_remove(place);
        }
    }
}

fn retained() -> MutexGuard<'static, Vec<CUdevice>> {
    RETAINED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name(device: CUdevice) -> Result<String, CudaError> {
    let mut text: [c_char; 256] = [0; 256];
    let len = c_int::try_from(text.len()).unwrap_or(0);
    // SAFETY: the driver writes at most `len` bytes, the last a zero.
    check("cuDeviceGetName", unsafe { cuda().cuDeviceGetName(text.as_mut_ptr(), len, device) })?;
    // SAFETY: the text ends with a zero at the latest at its last place, which was zero before.
    Ok(unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy().into_owned())
}

fn attribute(device: CUdevice, which: CUdevice_attribute) -> Result<i32, CudaError> {
    let mut value = 0;
    // SAFETY: the driver writes to a place that lives.
    check("cuDeviceGetAttribute", unsafe { cuda().cuDeviceGetAttribute(&raw mut value, which, device) })?;
    Ok(value)
}
