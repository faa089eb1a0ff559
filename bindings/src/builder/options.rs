//! How a plan is built: settings by name enter, TensorRT's flags and numbers leave.

use serde::{Deserialize, Serialize};

use crate::bridge::ffi::{self, BuilderFlag};
use crate::enums::HardwareCompatibilityLevel;
use crate::error::Error;
use crate::flavour::Flavour;

/// Ranges of the inputs whose shapes are free. An engine runs in one profile at a time and is fastest near its `opt`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Profile {
    /// One for each input with a free dimension.
    pub inputs: Vec<Range>,
}

/// What a profile allows for an input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Range {
    /// Name of the input.
    pub input: String,
    /// Are these the input's values, for an input that is itself a shape, rather than its dimensions?
    pub values: bool,
    /// The smallest.
    pub min: Vec<i64>,
    /// The one to optimise for.
    pub opt: Vec<i64>,
    /// The largest.
    pub max: Vec<i64>,
}

/// Can the engine's weights be replaced?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Refit {
    /// No.
    #[default]
    No,
    /// Yes, all of them, at some cost of speed.
    Yes,
    /// By the same weights alone, at no cost: for plans without weights.
    Identical,
}

/// How a plan is built. The default leaves everything to TensorRT.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag of TensorRT's, independent of the others.
pub struct BuildOptions {
    /// Needed if a shape is free.
    pub profiles: Vec<Profile>,
    /// Bytes of scratch memory that kernels may use; all of the GPU's if not said.
    pub workspace: Option<u64>,
    /// From 0, fastest to build, to 5, most thorough; 3 if not said.
    pub optimization_level: Option<u8>,
    /// How many streams beside the caller's a run may use.
    pub max_aux_streams: Option<u8>,
    /// How many threads may build.
    pub max_threads: Option<u16>,
    /// On which other GPUs the plan may run.
    pub hardware_compatibility: Option<HardwareCompatibilityLevel>,
    /// Compute capabilities to build for, as 75 or 120: TensorRT-RTX alone.
    pub compute_capabilities: Vec<u16>,
    /// May later versions of TensorRT run the plan? It carries host code then: see [`crate::HostCode`].
    pub version_compatible: bool,
    /// Leave that host code, the lean runtime, out of a version-compatible plan.
    pub exclude_lean_runtime: bool,
    /// Use kernels for weights of which two in four are zero, where there are such weights.
    pub sparse_weights: bool,
    /// Allow products of 32-bit floats in TF32; TensorRT's default is to.
    pub no_tf32: bool,
    /// Can weights be replaced?
    pub refit: Refit,
    /// Leave the weights out of the plan.
    pub strip_weights: bool,
    /// Weights may stay in host memory and be streamed at each run.
    pub weight_streaming: bool,
    /// What earlier builds learnt of kernels' times; empty bytes to begin with. `None` builds without. Large, so a [`crate::Job`]
    /// has a file for it instead.
    #[serde(skip)]
    pub timing_cache: Option<Vec<u8>>,
}

impl BuildOptions {
    pub(super) fn to_raw(&self, flavour: Flavour) -> Result<ffi::BuildOptions, Error> {
        let workspace = self.workspace.map_or(Ok(-1), i64::try_from);
        let wide = |number: Option<u16>| number.map_or(-1, i32::from);
        Ok(ffi::BuildOptions {
            profiles: self.profiles.len(),
            ranges: self.ranges(),
            workspace: workspace
                .map_err(|_| Error::Wrong("the workspace is more than can be counted".into()))?,
            optimization_level: wide(self.optimization_level.map(u16::from)),
            max_aux_streams: wide(self.max_aux_streams.map(u16::from)),
            max_threads: wide(self.max_threads),
            hardware_compatibility: self.hardware_compatibility.map_or(-1, |level| level.repr),
            flags: self.flags(),
            compute_capabilities: self.capabilities(flavour)?,
            use_timing_cache: self.timing_cache.is_some(),
            timing_cache: self.timing_cache.clone().unwrap_or_default(),
        })
    }

    fn ranges(&self) -> Vec<ffi::Range> {
        let numbered = self.profiles.iter().enumerate();
        let ranges =
            numbered.flat_map(|(profile, ranges)| ranges.inputs.iter().map(move |range| (profile, range)));
        let ranges = ranges.map(|(profile, range)| ffi::Range {
            profile,
            input: range.input.clone(),
            values: range.values,
            min: range.min.clone(),
            opt: range.opt.clone(),
            max: range.max.clone(),
        });
        ranges.collect()
    }

    /// The flags that are set; TF32 is set by default.
    fn flags(&self) -> Vec<BuilderFlag> {
        let flags = [
            (!self.no_tf32, BuilderFlag::Tf32),
            (self.version_compatible, BuilderFlag::VersionCompatible),
            (self.exclude_lean_runtime, BuilderFlag::ExcludeLeanRuntime),
            (self.sparse_weights, BuilderFlag::SparseWeights),
            (self.refit == Refit::Yes, BuilderFlag::Refit),
            (self.refit == Refit::Identical, BuilderFlag::RefitIdentical),
            (self.strip_weights, BuilderFlag::StripPlan),
            (self.weight_streaming, BuilderFlag::WeightStreaming),
        ];
        flags.into_iter().filter_map(|(set, flag)| set.then_some(flag)).collect()
    }

    fn capabilities(&self, flavour: Flavour) -> Result<Vec<i32>, Error> {
        let known = |capability: &u16| crate::enums::RTX_CAPABILITIES.contains(capability);
        match self.compute_capabilities.iter().find(|capability| !known(capability)) {
            Some(unknown) if flavour == Flavour::Rtx => Err(Error::Wrong(format!(
                "TensorRT-RTX doesn't build for compute capability {unknown}; it does for {:?}",
                crate::enums::RTX_CAPABILITIES
            ))),
            _ => Ok(self.compute_capabilities.iter().map(|capability| i32::from(*capability)).collect()),
        }
    }
}
