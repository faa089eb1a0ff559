//! Work enters in order; it is done later, in that order. [`super::Event`]s and the stream's own wait tell when.

use std::ffi::c_void;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use super::call::check;
use super::device::Device;
use super::error::CudaError;
use super::graph::Captured;
use super::memory::{Access, DeviceBuffer, Memory, PinnedBuffer};
use super::order::{Last, Ordered};
use super::sys::{self, CUstream, cuda};

/// A queue of work on a GPU. A handle: cheap to clone, used by any thread; threads take turns.
///
/// The default stream never waits for it, nor it for the default stream. It keeps its GPU's handle. When the last handle goes, the
/// work that is on it is still done.
#[derive(Clone)]
pub struct Stream(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) raw: CUstream,
    pub(super) device: Device,
    state: Mutex<State>,
    /// All work up to this number is known to be done.
    done: AtomicU64,
}

/// What changes as work comes.
#[derive(Default)]
struct State {
    /// The number of the newest work.
    newest: u64,
    /// A graph that is being captured, and the thread that does it.
    capture: Option<(ThreadId, Captured)>,
}

// SAFETY: the driver takes its handles from any thread.
unsafe impl Send for Inner {}
// SAFETY: the driver is thread-safe, and what is ours is behind a mutex.
unsafe impl Sync for Inner {}

/// A piece of work: a stream, and its number there.
#[derive(Clone)]
pub(crate) struct Ticket {
    stream: Arc<Inner>,
    number: u64,
}

impl Ticket {
    pub(super) fn same_stream(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.stream, &other.stream)
    }

    pub(super) fn is_of(&self, stream: &Stream) -> bool {
        Arc::ptr_eq(&self.stream, &stream.0)
    }

    /// Becomes the later of two on the same stream.
    pub(super) fn advance(&mut self, other: &Self) {
        self.number = self.number.max(other.number);
    }

    /// Is the work known to be done?
    pub(super) fn is_done(&self) -> bool {
        self.stream.done.load(Ordering::Acquire) >= self.number
    }

    /// Notes that it is.
    pub(super) fn set_done(&self) {
        self.stream.done.fetch_max(self.number, Ordering::AcqRel);
    }

    /// Waits until it is.
    pub(super) fn wait(&self) -> Result<(), CudaError> {
        if self.is_done() { Ok(()) } else { Stream(self.stream.clone()).synchronize() }
    }
}

impl Device {
    /// Makes a stream.
    ///
    /// # Errors
    /// The driver fails.
    pub fn stream(&self) -> Result<Stream, CudaError> {
        self.bind()?;
        let mut raw: CUstream = std::ptr::null_mut();
        let flags = sys::CU_STREAM_NON_BLOCKING;
        // SAFETY: the context is current; the driver writes to a place that lives.
        check("cuStreamCreate", unsafe { cuda().cuStreamCreate(&raw mut raw, flags) })?;
        let (state, done) = (Mutex::default(), AtomicU64::new(0));
        Ok(Stream(Arc::new(Inner { raw, device: self.clone(), state, done })))
    }
}

impl Stream {
    /// Copies bytes from the host to the GPU.
    ///
    /// # Errors
    /// A range leaves its buffer, a buffer is in use, or the driver fails.
    pub fn upload(
        &self,
        from: &PinnedBuffer,
        range: Range<usize>,
        to: &DeviceBuffer,
        at: usize,
    ) -> Result<(), CudaError> {
        let len = range.len();
        let source = from.memory().range(range.start, len)?;
        let target = to.memory().range(at, len)?;
        let uses = [(from.memory(), Access::Read), (to.memory(), Access::Write)];
        self.submit(uses, None, |raw| {
            // SAFETY: both ranges are inside their memory, which the claims keep alive and out of other hands until it is done.
            let result =
                unsafe { cuda().cuMemcpyHtoDAsync_v2(target as u64, source as *const c_void, len, raw) };
            check("cuMemcpyHtoDAsync", result)
        })?;
        Ok(())
    }

    /// Copies bytes from the GPU to the host.
    ///
    /// # Errors
    /// As [`Stream::upload`].
    pub fn download(
        &self,
        from: &DeviceBuffer,
        range: Range<usize>,
        to: &PinnedBuffer,
        at: usize,
    ) -> Result<(), CudaError> {
        let len = range.len();
        let source = from.memory().range(range.start, len)?;
        let target = to.memory().range(at, len)?;
        let uses = [(from.memory(), Access::Read), (to.memory(), Access::Write)];
        self.submit(uses, None, |raw| {
            // SAFETY: as in `upload`.
            let result =
                unsafe { cuda().cuMemcpyDtoHAsync_v2(target as *mut c_void, source as u64, len, raw) };
            check("cuMemcpyDtoHAsync", result)
        })?;
        Ok(())
    }

    /// Waits for all work that was put on the stream before.
    ///
    /// # Errors
    /// Work failed, or a graph is being captured.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        let ticket = {
            let state = self.state();
            if state.capture.is_some() {
                return Err(CudaError::Capturing { what: "to wait for it" });
            }
            Ticket { stream: self.0.clone(), number: state.newest }
        };
        self.0.device.bind()?;
        // SAFETY: the stream lives.
        check("cuStreamSynchronize", unsafe { cuda().cuStreamSynchronize(self.0.raw) })?;
        ticket.set_done();
        Ok(())
    }

    /// Is all work that was put on the stream before done? Doesn't wait.
    ///
    /// # Errors
    /// Work failed, or a graph is being captured.
    pub fn is_done(&self) -> Result<bool, CudaError> {
        let state = self.state();
        if state.capture.is_some() {
            return Err(CudaError::Capturing { what: "to ask whether it is done" });
        }
        self.0.device.bind()?;
        // SAFETY: the stream lives.
        match unsafe { cuda().cuStreamQuery(self.0.raw) } {
            sys::CUDA_ERROR_NOT_READY => Ok(false),
            other => {
                check("cuStreamQuery", other)?;
                Ticket { stream: self.0.clone(), number: state.newest }.set_done();
                Ok(true)
            }
        }
    }

    /// The GPU that it is of.
    pub fn device(&self) -> &Device {
        &self.0.device
    }

    /// Puts work on the stream that uses memory, in order with the other work of the same context.
    pub(crate) fn submit<'a, E: From<CudaError>>(
        &self,
        uses: impl IntoIterator<Item = (&'a Arc<Memory>, Access)>,
        ordered: Option<&Arc<dyn Ordered>>,
        work: impl FnOnce(CUstream) -> Result<(), E>,
    ) -> Result<Option<Ticket>, E> {
        self.put(ordered.map(|ordered| (ordered, ordered.order().lock())), uses, work)
    }

    /// Does work of a context that has the context for itself: once what was put on streams before is done.
    pub(crate) fn submit_alone<E: From<CudaError>>(
        &self,
        ordered: &Arc<dyn Ordered>,
        work: impl FnOnce(CUstream) -> Result<(), E>,
    ) -> Result<(), E> {
        let turn = ordered.order().lock();
        turn.wait()?;
        self.put(Some((ordered, turn)), std::iter::empty(), work).map(drop)
    }

    /// The choke point of work: claims what it uses and puts it on the stream while it is the context's turn. While a graph is
    /// captured, notes all that in the graph instead, and returns no ticket.
    pub(super) fn put<'a, E: From<CudaError>>(
        &self,
        turn: Option<(&Arc<dyn Ordered>, MutexGuard<'_, Last>)>,
        uses: impl IntoIterator<Item = (&'a Arc<Memory>, Access)>,
        work: impl FnOnce(CUstream) -> Result<(), E>,
    ) -> Result<Option<Ticket>, E> {
        let mut state = self.state();
        self.0.device.bind()?;
        if let Some((thread, captured)) = &mut state.capture {
            if *thread != thread::current().id() {
                return Err(CudaError::Capturing { what: "work of another thread" }.into());
            }
            captured.keep(uses, turn.map(|(ordered, _)| ordered), &self.0.device)?;
            return work(self.0.raw).map(|()| None);
        }
        state.newest += 1;
        let ticket = Ticket { stream: self.0.clone(), number: state.newest };
        for (memory, access) in uses {
            if memory.device() != &self.0.device {
                return Err(CudaError::OtherDevice { what: "a buffer" }.into());
            }
            memory.claim(&ticket, access)?;
        }
        if let Some((_, last)) = &turn {
            last.begin(self)?;
        }
        let worked = work(self.0.raw);
        // Even work that failed may have begun.
        if let Some((_, mut last)) = turn {
            last.end(self, ticket.clone())?;
        }
        worked.map(|()| Some(ticket))
    }

    /// Is a graph being captured on it?
    pub(crate) fn is_capturing(&self) -> bool {
        self.state().capture.is_some()
    }

    /// Runs `record` with a ticket of the newest work, so that what is recorded comes after it and before all that follows.
    pub(super) fn mark(
        &self,
        what: &'static str,
        record: impl FnOnce(CUstream) -> Result<(), CudaError>,
    ) -> Result<Ticket, CudaError> {
        let state = self.state();
        if state.capture.is_some() {
            return Err(CudaError::Capturing { what });
        }
        self.0.device.bind()?;
        record(self.0.raw)?;
        Ok(Ticket { stream: self.0.clone(), number: state.newest })
    }

    pub(super) fn begin_capture(&self) -> Result<(), CudaError> {
        let mut state = self.state();
        if state.capture.is_some() {
            return Err(CudaError::Capturing { what: "another graph" });
        }
        self.0.device.bind()?;
        let mode = sys::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives and isn't the default one.
        check("cuStreamBeginCapture", unsafe { cuda().cuStreamBeginCapture_v2(self.0.raw, mode) })?;
        state.capture = Some((thread::current().id(), Captured::default()));
        Ok(())
    }

    /// Ends a capture. The graph is null when the driver fails.
    pub(super) fn end_capture(&self) -> (Result<sys::CUgraph, CudaError>, Captured) {
        let mut state = self.state();
        let mut graph: sys::CUgraph = std::ptr::null_mut();
        let ended = self.0.device.bind().and_then(|()| {
            // SAFETY: the capture began on this stream and thread; the driver writes to a place that lives.
            check("cuStreamEndCapture", unsafe { cuda().cuStreamEndCapture(self.0.raw, &raw mut graph) })
        });
        let captured = state.capture.take().map(|(_, captured)| captured).unwrap_or_default();
        (ended.map(|()| graph), captured)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "stream of {:?}", self.0.device)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: no handle is left; the driver lets the work end before it destroys the stream. A failure leaves nothing to do.
            let _ = unsafe { cuda().cuStreamDestroy_v2(self.raw) };
        }
    }
}
