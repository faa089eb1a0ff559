//! Compiles `proto/` without `protoc`: messages and the gRPC service for the code, and the descriptors that the text
//! format and the JSON form need.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

/// Written by hand in `forebay-protocol`: the filter reads them too.
const SHARED: [(&str, &str); 7] = [
    ("InferParameter", "InferParameter"),
    ("InferTensorContents", "InferTensorContents"),
    ("ModelInferRequest", "ModelInferRequest"),
    ("ModelInferRequest.InferInputTensor", "InferInputTensor"),
    ("ModelInferRequest.InferRequestedOutputTensor", "InferRequestedOutputTensor"),
    ("ModelInferResponse", "ModelInferResponse"),
    ("ModelInferResponse.InferOutputTensor", "InferOutputTensor"),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["grpc_service.proto"], ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("inference.bin"), descriptors.encode_to_vec())?;
    // Ordered maps: the encoded settings are part of a model's generation, so they must not depend on chance.
    let mut builder = tonic_prost_build::configure().btree_map(".").build_client(false);
    for (message, ours) in SHARED {
        let ours = format!("::forebay_protocol::messages::{ours}");
        builder = builder.extern_path(format!(".inference.{message}"), ours);
    }
    builder.compile_fds(descriptors)?;
    // KEDA's, apart: no message of ours has anything to do with it.
    let scaler = protox::compile(["external_scaler.proto"], ["proto"])?;
    tonic_prost_build::configure().build_client(false).compile_fds(scaler)?;
    Ok(())
}
