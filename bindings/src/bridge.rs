//! What crosses between Rust and the C++ side (`cpp/interface.h`): classes one way, logs and output memory the other.

use crate::log::heard;
use crate::output::OutputMemory;

#[cxx::bridge(namespace = "forebay")]
#[allow(unreachable_pub, missing_docs)]
pub(crate) mod ffi {
    /// Addresses of the functions with which a library makes things; 0 where it has none.
    struct Symbols {
        runtime: usize,
        refitter: usize,
        builder: usize,
        parser: usize,
        parser_refitter: usize,
    }

    /// A shape. A dimension that is not known is -1.
    #[derive(Debug, Clone, Copy)]
    struct Dims {
        /// How many of the dimensions count.
        len: usize,
        /// The dimensions; TensorRT has eight at most.
        dims: [i64; 8],
    }

    /// A tensor that goes in or out.
    struct TensorInfo {
        name: String,
        /// Input or output.
        mode: i32,
        dtype: i32,
        location: i32,
        /// Do its values decide shapes?
        is_shape: bool,
        shape: Dims,
    }

    /// Weights by name, as bytes.
    struct NamedBytes<'a> {
        name: &'a str,
        bytes: &'a [u8],
    }

    /// The range of one input in one profile.
    struct Range {
        /// Number of the profile.
        profile: usize,
        /// Name of the input.
        input: String,
        /// Are these the input's values (of a shape tensor), rather than its dimensions?
        values: bool,
        min: Vec<i64>,
        opt: Vec<i64>,
        max: Vec<i64>,
    }

    /// Settings of a build that are on or off. Their numbers are not TensorRT's, for those of 10 are others than those of 11.
    enum BuilderFlag {
        Refit,
        RefitIdentical,
        Tf32,
        SparseWeights,
        VersionCompatible,
        ExcludeLeanRuntime,
        StripPlan,
        WeightStreaming,
    }

    /// How a plan is built. Numbers below zero leave TensorRT's own choice.
    struct BuildOptions {
        profiles: usize,
        ranges: Vec<Range>,
        workspace: i64,
        optimization_level: i32,
        max_aux_streams: i32,
        max_threads: i32,
        hardware_compatibility: i32,
        /// Those that are set; all others are not.
        flags: Vec<BuilderFlag>,
        /// Compute capabilities as 75, 80, ...: RTX alone.
        compute_capabilities: Vec<i32>,
        use_timing_cache: bool,
        timing_cache: Vec<u8>,
    }

    unsafe extern "C++" {
        include!("forebay-bindings/cpp/interface.h");

        type Bytes;
        fn bytes(self: &Bytes) -> &[u8];

        type Context;
        fn set_profile(self: Pin<&mut Context>, profile: i32, stream: usize) -> Result<()>;
        fn set_input_shape(self: Pin<&mut Context>, tensor: usize, dims: &[i64]) -> Result<()>;
        fn infer_shapes(self: Pin<&mut Context>) -> Result<()>;
        fn shape(self: &Context, tensor: usize) -> Result<Dims>;
        fn size(self: &Context, tensor: usize) -> Result<usize>;
        fn bind(self: Pin<&mut Context>, tensor: usize, address: usize) -> Result<()>;
        fn allocate_output(self: Pin<&mut Context>, tensor: usize, memory: Box<OutputMemory>) -> Result<()>;
        fn set_scratch(self: Pin<&mut Context>, address: usize, size: usize) -> Result<()>;
        fn scratch_for_shapes(self: Pin<&mut Context>) -> Result<usize>;
        fn set_persistent_cache_limit(self: Pin<&mut Context>, size: usize) -> Result<()>;
        fn enqueue(self: Pin<&mut Context>, stream: usize) -> Result<()>;

        type Refitter;
        fn weights(self: &Refitter) -> Result<Vec<String>>;
        fn refit(self: Pin<&mut Refitter>, weights: &[NamedBytes]) -> Result<()>;
        fn refit_from_onnx(self: Pin<&mut Refitter>, model: &[u8]) -> Result<()>;

        type Engine;
        fn name(self: &Engine) -> Result<String>;
        fn tensors(self: &Engine) -> Result<Vec<TensorInfo>>;
        fn profiles(self: &Engine) -> Result<i32>;
        fn profile_shape(self: &Engine, tensor: usize, profile: i32, which: i32) -> Result<Dims>;
        fn profile_values(self: &Engine, tensor: usize, profile: i32, which: i32) -> Result<Vec<i64>>;
        fn scratch_size(self: &Engine, profile: i32) -> Result<i64>;
        fn layers(self: &Engine) -> Result<i32>;
        fn aux_streams(self: &Engine) -> Result<i32>;
        fn refittable(self: &Engine) -> Result<bool>;
        fn hardware_compatibility(self: &Engine) -> Result<i32>;
        fn streamable_weights(self: &Engine) -> Result<i64>;
        fn weight_budget(self: &Engine) -> Result<i64>;
        fn automatic_weight_budget(self: &Engine) -> Result<i64>;
        fn set_weight_budget(self: Pin<&mut Engine>, bytes: i64) -> Result<()>;
        fn describe(self: &Engine) -> Result<String>;
        fn serialize(self: &Engine) -> Result<UniquePtr<Bytes>>;
        fn context(self: &Engine, allocation: i32, for_graphs: bool) -> Result<UniquePtr<Context>>;
        fn refitter(self: Pin<&mut Engine>) -> Result<UniquePtr<Refitter>>;

        type Runtime;
        fn deserialize(self: &Runtime, plan: &[u8]) -> Result<UniquePtr<Engine>>;

        type Network;
        fn inputs(self: &Network) -> Result<Vec<TensorInfo>>;
        fn outputs(self: &Network) -> Result<Vec<TensorInfo>>;
        fn build(self: Pin<&mut Network>, options: &BuildOptions) -> Result<UniquePtr<Bytes>>;
        fn timing_cache(self: &Network) -> Result<UniquePtr<Bytes>>;

        type Library;
        fn runtime(self: &Library, host_code: bool) -> Result<UniquePtr<Runtime>>;
        fn parse(self: &Library, model: &[u8], path: &str) -> Result<UniquePtr<Network>>;

        #[namespace = "forebay::enterprise"]
        #[rust_name = "make_enterprise"]
        fn make_library(symbols: &Symbols) -> Result<UniquePtr<Library>>;
        #[namespace = "forebay::rtx"]
        #[rust_name = "make_rtx"]
        fn make_library(symbols: &Symbols) -> Result<UniquePtr<Library>>;
    }

    extern "Rust" {
        fn heard(severity: i32, text: &[u8]);

        type OutputMemory;
        fn reserve(self: &OutputMemory, size: usize) -> usize;
        fn notify(self: &OutputMemory, dims: &[i64]);
    }
}
