//! New weights enter an engine.

use std::marker::PhantomData;

use cxx::UniquePtr;

use crate::bridge::ffi::{self, NamedBytes};
use crate::cuda::Device;
use crate::engine::Engine;
use crate::error::Error;
use crate::library::Library;
use crate::runtime::Runtime;

/// Replaces weights of an engine, which nothing else uses as long. One owner, on one thread.
pub struct Refitter<'engine> {
    raw: UniquePtr<ffi::Refitter>,
    device: Option<Device>,
    library: Library,
    engine: PhantomData<&'engine mut Engine>,
}

impl Refitter<'_> {
    pub(crate) fn new(raw: UniquePtr<ffi::Refitter>, runtime: &Runtime) -> Self {
        let (device, library) = (runtime.device().cloned(), runtime.library().clone());
        Self { raw, device, library, engine: PhantomData }
    }

    /// The names of all weights that can be replaced.
    ///
    /// # Errors
    /// TensorRT can't tell.
    pub fn weights(&self) -> Result<Vec<String>, Error> {
        self.bind()?;
        Ok(self.raw.weights()?)
    }

    /// Replaces weights by name: bytes of elements as the model has them. All or none are replaced.
    ///
    /// # Errors
    /// There are no weights of a name, they have another size, or others depend on them that are not given.
    pub fn refit(&mut self, weights: &[(&str, &[u8])]) -> Result<(), Error> {
        self.bind()?;
        let weights: Vec<_> = weights.iter().map(|&(name, bytes)| NamedBytes { name, bytes }).collect();
        Ok(self.raw.pin_mut().refit(&weights)?)
    }

    /// Takes all weights from an ONNX model: the one that the plan was built from, trained further.
    ///
    /// # Errors
    /// It is no ONNX model, or another one.
    pub fn refit_from_onnx(&mut self, model: &[u8]) -> Result<(), Error> {
        self.library.check_parser()?;
        self.bind()?;
        Ok(self.raw.pin_mut().refit_from_onnx(model)?)
    }

    fn bind(&self) -> Result<(), Error> {
        Ok(self.device.as_ref().map_or(Ok(()), Device::bind)?)
    }
}
