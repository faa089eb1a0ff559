//! Without the feature `tensorrt` there is nothing to make, and no header is needed.

#[cfg(feature = "tensorrt")]
#[path = "build/tensorrt.rs"]
mod tensorrt;

fn main() {
    #[cfg(feature = "tensorrt")]
    tensorrt::main();
}
