//! An ONNX model enters, a plan leaves. Next: [`crate::Runtime`] makes an engine of it.

mod check;
mod options;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use cxx::UniquePtr;

use crate::bridge::ffi::{self, Dims, TensorInfo};
use crate::cuda::Device;
use crate::engine::Tensor;
use crate::enums::{DataType, TensorIOMode, TensorLocation};
use crate::error::Error;
use crate::library::Library;

pub use options::{BuildOptions, Profile, Range, Refit};

/// Reads models to build plans of them. It keeps its library's handle, and its GPU's.
#[derive(Debug, Clone)]
pub struct Builder {
    library: Library,
    device: Option<Device>,
}

/// A parsed model. One owner; it may move between threads. It keeps its builder.
pub struct Network {
    // Before what it needs: fields are dropped in this order.
    raw: UniquePtr<ffi::Network>,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    builder: Builder,
}

/// Where a model without a path is said to be: the parser would look for its weights in the current folder otherwise. Nothing can
/// be below a file.
const NOWHERE: &str = "/dev/null/model.onnx";

/// Builds at the same time fail or mix their settings ("Target SM 80 is not found in the accelerator list", seen with TensorRT-RTX
/// 1.7.1 when two were built for other GPUs), and where kernels are timed they would disturb each other.
static BUILDING: Mutex<()> = Mutex::new(());

/// A built plan: bytes that [`crate::Runtime::deserialize`] takes, in memory of TensorRT's.
pub struct Plan(pub(crate) UniquePtr<ffi::Bytes>);

// SAFETY: TensorRT's builder is bound to no thread, and `&mut` or the owner alone reach what changes.
unsafe impl Send for ffi::Network {}
// SAFETY: bytes that never change, and their destruction is bound to no thread.
unsafe impl Send for ffi::Bytes {}
// SAFETY: as for Send.
unsafe impl Sync for ffi::Bytes {}

impl Library {
    /// Makes a builder of plans for that GPU. TensorRT-RTX needs none.
    pub fn builder(&self, device: Option<&Device>) -> Builder {
        Builder { library: self.clone(), device: device.cloned() }
    }
}

impl Builder {
    /// Parses an ONNX model. `path` is where it was read from, if its weights are in files beside it: without it, they are not
    /// looked for.
    ///
    /// # Errors
    /// It is no ONNX model, or has nodes that TensorRT doesn't know (the message names each); this flavour builds no plans; or
    /// the ONNX parser's library can't be loaded (the message says why).
    pub fn parse(&self, model: &[u8], path: Option<&Path>) -> Result<Network, Error> {
        let path = match path.map(|path| path.to_str().ok_or(path)) {
            None => NOWHERE,
            Some(Ok(path)) => path,
            Some(Err(path)) => return Err(Error::Wrong(format!("{} is not UTF-8", path.display()))),
        };
        check::check(model)?;
        self.library.check_parser()?;
        self.bind()?;
        let raw = self.library.raw().parse(model, path)?;
        let all = |infos: Vec<TensorInfo>| infos.into_iter().map(tensor).collect();
        let (inputs, outputs) = (all(raw.inputs()?), all(raw.outputs()?));
        Ok(Network { raw, inputs, outputs, builder: self.clone() })
    }

    fn bind(&self) -> Result<(), Error> {
        Ok(self.device.as_ref().map_or(Ok(()), Device::bind)?)
    }
}

impl Network {
    /// The model's inputs; -1 is a dimension that profiles must give a range.
    pub fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    /// The model's outputs.
    pub fn outputs(&self) -> &[Tensor] {
        &self.outputs
    }

    /// Builds a plan. Takes from a moment to many minutes. One plan is built at a time in a process: others wait.
    ///
    /// # Errors
    /// An option is not possible with this flavour or model, a profile doesn't fit the model, memory is short, or there is no
    /// GPU where the flavour needs one.
    pub fn build(&mut self, options: &BuildOptions) -> Result<Plan, Error> {
        self.builder.bind()?;
        let options = options.to_raw(self.builder.library.flavour())?;
        let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Plan(self.raw.pin_mut().build(&options)?))
    }

    /// What the last build learnt of kernels' times, for [`BuildOptions::timing_cache`] of later ones on the same GPU model.
    ///
    /// # Errors
    /// Nothing was built, or the flavour has no such thing.
    pub fn timing_cache(&self) -> Result<Vec<u8>, Error> {
        self.builder.bind()?;
        Ok(self.raw.timing_cache()?.bytes().to_vec())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // TensorRT frees what is on this GPU. A GPU that is lost needs no freeing.
        let _ = self.builder.bind();
    }
}

impl std::ops::Deref for Plan {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

fn tensor(info: TensorInfo) -> Tensor {
    Tensor {
        name: info.name,
        mode: TensorIOMode { repr: info.mode },
        dtype: DataType { repr: info.dtype },
        shape: Dims { ..info.shape },
        location: TensorLocation { repr: info.location },
        is_shape: info.is_shape,
        profiles: Vec::new(),
    }
}
