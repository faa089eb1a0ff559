//! A place in a stream's work enters; when all before it is done, a wait for the event ends.

use std::time::Duration;

use super::call::check;
use super::device::Device;
use super::error::CudaError;
use super::stream::{Stream, Ticket};
use super::sys::{self, CUevent, cuda};

/// A place in a stream's work. One owner; recorded by one thread at a time, waited for by any.
///
/// It keeps handles of its GPU and of the stream that it was last recorded on.
pub struct Event {
    raw: CUevent,
    device: Device,
    timed: bool,
    place: Option<Ticket>,
}

// SAFETY: the driver takes its handles from any thread.
unsafe impl Send for Event {}
// SAFETY: the driver is thread-safe; what changes it here takes `&mut`.
unsafe impl Sync for Event {}

impl Device {
    /// Makes an event. Waits for it sleep rather than spin.
    ///
    /// # Errors
    /// The driver fails.
    pub fn event(&self) -> Result<Event, CudaError> {
        let flags = sys::CU_EVENT_BLOCKING_SYNC | sys::CU_EVENT_DISABLE_TIMING;
        self.event_with(flags, false)
    }

    /// Makes an event that notes the time too, which costs the GPU a little.
    ///
    /// # Errors
    /// The driver fails.
    pub fn timed_event(&self) -> Result<Event, CudaError> {
        self.event_with(sys::CU_EVENT_BLOCKING_SYNC, true)
    }

    fn event_with(&self, flags: u32, timed: bool) -> Result<Event, CudaError> {
        self.bind()?;
        let mut raw: CUevent = std::ptr::null_mut();
        // SAFETY: the context is current; the driver writes to a place that lives.
        check("cuEventCreate", unsafe { cuda().cuEventCreate(&raw mut raw, flags) })?;
        Ok(Event { raw, device: self.clone(), timed, place: None })
    }
}

impl Event {
    /// Marks the place after all work that is on the stream now.
    ///
    /// # Errors
    /// The stream is of another GPU, a graph is being captured on it, or the driver fails.
    pub fn record(&mut self, stream: &Stream) -> Result<(), CudaError> {
        if stream.device() != &self.device {
            return Err(CudaError::OtherDevice { what: "the event" });
        }
        self.place = Some(stream.mark("to record an event", |raw| {
            // SAFETY: both live.
            check("cuEventRecord", unsafe { cuda().cuEventRecord(self.raw, raw) })
        })?);
        Ok(())
    }

    /// Waits, asleep, until all work before the place is done. Buffers that only that work used are free for the host then. An
    /// event that was never recorded is passed at once.
    ///
    /// # Errors
    /// The work failed.
    pub fn wait(&self) -> Result<(), CudaError> {
        let Some(place) = &self.place else { return Ok(()) };
        self.device.bind()?;
        // SAFETY: the event lives.
        check("cuEventSynchronize", unsafe { cuda().cuEventSynchronize(self.raw) })?;
        place.set_done();
        Ok(())
    }

    /// As [`Event::wait`], but doesn't wait: is the work done?
    ///
    /// # Errors
    /// The work failed.
    pub fn is_done(&self) -> Result<bool, CudaError> {
        let Some(place) = &self.place else { return Ok(true) };
        self.device.bind()?;
        // SAFETY: the event lives.
        match unsafe { cuda().cuEventQuery(self.raw) } {
            sys::CUDA_ERROR_NOT_READY => Ok(false),
            other => {
                check("cuEventQuery", other)?;
                place.set_done();
                Ok(true)
            }
        }
    }

    /// Time between two timed events, both recorded and passed; `None` if one was not made by [`Device::timed_event`].
    ///
    /// # Errors
    /// One was not recorded or not passed.
    pub fn since(&self, start: &Self) -> Result<Option<Duration>, CudaError> {
        if !(self.timed && start.timed) {
            return Ok(None);
        }
        self.device.bind()?;
        let mut milliseconds = 0.0_f32;
        // SAFETY: both events live and note times; the driver writes to a place that lives.
        let result = unsafe { cuda().cuEventElapsedTime(&raw mut milliseconds, start.raw, self.raw) };
        check("cuEventElapsedTime", result)?;
        Ok(Some(Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1e3)))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            // SAFETY: it has no other owner; the driver destroys one that is still waited for on a stream when that has passed.
            let _ = unsafe { cuda().cuEventDestroy_v2(self.raw) };
        }
    }
}
