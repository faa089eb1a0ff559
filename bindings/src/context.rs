//! Shapes and buffers enter; runs on a stream leave.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cxx::UniquePtr;

use crate::bridge::ffi::{self, Dims};
use crate::cuda::{Access, CudaError, Device, DeviceBuffer, Held, Order, Ordered, Stream};
use crate::engine::{Engine, Tensor};
use crate::enums::{DataType, TensorIOMode, TensorLocation};
use crate::error::Error;
use crate::output::OutputMemory;
use crate::scratch::Scratch;

/// Runs an engine: shapes are set, buffers bound, and runs put on streams. One owner; it may move between threads.
///
/// It keeps its engine and the buffers that are bound. Its runs are done one after another, whatever streams they are put on:
/// each waits, on the GPU, for the one before. Runs that shall overlap need a context each. When it goes, it waits for its runs.
pub struct Context {
    slots: Vec<Slot>,
    /// Were the shapes inferred and the sizes of bound buffers checked since either changed?
    checked: bool,
    profile: usize,
    /// Scratch memory of its own, on the GPU's account.
    held: Held,
    inner: Arc<Inner>,
    /// The same as seen by streams.
    ordered: Arc<dyn Ordered>,
}

/// What work on streams and captured graphs keep.
struct Inner {
    // Before what it needs: fields are dropped in this order.
    raw: Mutex<UniquePtr<ffi::Context>>,
    order: Arc<Order>,
    epoch: AtomicU64,
    device: Device,
    scratch: Scratch,
    engine: Engine,
}

/// Where a tensor's elements are.
enum Slot {
    Unbound,
    /// Memory of the GPU, from a byte on.
    Device(DeviceBuffer, usize),
    /// Values of an input that decides shapes.
    Host(Vec<u8>),
    /// An output that tells its size as it is computed, and its buffer of the run before.
    Allocated(OutputMemory, Option<DeviceBuffer>),
}

// SAFETY: TensorRT's context is bound to no thread; the mutex around it lets one in at a time.
unsafe impl Send for ffi::Context {}

impl Ordered for Inner {
    fn order(&self) -> &Order {
        &self.order
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }
}

impl Context {
    pub(crate) fn new(
        mut raw: UniquePtr<ffi::Context>,
        engine: Engine,
        device: Device,
        scratch: Scratch,
    ) -> Result<Self, Error> {
        let order = match &scratch {
            Scratch::Shared(shared) => {
                if shared.buffer().device() != &device {
                    return Err(Error::Wrong("the scratch memory is of another GPU than the engine".into()));
                }
                let memory = shared.buffer().memory();
                raw.pin_mut().set_scratch(memory.address(), memory.len())?;
                shared.order()
            }
            Scratch::Own | Scratch::OwnPerProfile => Arc::new(Order::new(&device)?),
        };
        let own = match &scratch {
            Scratch::Own => {
                let sizes = (0..engine.profiles()).map(|profile| engine.scratch_size(profile));
                sizes.collect::<Result<Vec<_>, _>>()?.into_iter().max().unwrap_or(0)
            }
            Scratch::OwnPerProfile => engine.scratch_size(0)?,
            Scratch::Shared(_) => 0,
        };
        let held = device.account().hold(own);
        let slots = engine.tensors().iter().map(|_| Slot::Unbound).collect();
        let (raw, epoch) = (Mutex::new(raw), AtomicU64::new(0));
        let inner = Arc::new(Inner { raw, order, epoch, device, scratch, engine });
        Ok(Self { slots, checked: false, profile: 0, held, ordered: inner.clone(), inner })
    }

    /// The engine that it runs.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// The profile that it runs in: 0 at first.
    pub fn profile(&self) -> usize {
        self.profile
    }

    /// Takes another profile, on the stream. Shapes must be set anew; graphs captured before can't be launched any more.
    ///
    /// # Errors
    /// There is no such profile, or TensorRT refuses.
    pub fn set_profile(&mut self, profile: usize, stream: &Stream) -> Result<(), Error> {
        let number = self.engine().profile(profile)?;
        if stream.is_capturing() {
            return Err(CudaError::Capturing { what: "another profile" }.into());
        }
        if let Scratch::Shared(shared) = &self.inner.scratch {
            let needed = self.engine().scratch_size(profile)?;
            if shared.len() < needed {
                let len = shared.len();
                return Err(Error::Wrong(format!(
                    "profile {profile} needs {needed} bytes of scratch memory; the shared has {len}"
                )));
            }
        }
        self.checked = false;
        // Its own memory may be allocated anew, so nothing may run in it.
        stream.submit_alone(&self.ordered, |stream| -> Result<(), Error> {
            self.inner.epoch.fetch_add(1, Ordering::AcqRel);
            Ok(self.inner.raw().pin_mut().set_profile(number, stream as usize)?)
        })?;
        self.profile = profile;
        if matches!(self.inner.scratch, Scratch::OwnPerProfile) {
            self.held.set(self.engine().scratch_size(profile)?);
        }
        Ok(())
    }

    /// Sets the dimensions of an input. What is set stays.
    ///
    /// # Errors
    /// It is no input, or the profile doesn't allow the dimensions.
    pub fn set_input_shape(&mut self, tensor: usize, dims: &[i64]) -> Result<(), Error> {
        self.check_is(tensor, TensorIOMode::Input)?;
        if self.shape(tensor).is_ok_and(|shape| *shape == *dims) {
            return Ok(());
        }
        self.checked = false;
        Ok(self.inner.raw().pin_mut().set_input_shape(tensor, dims)?)
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
        if matches!(&self.slots[tensor], Slot::Host(there) if *there == bytes) {
            return Ok(());
        }
        let size = self.inner.raw().size(tensor)?;
        if bytes.len() != size {
            let name = &about.name;
            return Err(Error::Wrong(format!("{name} takes {size} bytes of values, not {}", bytes.len())));
        }
        // TensorRT may read the values before as long as a run lasts.
        self.inner.order.wait()?;
        self.checked = false;
        self.inner.raw().pin_mut().bind(tensor, bytes.as_ptr() as usize)?;
        self.slots[tensor] = Slot::Host(bytes);
        Ok(())
    }

    /// The tensor's dimensions with the shapes set now; -1 where they aren't known yet.
    ///
    /// # Errors
    /// There is no such tensor.
    pub fn shape(&self, tensor: usize) -> Result<Dims, Error> {
        self.about(tensor)?;
        Ok(self.inner.raw().shape(tensor)?)
    }

    /// Bytes that the tensor takes with the shapes set now.
    ///
    /// # Errors
    /// Dimensions aren't known: shapes of inputs are missing, or it is an output that tells its size as it is computed.
    pub fn size(&self, tensor: usize) -> Result<usize, Error> {
        self.about(tensor)?;
        Ok(self.inner.raw().size(tensor)?)
    }

    /// Computes the outputs' shapes from the inputs'.
    ///
    /// # Errors
    /// An input's shape or values are missing (the message names it) or wrong.
    pub fn infer_shapes(&mut self) -> Result<(), Error> {
        Ok(self.inner.raw().pin_mut().infer_shapes()?)
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
        if !offset.is_multiple_of(crate::cuda::ALIGNMENT) {
            return Err(Error::Wrong(format!(
                "{} must begin at a multiple of 256 bytes, not {offset}",
                about.name
            )));
        }
        let address = buffer.memory().range(offset, 1)?;
        self.checked = false;
        self.inner.raw().pin_mut().bind(tensor, address)?;
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
        self.inner.raw().pin_mut().allocate_output(tensor, Box::new(memory.clone()))?;
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

    /// Limits how much of the GPU's L2 cache may hold this context's activations between runs.
    ///
    /// # Errors
    /// The GPU can't do that.
    pub fn set_persistent_cache_limit(&mut self, bytes: usize) -> Result<(), Error> {
        Ok(self.inner.raw().pin_mut().set_persistent_cache_limit(bytes)?)
    }

    /// Bytes of scratch memory that the shapes set now need: at most those of the profile.
    ///
    /// # Errors
    /// The context's scratch memory is its own, or shapes are missing.
    pub fn scratch_for_shapes(&mut self) -> Result<usize, Error> {
        Ok(self.inner.raw().pin_mut().scratch_for_shapes()?)
    }

    /// Puts a run on the stream. Buffers are in use until it is done. While a graph is captured on the stream, notes the run in
    /// the graph instead; one run before is needed, since TensorRT allocates as it runs the first time with new shapes.
    ///
    /// # Errors
    /// A tensor isn't bound, its buffer is too small or in use, shapes are missing, or TensorRT or the GPU fails.
    pub fn enqueue(&mut self, stream: &Stream) -> Result<(), Error> {
        if !self.checked {
            self.check()?;
        }
        for slot in &self.slots {
            if let Slot::Allocated(memory, _) = slot {
                drop(memory.start());
            }
        }
        let tensors = self.inner.engine.tensors();
        let uses = tensors.iter().zip(&self.slots).filter_map(|(tensor, slot)| {
            let access = if tensor.mode == TensorIOMode::Input { Access::Read } else { Access::Write };
            match slot {
                Slot::Device(buffer, _) | Slot::Allocated(_, Some(buffer)) => Some((buffer.memory(), access)),
                _ => None,
            }
        });
        let ticket = stream.submit(uses, Some(&self.ordered), |stream| -> Result<(), Error> {
            Ok(self.inner.raw().pin_mut().enqueue(stream as usize)?)
        });
        let ticket = ticket.map_err(|error| self.reason(error))?;
        for slot in &mut self.slots {
            if let (Slot::Allocated(memory, buffer), Some(ticket)) = (slot, &ticket) {
                memory.claim(ticket)?;
                *buffer = memory.buffer();
            }
        }
        Ok(())
    }

    /// Why a run failed: memory that was refused, or what TensorRT says.
    fn reason(&self, error: Error) -> Error {
        let refused = self.slots.iter().find_map(|slot| match slot {
            Slot::Allocated(memory, _) => memory.failure(),
            _ => None,
        });
        refused.map_or(error, Error::Cuda)
    }

    /// Infers shapes and checks that every tensor has memory that is large enough.
    fn check(&mut self) -> Result<(), Error> {
        for (tensor, slot) in self.inner.engine.tensors().iter().zip(&self.slots) {
            if matches!(slot, Slot::Unbound) {
                return Err(Error::Wrong(format!("{} is not bound to memory", tensor.name)));
            }
        }
        self.infer_shapes()?;
        for (number, slot) in self.slots.iter().enumerate() {
            let (size, there) = match slot {
                Slot::Device(buffer, offset) => (self.size(number)?, buffer.len() - offset),
                Slot::Host(bytes) => (self.size(number)?, bytes.len()),
                Slot::Allocated(..) | Slot::Unbound => continue,
            };
            if there < size {
                let name = &self.about(number)?.name;
                return Err(Error::Wrong(format!("{name} takes {size} bytes; it is bound to {there}")));
            }
        }
        self.checked = true;
        Ok(())
    }

    fn check_is(&self, tensor: usize, mode: TensorIOMode) -> Result<(), Error> {
        let about = self.about(tensor)?;
        if about.mode == mode {
            return Ok(());
        }
        let mode = if mode == TensorIOMode::Input { "input" } else { "output" };
        Err(Error::Wrong(format!("{} is no {mode}", about.name)))
    }

    fn about(&self, tensor: usize) -> Result<&Tensor, Error> {
        let tensors = self.inner.engine.tensors();
        let none = || Error::Wrong(format!("there is no tensor {tensor}: the engine has {}", tensors.len()));
        tensors.get(tensor).ok_or_else(none)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // Runs may read values that lie in host memory here. Those that failed for good read nothing.
        let _ = self.inner.order.wait();
    }
}

impl Inner {
    fn raw(&self) -> MutexGuard<'_, UniquePtr<ffi::Context>> {
        self.raw.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Of a GPU that is lost nothing runs any more.
        if self.order.wait().is_err_and(|error| !error.is_sticky()) {
            // Whether it still runs can't be told: better lost, with the engine that it needs, than destroyed as it runs.
            let raw = self.raw.get_mut().unwrap_or_else(PoisonError::into_inner);
            std::mem::forget((std::mem::replace(raw, UniquePtr::null()), self.engine.clone()));
        }
        // TensorRT frees memory of this GPU.
        let _ = self.device.bind();
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
