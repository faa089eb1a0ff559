//! Shapes and memory of a context's tensors, by their numbers.

use super::Context;
use crate::bridge::ffi::Dims;
use crate::cuda::{ALIGNMENT, DeviceBuffer};
use crate::engine::Tensor;
use crate::enums::{DataType, TensorIOMode, TensorLocation};
use crate::error::Error;
use crate::output::OutputMemory;

/// Where a tensor's elements are.
pub(super) enum Slot {
    Unbound,
    /// Memory of the GPU, from a byte on.
    Device(DeviceBuffer, usize),
    /// Values of an input that decides shapes.
    Host(HostValues),
    /// An output that tells its size as it is computed, and its buffer of the run before.
    Allocated(OutputMemory, Option<DeviceBuffer>),
}

/// Bytes of the host that begin where TensorRT wants every tensor to begin, at a multiple of 256, and stay there.
pub(super) struct HostValues {
    blocks: Vec<Block>,
    len: usize,
}

#[repr(align(256))]
#[derive(Clone, Copy)]
struct Block([u8; ALIGNMENT]);

impl HostValues {
    fn new(bytes: &[u8]) -> Self {
        let blocks = bytes.chunks(ALIGNMENT).map(|chunk| {
            let mut block = Block([0; ALIGNMENT]);
            block.0[..chunk.len()].copy_from_slice(chunk);
            block
        });
        Self { blocks: blocks.collect(), len: bytes.len() }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn address(&self) -> usize {
        self.blocks.as_ptr() as usize
    }

    fn are(&self, bytes: &[u8]) -> bool {
        self.len == bytes.len()
            && self
                .blocks
                .iter()
                .zip(bytes.chunks(ALIGNMENT))
                .all(|(block, chunk)| block.0.starts_with(chunk))
    }
}

impl Context {
    /// Sets the dimensions of an input. What is set stays. Others than before outdate the graphs that were captured from this
    /// context, and wait for those of their launches that aren't done.
    ///
    /// # Errors
    /// It is no input, or the profile doesn't allow the dimensions.
    pub fn set_input_shape(&mut self, tensor: usize, dims: &[i64]) -> Result<(), Error> {
        self.check_is(tensor, TensorIOMode::Input)?;
        if self.shape(tensor).is_ok_and(|shape| *shape == *dims) {
            return Ok(());
        }
        self.checked = false;
        self.inner.outdate_graphs()?;
        Ok(self.inner.raw()?.pin_mut().set_input_shape(tensor, dims)?)
    }

    /// Sets the values of an input that decides shapes and lies in host memory.
    ///
    /// # Errors
    /// It is no such input, or there are more or fewer values than it has elements.
    pub fn set_input_values(&mut self, tensor: usize, values: &[i64]) -> Result<(), Error> {
        let about = self.about(tensor)?;
        if about.mode != TensorIOMode::Input || about.location != TensorLocation::Host {
            return Err(Error::Wrong(format!("{} is no input in host memory", about.name)));
        }
        let bytes = encode(about, values)?;
        if matches!(&self.slots[tensor], Slot::Host(there) if there.are(&bytes)) {
            return Ok(());
        }
        let size = self.inner.raw()?.size(tensor)?;
        if bytes.len() != size {
            let name = &about.name;
            return Err(Error::Wrong(format!("{name} takes {size} bytes of values, not {}", bytes.len())));
        }
        // TensorRT may read the values before as long as a run lasts.
        self.inner.order.wait()?;
        self.inner.outdate_graphs()?;
        self.checked = false;
        let values = HostValues::new(&bytes);
        self.inner.raw()?.pin_mut().bind(tensor, values.address())?;
        self.slots[tensor] = Slot::Host(values);
        Ok(())
    }

    /// The tensor's dimensions with the shapes set now; -1 where they aren't known yet.
    ///
    /// # Errors
    /// There is no such tensor.
    pub fn shape(&self, tensor: usize) -> Result<Dims, Error> {
        self.about(tensor)?;
        Ok(self.inner.raw()?.shape(tensor)?)
    }

    /// Bytes that the tensor takes with the shapes set now.
    ///
    /// # Errors
    /// Dimensions aren't known: shapes of inputs are missing, or it is an output that tells its size as it is computed.
    pub fn size(&self, tensor: usize) -> Result<usize, Error> {
        self.about(tensor)?;
        Ok(self.inner.raw()?.size(tensor)?)
    }

    /// Computes the outputs' shapes from the inputs'.
    ///
    /// # Errors
    /// An input's shape or values are missing (the message names it) or wrong.
    pub fn infer_shapes(&mut self) -> Result<(), Error> {
        Ok(self.inner.raw()?.pin_mut().infer_shapes()?)
    }

    /// Binds a tensor to memory of the GPU, from that byte on, a multiple of 256. It stays bound, and is kept, until it is bound
    /// anew. Whether it is large enough is checked by [`Context::enqueue`].
    ///
    /// # Errors
    /// The byte isn't such a multiple or not in the buffer, the buffer is of another GPU, or the tensor lies in host memory or is
    /// allocated as it is needed.
    pub fn bind(&mut self, tensor: usize, buffer: &DeviceBuffer, offset: usize) -> Result<(), Error> {
        let about = self.about(tensor)?;
        if matches!(&self.slots[tensor], Slot::Device(bound, at) if *at == offset && bound.memory().is(buffer.memory()))
        {
            return Ok(());
        }
        if about.location != TensorLocation::Device {
            return Err(Error::Wrong(format!("{} lies in host memory", about.name)));
        }
        if matches!(&self.slots[tensor], Slot::Allocated(..)) {
            return Err(Error::Wrong(format!("memory for {} is allocated as it is needed", about.name)));
        }
        if buffer.device() != &self.inner.device {
            return Err(Error::Wrong(format!(
                "the buffer for {} is of another GPU than the engine",
                about.name
            )));
        }
        if !offset.is_multiple_of(ALIGNMENT) {
            return Err(Error::Wrong(format!(
                "{} must begin at a multiple of 256 bytes, not {offset}",
                about.name
            )));
        }
        let address = buffer.memory().range(offset, 1)?;
        self.checked = false;
        self.inner.raw()?.pin_mut().bind(tensor, address)?;
        self.slots[tensor] = Slot::Device(buffer.clone(), offset);
        Ok(())
    }

    /// Lets memory for an output be allocated as it is needed: for outputs that tell their size as they are computed. It only
    /// grows. [`Context::output`] has it after a run.
    ///
    /// # Errors
    /// It is no output in GPU memory, or TensorRT refuses.
    pub fn allocate_output(&mut self, tensor: usize) -> Result<(), Error> {
        self.check_is(tensor, TensorIOMode::Output)?;
        let memory = OutputMemory::new(&self.inner.device);
        self.checked = false;
        // The allocator before goes away, and with it its memory, which runs may use.
        self.inner.order.wait()?;
        self.inner.raw()?.pin_mut().allocate_output(tensor, Box::new(memory.clone()))?;
        self.slots[tensor] = Slot::Allocated(memory, None);
        Ok(())
    }

    /// Memory and dimensions of an allocated output of the newest run. `None` before a run, and for outputs that are bound.
    pub fn output(&self, tensor: usize) -> Option<(DeviceBuffer, Dims)> {
        match self.slots.get(tensor)? {
            Slot::Allocated(memory, _) => memory.result(),
            _ => None,
        }
    }

    fn check_is(&self, tensor: usize, mode: TensorIOMode) -> Result<(), Error> {
        let about = self.about(tensor)?;
        if about.mode == mode {
            return Ok(());
        }
        let mode = if mode == TensorIOMode::Input { "input" } else { "output" };
        Err(Error::Wrong(format!("{} is no {mode}", about.name)))
    }

    pub(super) fn about(&self, tensor: usize) -> Result<&Tensor, Error> {
        let tensors = self.inner.engine.tensors();
        let none = || Error::Wrong(format!("there is no tensor {tensor}: the engine has {}", tensors.len()));
        tensors.get(tensor).ok_or_else(none)
    }
}

/// Values as the tensor's elements.
fn encode(tensor: &Tensor, values: &[i64]) -> Result<Vec<u8>, Error> {
    match tensor.dtype {
        DataType::Int64 => Ok(values.iter().flat_map(|value| value.to_ne_bytes()).collect()),
        DataType::Int32 => {
            let small = values.iter().map(|value| i32::try_from(*value)).collect::<Result<Vec<_>, _>>();
            let small =
                small.map_err(|_| Error::Wrong(format!("a value for {} needs 64 bits", tensor.name)))?;
            Ok(small.iter().flat_map(|value| value.to_ne_bytes()).collect())
        }
        other => Err(Error::Wrong(format!("{} has elements of {other:?}; shapes are integers", tensor.name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_host_begin_at_a_multiple_of_256_and_are_what_was_given() {
        for len in [1, 8, 255, 256, 257, 1000] {
            let bytes: Vec<u8> = (0..=250).cycle().take(len).collect();
            let values = HostValues::new(&bytes);
            assert!(values.address().is_multiple_of(256) && values.len() == len && values.are(&bytes));
            assert!(!values.are(&bytes[..len - 1]) && !values.are(&[1; 2000]));
        }
    }
}
