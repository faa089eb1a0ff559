//! Without the feature `tensorrt` there is nothing to make, and neither headers nor libclang are needed.

#[cfg(feature = "tensorrt")]
#[path = "build/tensorrt.rs"]
mod tensorrt;

fn main() {
    #[cfg(feature = "tensorrt")]
    tensorrt::main();
}
