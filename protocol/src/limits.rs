//! Bounds on what a request may hold. Every one is checked before memory is spent on it.

/// The bounds; `Default` gives the numbers that filter and backend use where nothing else is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest body, in bytes. 64 MiB: a batch of 64 images of 512 x 512 x 3 as bytes.
    pub max_body_bytes: usize,
    /// Largest JSON part (the whole body, or the header before binary tensors), in bytes. 64 MiB; the filter sets it lower.
    pub max_json_bytes: usize,
    /// Largest canonical tensor, in bytes. JSON can name a large tensor in few bytes (`[0,0,..]` as FP64: 2 bytes become 8), so
    /// this is four times the largest body.
    pub max_tensor_bytes: usize,
    /// Most inputs, and most requested outputs. 256: far above any known model.
    pub max_tensors: usize,
    /// Most dimensions of a shape. 32: engines stop far below (`TensorRT` at 8).
    pub max_rank: usize,
    /// Longest name of a model, tensor or parameter, and longest string parameter, in bytes. 1 KiB.
    pub max_name_bytes: usize,
    /// Longest `id`, in bytes. 4 KiB.
    pub max_id_bytes: usize,
    /// Most members of one JSON object, known or not: parameters, fields of a tensor, of the request. 256.
    pub max_parameters: usize,
    /// Deepest nesting of `data`, and of values that are skipped. 64: more than any shape may have.
    pub max_json_depth: usize,
}

/// The largest body where nothing else is set.
const BODY_BYTES: usize = 64 << 20;
/// By how much a tensor may be larger than the body that it came in.
const TENSOR_PER_BODY: usize = 4;

impl Default for Limits {
    fn default() -> Self {
        Self::of_body(BODY_BYTES)
    }
}

impl Limits {
    /// Where a body may have so many bytes: all bounds on sizes follow from it.
    pub const fn of_body(max_body_bytes: usize) -> Self {
        Self {
            max_body_bytes,
            max_json_bytes: max_body_bytes,
            max_tensor_bytes: max_body_bytes.saturating_mul(TENSOR_PER_BODY),
            max_tensors: 256,
            max_rank: 32,
            max_name_bytes: 1024,
            max_id_bytes: 4096,
            max_parameters: 256,
            max_json_depth: 64,
        }
    }
}
