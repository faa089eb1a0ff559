//! Compiles `proto/model_config.proto` without `protoc`: types for the code, and the descriptors that the
//! text-format parser needs.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto/model_config.proto");
    let descriptors = protox::compile(["model_config.proto"], ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("model_config.bin"), descriptors.encode_to_vec())?;
    // Ordered maps: the encoded settings are part of a model's generation, so they must not depend on chance.
    prost_build::Config::new().btree_map(["."]).compile_fds(descriptors)?;
    Ok(())
}
