//! A size enters; memory of the GPU, or of the host for the GPU to copy from and to, leaves. [`super::Stream`]s use it.

use std::ffi::c_void;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::account::Held;
use super::call::check;
use super::device::Device;
use super::error::CudaError;
use super::stream::Ticket;
use super::sys::{self, cuda};

/// Where TensorRT wants each tensor to begin: a multiple of it.
pub(crate) const ALIGNMENT: usize = 256;

/// Does work read a buffer, or write it?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Device,
    Pinned,
}

/// Memory and who uses it. Freed when the last handle goes and its last use is done.
pub(crate) struct Memory {
    kind: Kind,
    address: usize,
    len: usize,
    device: Device,
    usage: Mutex<Usage>,
    /// Of the GPU's memory, on its account.
    _held: Option<Held>,
}

/// Who uses memory: guards of the host, or the work of the last ticket.
#[derive(Default)]
struct Usage {
    readers: usize,
    writer: bool,
    last: Option<Ticket>,
}

/// Memory of the GPU. A handle: cheap to clone, used by any thread. Its bytes are what work on streams puts there.
#[derive(Clone)]
pub struct DeviceBuffer(Arc<Memory>);

/// Memory of the host that the GPU copies from and to, without a copy between. A handle: cheap to clone, used by any thread.
#[derive(Clone)]
pub struct PinnedBuffer(Arc<Memory>);

/// A pinned buffer's bytes, lent to the host for reading.
pub struct PinnedRead<'a>(&'a Memory);

/// A pinned buffer's bytes, lent to the host alone.
pub struct PinnedWrite<'a>(&'a Memory);

impl Device {
    /// Allocates memory of the GPU, whole multiples of 256 bytes. What is in it at first is not known.
    ///
    /// # Errors
    /// There is not enough.
    pub fn alloc(&self, len: usize) -> Result<DeviceBuffer, CudaError> {
        self.bind()?;
        let total = self.memory()?.total;
        // A length near the type's end is refused as any other that is too large.
        let rounded = len.max(1).checked_next_multiple_of(ALIGNMENT).filter(|rounded| *rounded <= total);
        let Some(rounded) = rounded else { return Err(self.out_of_memory(len)) };
        let mut address = 0;
        // SAFETY: the context is current; the driver writes to a place that lives.
        match unsafe { cuda().cuMemAlloc_v2(&raw mut address, rounded) } {
            sys::CUDA_ERROR_OUT_OF_MEMORY => return Err(self.out_of_memory(len)),
            other => check("cuMemAlloc", other)?,
        }
        let address = usize::try_from(address).unwrap_or(0);
        Ok(DeviceBuffer(Arc::new(Memory::new(Kind::Device, address, rounded, self))))
    }

    /// Allocates memory of the host that the GPU copies from and to, all zero.
    ///
    /// # Errors
    /// There is not enough.
    pub fn alloc_pinned(&self, len: usize) -> Result<PinnedBuffer, CudaError> {
        self.bind()?;
        let mut address: *mut c_void = std::ptr::null_mut();
        let len = len.max(1);
        // SAFETY: the context is current; the driver writes to a place that lives.
        check("cuMemHostAlloc", unsafe { cuda().cuMemHostAlloc(&raw mut address, len, 0) })?;
        // SAFETY: the driver gave `len` bytes there, which nobody else knows of yet.
        unsafe { std::ptr::write_bytes(address.cast::<u8>(), 0, len) };
        Ok(PinnedBuffer(Arc::new(Memory::new(Kind::Pinned, address as usize, len, self))))
    }

    fn out_of_memory(&self, wanted: usize) -> CudaError {
        match self.memory() {
            Ok(memory) => CudaError::OutOfMemory { wanted, free: memory.free, total: memory.total },
            Err(error) => error,
        }
    }
}

impl DeviceBuffer {
    /// Bytes.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Never: the smallest buffer has 256 bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The GPU that it is of.
    pub fn device(&self) -> &Device {
        &self.0.device
    }

    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.0
    }
}

impl PinnedBuffer {
    /// Bytes.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Never: the smallest buffer has one byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lends the bytes for reading.
    ///
    /// # Errors
    /// Work that uses them is not known to be done: wait for an [`super::Event`] after it, or for its stream. Or they are lent for
    /// writing.
    pub fn read(&self) -> Result<PinnedRead<'_>, CudaError> {
        let mut usage = self.0.idle()?;
        usage.readers += 1;
        Ok(PinnedRead(&self.0))
    }

    /// Lends the bytes for writing.
    ///
    /// # Errors
    /// As [`PinnedBuffer::read`], or they are lent for reading.
    pub fn write(&self) -> Result<PinnedWrite<'_>, CudaError> {
        let mut usage = self.0.idle()?;
        if usage.readers > 0 {
            return Err(self.0.busy("the host reads it"));
        }
        usage.writer = true;
        Ok(PinnedWrite(&self.0))
    }

    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.0
    }
}

impl Memory {
    fn new(kind: Kind, address: usize, len: usize, device: &Device) -> Self {
        let held = (kind == Kind::Device).then(|| device.account().hold(len));
        Self { kind, address, len, device: device.clone(), usage: Mutex::default(), _held: held }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Is it the same memory?
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.address == other.address && self.kind == other.kind
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn address(&self) -> usize {
        self.address
    }

    /// The address of `len` bytes at `offset`.
    pub(crate) fn range(&self, offset: usize, len: usize) -> Result<usize, CudaError> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(self.address + offset),
            _ => Err(CudaError::Range { offset, len, size: self.len }),
        }
    }

    /// Notes that the work of the ticket uses the memory.
    ///
    /// # Errors
    /// The host or another stream may be using it.
    pub(crate) fn claim(&self, ticket: &Ticket, access: Access) -> Result<(), CudaError> {
        let mut usage = self.usage();
        if usage.writer || (usage.readers > 0 && access == Access::Write) {
            return Err(self.busy("the host has it"));
        }
        match &mut usage.last {
            Some(last) if last.same_stream(ticket) => last.advance(ticket),
            Some(last) if !last.is_done() => return Err(self.busy("another stream may not be done with it")),
            last => *last = Some(ticket.clone()),
        }
        Ok(())
    }

    /// The usage of memory that neither work nor a writing host has.
    fn idle(&self) -> Result<MutexGuard<'_, Usage>, CudaError> {
        let usage = self.usage();
        if usage.writer {
            return Err(self.busy("the host writes it"));
        }
        if usage.last.as_ref().is_some_and(|last| !last.is_done()) {
            return Err(self.busy("work on a stream is not known to be done with it"));
        }
        Ok(usage)
    }

    fn busy(&self, by: &'static str) -> CudaError {
        let what = match self.kind {
            Kind::Device => "a buffer of the GPU",
            Kind::Pinned => "a pinned buffer",
        };
        CudaError::Busy { what, by }
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let usage = self.usage.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = usage.last.take()
            && last.wait().is_err()
        {
            // Whether the GPU still uses it can't be told: better lost than given to someone else.
            return;
        }
        if self.device.bind().is_err() {
            return;
        }
        // SAFETY: no handle is left, so no guard and no graph is either, and the work that used it is done. A failure leaves
        // nothing to do.
        let _ = unsafe {
            match self.kind {
                Kind::Device => cuda().cuMemFree_v2(self.address as u64),
                Kind::Pinned => cuda().cuMemFreeHost(self.address as *mut c_void),
            }
        };
    }
}

impl Deref for PinnedRead<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the memory has `len` initialised bytes and lives as long as the borrow; while the guard lives, neither work nor
        // a writing guard gets it.
        unsafe { std::slice::from_raw_parts(self.0.address as *const u8, self.0.len) }
    }
}

impl Drop for PinnedRead<'_> {
    fn drop(&mut self) {
        self.0.usage().readers -= 1;
    }
}

impl Deref for PinnedWrite<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: as for `PinnedRead`; this guard is the only one.
        unsafe { std::slice::from_raw_parts(self.0.address as *const u8, self.0.len) }
    }
}

impl DerefMut for PinnedWrite<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `PinnedRead`; this guard is the only one, and borrowed for writing.
        unsafe { std::slice::from_raw_parts_mut(self.0.address as *mut u8, self.0.len) }
    }
}

impl Drop for PinnedWrite<'_> {
    fn drop(&mut self) {
        self.0.usage().writer = false;
    }
}
