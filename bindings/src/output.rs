//! Memory for an output whose size is known only as it is computed: TensorRT asks for bytes as it runs, and tells the shape.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::bridge::ffi::Dims;
use crate::cuda::{Access, CudaError, Device, DeviceBuffer, Ticket};

/// An output's memory, which only grows. Called by TensorRT from inside a context's `enqueue`. Two handles: TensorRT's and the
/// context's.
#[derive(Clone)]
pub(crate) struct OutputMemory(Arc<Mutex<State>>);

struct State {
    device: Device,
    buffer: Option<DeviceBuffer>,
    /// Buffers that grew too small; work may still use them.
    outgrown: Vec<DeviceBuffer>,
    shape: Option<Dims>,
    failed: Option<CudaError>,
}

impl OutputMemory {
    pub(crate) fn new(device: &Device) -> Self {
        let device = device.clone();
        Self(Arc::new(Mutex::new(State {
            device,
            buffer: None,
            outgrown: Vec::new(),
            shape: None,
            failed: None,
        })))
    }

    /// Called by TensorRT: the address of that many bytes at least, or 0. Nothing may be freed here: the stream is in use.
    pub(crate) fn reserve(&self, size: usize) -> usize {
        let mut state = self.state();
        if let Some(buffer) = &state.buffer
            && buffer.len() >= size
        {
            return buffer.memory().address();
        }
        // Twice as much as before, so that slow growth is not an allocation a run.
        let twice = state.buffer.as_ref().map_or(0, |buffer| buffer.len() * 2);
        let allocated = state.device.alloc(size.max(twice)).or_else(|_| state.device.alloc(size));
        match allocated {
            Ok(buffer) => {
                let address = buffer.memory().address();
                let outgrown = state.buffer.replace(buffer);
                state.outgrown.extend(outgrown);
                address
            }
            Err(error) => {
                state.failed = Some(error);
                0
            }
        }
    }

    /// Called by TensorRT: the shape of this run's output.
    pub(crate) fn notify(&self, dims: &[i64]) {
        let mut shape = Dims { len: dims.len().min(8), dims: [0; 8] };
        for (to, from) in shape.dims.iter_mut().zip(dims) {
            *to = *from;
        }
        self.state().shape = Some(shape);
    }

    /// Before a run: forgets the run before, and gives back what can be freed now.
    pub(crate) fn start(&self) -> Vec<DeviceBuffer> {
        let mut state = self.state();
        state.shape = None;
        state.failed = None;
        std::mem::take(&mut state.outgrown)
    }

    /// After a run: notes that it uses the memory.
    pub(crate) fn claim(&self, ticket: &Ticket) -> Result<(), CudaError> {
        let state = self.state();
        state
            .buffer
            .iter()
            .chain(&state.outgrown)
            .try_for_each(|buffer| buffer.memory().claim(ticket, Access::Write))
    }

    /// The buffer that a run will write, if it is large enough.
    pub(crate) fn buffer(&self) -> Option<DeviceBuffer> {
        self.state().buffer.clone()
    }

    /// The buffer and shape of the newest run.
    pub(crate) fn result(&self) -> Option<(DeviceBuffer, Dims)> {
        let state = self.state();
        Some((state.buffer.clone()?, state.shape?))
    }

    /// Why memory was refused in the newest run.
    pub(crate) fn failure(&self) -> Option<CudaError> {
        self.state().failed.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
