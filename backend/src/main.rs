//! The binary `forebay`.

#![forbid(unsafe_code)]

/// Takes ONNX Runtime's allocations too.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    forebay::run()
}
