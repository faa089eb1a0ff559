//! IO binding: inputs are gathered into memory that the session's device reads by itself, and outputs are computed into such
//! memory, so that nothing is copied once more on the way to a GPU and back. Next: the session runs on what is bound.

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session};

use super::{failure, tensors};
use crate::config::Device;
use crate::engine::signature::TensorSpec;
use crate::engine::{EngineError, InputTensor};

/// What is bound to one session.
pub(super) struct Binding {
    pub(super) io: IoBinding,
    allocator: Allocator,
}

impl Binding {
    /// For a session on that device: pinned memory for a GPU's, plain memory for the CPU's.
    ///
    /// # Errors
    /// `Failed` when the session has no such memory.
    pub(super) fn to(session: &Session, device: Device) -> Result<Self, EngineError> {
        let place = match device {
            Device::Gpu(_) => AllocationDevice::CUDA_PINNED,
            Device::Cpu => AllocationDevice::CPU,
        };
        // Memory that is pinned for one GPU is for all (CUDA driver API, unified addressing).
        let memory = MemoryInfo::new(place, 0, AllocatorType::Device, MemoryType::CPUInput);
        let allocator = memory.and_then(|memory| Allocator::new(session, memory));
        let allocator = allocator.map_err(|error| failure(&error))?;
        Ok(Self { io: session.create_binding().map_err(|error| failure(&error))?, allocator })
    }

    /// Binds a request's inputs and the outputs that it wants.
    ///
    /// # Errors
    /// As [`tensors::view`], and `Failed`.
    pub(super) fn bind<'a>(
        &mut self,
        inputs: &[InputTensor<'_>],
        outputs: impl Iterator<Item = &'a TensorSpec>,
    ) -> Result<(), EngineError> {
        self.io.clear();
        for input in inputs {
            let value = tensors::placed(&self.allocator, input)?;
            self.io.bind_input(input.name, &value).map_err(|error| failure(&error))?;
        }
        // Anew for each run: what was bound before is a result that somebody may still read.
        for spec in outputs {
            let bound = self.io.bind_output_to_device(&spec.name, self.allocator.memory_info());
            bound.map_err(|error| failure(&error))?;
        }
        Ok(())
    }
}
