//! What filter and backend agree on. Requests and answers of the V2 inference protocol (Open Inference Protocol) enter as
//! bytes; messages, digests, keys and sealed entries leave. No I/O; builds for `wasm32`.
//!
//! ```text
//! path, request     bytes -> ModelInferRequest        (JSON, or the binary tensor extension)
//! call              the beginning of a gRPC call -> the model that it names
//! predict           KServe's V1 <-> the same in V2's messages
//! raw               a body without JSON -> ModelInferRequest, by what the model takes
//! contents          gRPC's typed values -> ModelInferRequest in canonical form
//! wants             how the client wants its answer
//! manner            how a request is to be scheduled
//! digest            ModelInferRequest -> Digest -> Key
//! entry             ModelInferResponse <-> sealed cache entry
//! response          ModelInferResponse -> bytes, and ids in and out of ready bytes
//! cache_control     HTTP's words for freshness; freshness: may a stored answer be given now?
//! residency         what an entry takes of a pool in memory
//! field_value       lists and numbers in header values
//! fields            which header fields are kept with an answer
//! service, tenant   whose models are asked, and who may share results
//! generations, gate, lookups, poll, proof   what passes between filter and gate
//! ```
//!
//! `FORMAT.md` beside this crate fixes digest, keys and entry byte by byte.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod cache_control;
pub mod call;
pub mod contents;
pub mod datatype;
pub mod decode;
pub mod digest;
pub mod entry;
pub mod field_value;
pub mod fields;
pub mod freshness;
pub mod gate;
pub mod generations;
pub mod header;
pub mod limits;
pub mod lookups;
pub mod manner;
pub mod messages;
pub mod path;
pub mod poll;
pub mod predict;
pub mod proof;
pub mod raw;
pub mod request;
pub mod residency;
pub mod response;
pub mod service;
pub mod tenant;
pub mod tensor;
pub mod wants;
