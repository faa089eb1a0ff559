//! A deserialized plan enters; what it takes and gives, and contexts that run it, leave.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cxx::UniquePtr;

use crate::bridge::ffi::{self, Dims, TensorInfo};
use crate::context::Context;
use crate::cuda::{Device, Held};
use crate::enums::{
    DataType, ExecutionContextAllocationStrategy as Strategy, HardwareCompatibilityLevel, OptProfileSelector,
    TensorIOMode, TensorLocation,
};
use crate::error::Error;
use crate::refit::Refitter;
use crate::runtime::Runtime;
use crate::scratch::Scratch;

/// A tensor that an engine takes or gives. Its place in [`Engine::tensors`] is its number in every call.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// Its name in the model.
    pub name: String,
    /// Input or output.
    pub mode: TensorIOMode,
    /// What its elements are.
    pub dtype: DataType,
    /// Its dimensions; -1 is one that an input's shape or, for some outputs, its values decide.
    pub shape: Dims,
    /// Where its elements must lie.
    pub location: TensorLocation,
    /// Do its values decide shapes?
    pub is_shape: bool,
    /// For an input, what each profile allows.
    pub profiles: Vec<ProfileRange>,
}

/// What a profile allows for an input: dimensions, or the values of an input that is a shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileRange {
    /// The smallest.
    pub min: Vec<i64>,
    /// The one that the plan was optimised for.
    pub opt: Vec<i64>,
    /// The largest.
    pub max: Vec<i64>,
}

/// An engine. A handle: cheap to clone, used by any thread.
///
/// It keeps its runtime; contexts keep their engine.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    // Before what it needs: fields are dropped in this order.
    raw: Mutex<UniquePtr<ffi::Engine>>,
    tensors: Vec<Tensor>,
    about: About,
    /// What it took of the GPU's memory when it was made, on the account.
    _held: Option<Held>,
    runtime: Runtime,
}

/// What never changes of an engine.
#[derive(Debug, Clone)]
struct About {
    name: String,
    profiles: usize,
    layers: i32,
    aux_streams: i32,
    refittable: bool,
    hardware: HardwareCompatibilityLevel,
    streamable_weights: i64,
}

// SAFETY: TensorRT's engine is bound to no thread; the mutex around it lets one in at a time.
unsafe impl Send for ffi::Engine {}

impl Drop for Inner {
    fn drop(&mut self) {
        // TensorRT frees memory of this GPU. A GPU that is lost needs no freeing.
        let _ = self.runtime.device().map_or(Ok(()), Device::bind);
    }
}

impl Engine {
    /// `taken`: bytes of the GPU's memory that making it took.
    pub(crate) fn new(raw: UniquePtr<ffi::Engine>, runtime: Runtime, taken: usize) -> Result<Self, Error> {
        let profiles = raw.profiles()?;
        let infos = raw.tensors()?.into_iter().enumerate();
        let tensors =
            infos.map(|(number, info)| tensor(&raw, number, info, profiles)).collect::<Result<_, _>>()?;
        let about = About {
            name: raw.name()?,
            profiles: usize::try_from(profiles).unwrap_or(0),
            layers: raw.layers()?,
            aux_streams: raw.aux_streams()?,
            refittable: raw.refittable()?,
            hardware: HardwareCompatibilityLevel { repr: raw.hardware_compatibility()? },
            streamable_weights: raw.streamable_weights()?,
        };
        let held = runtime.device().map(|device| device.account().hold(taken));
        Ok(Self(Arc::new(Inner { raw: Mutex::new(raw), tensors, about, _held: held, runtime })))
    }

    /// What the engine takes and gives.
    pub fn tensors(&self) -> &[Tensor] {
        &self.0.tensors
    }

    /// The number of the tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<usize> {
        self.tensors().iter().position(|tensor| tensor.name == name)
    }

    /// The engine's name.
    pub fn name(&self) -> &str {
        &self.0.about.name
    }

    /// How many optimization profiles it has.
    pub fn profiles(&self) -> usize {
        self.0.about.profiles
    }

    /// How many layers are left after fusion.
    pub fn layers(&self) -> i32 {
        self.0.about.layers
    }

    /// How many streams beside the caller's it uses.
    pub fn aux_streams(&self) -> i32 {
        self.0.about.aux_streams
    }

    /// On which other GPUs the plan runs.
    pub fn hardware_compatibility(&self) -> HardwareCompatibilityLevel {
        self.0.about.hardware
    }

    /// Can its weights be replaced?
    pub fn is_refittable(&self) -> bool {
        self.0.about.refittable
    }

    /// Bytes of scratch memory that a context needs in that profile.
    ///
    /// # Errors
    /// There is no such profile.
    pub fn scratch_size(&self, profile: usize) -> Result<usize, Error> {
        let size = self.raw()?.scratch_size(self.profile(profile)?)?;
        Ok(usize::try_from(size).unwrap_or(0))
    }

    /// Bytes of weights that can stay in host memory and be streamed; 0 unless the plan was built for it.
    pub fn streamable_weights(&self) -> i64 {
        self.0.about.streamable_weights
    }

    /// Bytes of GPU memory that streamable weights may take now.
    ///
    /// # Errors
    /// TensorRT can't tell.
    pub fn weight_budget(&self) -> Result<i64, Error> {
        Ok(self.raw()?.weight_budget()?)
    }

    /// Bytes of GPU memory that TensorRT would give to streamable weights, by the memory that is free now.
    ///
    /// # Errors
    /// TensorRT can't tell.
    pub fn automatic_weight_budget(&self) -> Result<i64, Error> {
        Ok(self.raw()?.automatic_weight_budget()?)
    }

    /// Sets how many bytes of GPU memory streamable weights may take; the rest is streamed at each run.
    ///
    /// # Errors
    /// The engine has contexts or other handles, the plan wasn't built for streaming, or the budget is not possible.
    pub fn set_weight_budget(&mut self, bytes: i64) -> Result<(), Error> {
        self.bind()?;
        let inner = self.only("its budget of weights can be set")?;
        let raw = inner.raw.get_mut().unwrap_or_else(PoisonError::into_inner);
        Ok(raw.pin_mut().set_weight_budget(bytes)?)
    }

    /// What became of the model's layers, as JSON. As much as the plan was built to tell.
    ///
    /// # Errors
    /// TensorRT can't tell.
    pub fn describe(&self) -> Result<String, Error> {
        Ok(self.raw()?.describe()?)
    }

    /// The engine as a plan, with the weights that it has now.
    ///
    /// # Errors
    /// TensorRT can't make one.
    pub fn serialize(&self) -> Result<crate::Plan, Error> {
        Ok(crate::Plan(self.raw()?.serialize()?))
    }

    /// Makes a context, which runs the engine.
    ///
    /// # Errors
    /// There is no GPU, or not enough of its memory.
    pub fn context(&self, scratch: Scratch) -> Result<Context, Error> {
        self.context_for(scratch, false)
    }

    /// Makes a context for a graph: with TensorRT-RTX, kernels for new shapes are compiled in the first run with them, which takes
    /// as long, and not in the background, so that what is captured afterwards has them.
    ///
    /// # Errors
    /// As [`Engine::context`].
    pub fn graph_context(&self, scratch: Scratch) -> Result<Context, Error> {
        self.context_for(scratch, true)
    }

    fn context_for(&self, scratch: Scratch, graphs: bool) -> Result<Context, Error> {
        let Some(device) = self.device() else {
            return Err(Error::Wrong("an engine of a runtime without a GPU can't be run".into()));
        };
        let strategy = match &scratch {
            Scratch::Own => Strategy::Static,
            Scratch::OwnPerProfile => Strategy::OnProfileChange,
            Scratch::Shared(_) => Strategy::UserManaged,
        };
        let raw = self.raw()?.context(strategy.repr, graphs)?;
        Context::new(raw, self.clone(), device.clone(), scratch)
    }

    /// Replaces weights. The engine must have no contexts and no other handles, so that nothing runs meanwhile.
    ///
    /// # Errors
    /// It has, or it can't be refitted.
    pub fn refitter(&mut self) -> Result<Refitter<'_>, Error> {
        self.bind()?;
        let inner = self.only("its weights can be replaced")?;
        let raw = inner.raw.get_mut().unwrap_or_else(PoisonError::into_inner);
        Ok(Refitter::new(raw.pin_mut().refitter()?, &inner.runtime))
    }

    /// The GPU that it is on.
    pub fn device(&self) -> Option<&Device> {
        self.0.runtime.device()
    }

    /// The runtime that made it.
    pub fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    pub(crate) fn profile(&self, profile: usize) -> Result<i32, Error> {
        let count = self.profiles();
        let number = i32::try_from(profile).ok().filter(|_| profile < count);
        number.ok_or_else(|| Error::Wrong(format!("there is no profile {profile}: the engine has {count}")))
    }

    fn bind(&self) -> Result<(), Error> {
        Ok(self.device().map_or(Ok(()), Device::bind)?)
    }

    fn only(&mut self, what: &str) -> Result<&mut Inner, Error> {
        let used =
            || Error::Wrong(format!("the engine must have no contexts and no other handles before {what}"));
        Arc::get_mut(&mut self.0).ok_or_else(used)
    }

    /// TensorRT's engine, for one caller at a time. The GPU becomes the thread's, for TensorRT works on the one that is.
    fn raw(&self) -> Result<MutexGuard<'_, UniquePtr<ffi::Engine>>, Error> {
        self.bind()?;
        Ok(self.0.raw.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// All there is to tell of a tensor.
fn tensor(raw: &ffi::Engine, number: usize, info: TensorInfo, profiles: i32) -> Result<Tensor, Error> {
    let mode = TensorIOMode { repr: info.mode };
    let location = TensorLocation { repr: info.location };
    let ranges = if mode == TensorIOMode::Input { 0..profiles } else { 0..0 };
    let range = |profile| {
        let of = |which: OptProfileSelector| -> Result<Vec<i64>, Error> {
            if info.is_shape && location == TensorLocation::Host {
                return Ok(raw.profile_values(number, profile, which.repr)?);
            }
            Ok(raw.profile_shape(number, profile, which.repr)?.to_vec())
        };
        let (min, opt, max) =
            (of(OptProfileSelector::Min)?, of(OptProfileSelector::Opt)?, of(OptProfileSelector::Max)?);
        Ok::<_, Error>(ProfileRange { min, opt, max })
    };
    let profiles = ranges.map(range).collect::<Result<_, _>>()?;
    let dtype = DataType { repr: info.dtype };
    Ok(Tensor {
        name: info.name,
        mode,
        dtype,
        shape: info.shape,
        location,
        is_shape: info.is_shape,
        profiles,
    })
}

impl std::ops::Deref for Dims {
    type Target = [i64];

    fn deref(&self) -> &[i64] {
        self.dims.get(..self.len).unwrap_or(&self.dims)
    }
}

impl PartialEq for Dims {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}
