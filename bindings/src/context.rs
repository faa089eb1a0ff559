//! Shapes and buffers enter (`tensors`); runs on a stream leave.

mod inner;
mod tensors;

use std::sync::{Arc, Mutex};

use cxx::UniquePtr;

use crate::bridge::ffi;
use crate::cuda::{Access, CudaError, Device, Epoch, Held, Order, Ordered, Stream};
use crate::engine::Engine;
use crate::enums::TensorIOMode;
use crate::error::Error;
use crate::scratch::Scratch;
use inner::Inner;
use tensors::Slot;

/// Runs an engine: shapes are set, buffers bound, and runs put on streams. One owner; it may move between threads.
///
/// It keeps its engine and the buffers that are bound. Its runs are done one after another, whatever streams they are put on:
/// each waits, on the GPU, for the one before. Runs that shall overlap need a context each. When it goes, it waits for its runs; if it
/// has values in host memory, graphs captured from it can't be launched any more.
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
        let (raw, epoch) = (Mutex::new(raw), Epoch::default());
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
            self.inner.epoch.next();
            Ok(self.inner.raw()?.pin_mut().set_profile(number, stream as usize)?)
        })?;
        self.profile = profile;
        if matches!(self.inner.scratch, Scratch::OwnPerProfile) {
            self.held.set(self.engine().scratch_size(profile)?);
        }
        Ok(())
    }

    /// Limits how much of the GPU's L2 cache may hold this context's activations between runs.
    ///
    /// # Errors
    /// The GPU can't do that.
    pub fn set_persistent_cache_limit(&mut self, bytes: usize) -> Result<(), Error> {
        Ok(self.inner.raw()?.pin_mut().set_persistent_cache_limit(bytes)?)
    }

    /// Bytes of scratch memory that the shapes set now need: at most those of the profile. Graphs captured before can't be
    /// launched any more.
    ///
    /// # Errors
    /// The context's scratch memory is its own, or shapes are missing.
    pub fn scratch_for_shapes(&mut self) -> Result<usize, Error> {
        self.inner.outdate_graphs()?;
        Ok(self.inner.raw()?.pin_mut().scratch_for_shapes()?)
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
            Ok(self.inner.raw()?.pin_mut().enqueue(stream as usize)?)
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
}

impl Drop for Context {
    fn drop(&mut self) {
        let has_values = self.slots.iter().any(|slot| matches!(slot, Slot::Host(_)));
        // Runs may read values that lie in host memory here, and launches of graphs would. Those that failed for good read nothing.
        let waited = if has_values { self.inner.end_graphs() } else { self.inner.order.wait() };
        if has_values && waited.is_err_and(|error| !error.is_sticky()) {
            // Whether one still reads them can't be told.
            std::mem::forget(std::mem::take(&mut self.slots));
        }
    }
}
