//! Work of one execution context enters on any streams; it is done one after another.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::call::check;
use super::device::Device;
use super::error::CudaError;
use super::stream::{Stream, Ticket};
use super::sys::{self, CUevent, cuda};

/// Keeps work that shares scratch memory in order: each waits, on the GPU, for the one before. Contexts that share scratch memory
/// share their order too; a graph has that of its context.
pub(crate) struct Order(Mutex<Last>);

/// What runs on streams one after another, and lives as long as its work: an execution context.
pub(crate) trait Ordered: Send + Sync {
    /// Its order.
    fn order(&self) -> &Order;

    /// What outdates the graphs that were captured from it.
    fn epoch(&self) -> &Epoch;
}

/// Counts what changes in an execution context, so that a graph tells whether it was captured from the context as it is now.
#[derive(Default)]
pub(crate) struct Epoch {
    number: AtomicU64,
    /// Was anything captured in this epoch?
    captured: AtomicBool,
}

impl Epoch {
    /// The number of this epoch, for what is captured now.
    pub(super) fn captured(&self) -> u64 {
        self.captured.store(true, Ordering::Release);
        self.number()
    }

    pub(super) fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Begins the next. Only in the order's turn, so that nothing is launched meanwhile.
    pub(crate) fn next(&self) {
        self.number.fetch_add(1, Ordering::AcqRel);
        self.captured.store(false, Ordering::Release);
    }
}

/// The newest work, and an event after it.
pub(crate) struct Last {
    event: CUevent,
    device: Device,
    ticket: Option<Ticket>,
}

// SAFETY: the driver takes its handles from any thread.
unsafe impl Send for Last {}

impl Order {
    pub(crate) fn new(device: &Device) -> Result<Self, CudaError> {
        device.bind()?;
        let mut event: CUevent = std::ptr::null_mut();
        let flags = sys::CU_EVENT_BLOCKING_SYNC | sys::CU_EVENT_DISABLE_TIMING;
        // SAFETY: the context is current; the driver writes to a place that lives.
        check("cuEventCreate", unsafe { cuda().cuEventCreate(&raw mut event, flags) })?;
        Ok(Self(Mutex::new(Last { event, device: device.clone(), ticket: None })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all its work is done.
    pub(crate) fn wait(&self) -> Result<(), CudaError> {
        self.lock().wait()
    }

    /// Outdates the graphs that were captured in that epoch, once those that were launched are done: what changes the execution
    /// context would change their run, too.
    pub(crate) fn outdate(&self, epoch: &Epoch) -> Result<(), CudaError> {
        if epoch.captured.load(Ordering::Acquire) {
            let turn = self.lock();
            turn.wait()?;
            epoch.next();
        }
        Ok(())
    }

    /// Waits for all its work and outdates the graphs that were captured in that epoch, whatever became of the work.
    pub(crate) fn end(&self, epoch: &Epoch) -> Result<(), CudaError> {
        let turn = self.lock();
        let waited = turn.wait();
        epoch.next();
        waited
    }
}

impl Last {
    /// Makes the stream wait for the work before, unless that was on the same stream or is known to be done.
    pub(super) fn begin(&self, stream: &Stream) -> Result<(), CudaError> {
        match &self.ticket {
            Some(last) if !last.is_of(stream) && !last.is_done() => {
                // SAFETY: both live.
                let result = unsafe { cuda().cuStreamWaitEvent(stream.0.raw, self.event, 0) };
                check("cuStreamWaitEvent", result)
            }
            _ => Ok(()),
        }
    }

    /// Marks the end of the work just put on the stream.
    pub(super) fn end(&mut self, stream: &Stream, ticket: Ticket) -> Result<(), CudaError> {
        self.ticket = Some(ticket);
        // SAFETY: both live.
        check("cuEventRecord", unsafe { cuda().cuEventRecord(self.event, stream.0.raw) })
    }

    /// Waits until all its work is done.
    pub(super) fn wait(&self) -> Result<(), CudaError> {
        self.ticket.as_ref().map_or(Ok(()), Ticket::wait)
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: it has no other owner; the driver destroys one that is still waited for on a stream when that has passed.
            let _ = unsafe { cuda().cuEventDestroy_v2(self.event) };
        }
    }
}
