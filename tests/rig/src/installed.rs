//! Where set-up put what the tests need: `.forebay/` of the checkout, or `FOREBAY_DIR`.

use std::path::{Path, PathBuf};

/// Root of the checkout.
///
/// # Panics
/// The package is outside of a checkout.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the package is in the checkout's tests/rig")
}

/// `.forebay/` itself.
pub fn folder() -> PathBuf {
    std::env::var_os("FOREBAY_DIR").map_or_else(|| checkout().join(".forebay"), PathBuf::from)
}

/// A file or folder under `.forebay/`.
///
/// # Panics
/// It is not there: `cargo xtask test` makes it.
pub fn installed(path: &str) -> PathBuf {
    let found = folder().join(path);
    assert!(found.exists(), "{} is not there; `cargo xtask test` installs and builds it", found.display());
    found
}

/// A library: where the variable says, else under `.forebay/`.
pub fn library(variable: &str, path: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| installed(path), PathBuf::from)
}

/// TensorRT-RTX, which builds without a GPU.
pub fn tensorrt_rtx() -> PathBuf {
    library("FOREBAY_TENSORRT_RTX", "tensorrt-rtx/lib/libtensorrt_rtx.so.1")
}

/// The built filter.
pub fn filter() -> PathBuf {
    installed("wasm/forebay_filter.wasm")
}

/// ONNX Runtime's library.
///
/// # Panics
/// It is not there: `cargo xtask setup` puts it there.
pub fn onnxruntime() -> PathBuf {
    let files = std::fs::read_dir(installed("lib")).expect("the folder of libraries");
    let mut files = files.flatten().map(|file| file.path());
    let library = files.find(|path| path.to_string_lossy().contains("libonnxruntime.so"));
    library.expect("no libonnxruntime.so.* in .forebay/lib; `cargo xtask setup` installs it")
}

/// The backend's binary: `FOREBAY_BINARY`, or one built beside the running test.
///
/// # Panics
/// There is none.
pub fn forebay() -> PathBuf {
    if let Some(binary) = std::env::var_os("FOREBAY_BINARY") {
        return binary.into();
    }
    let test = std::env::current_exe().expect("the test's own path");
    let built = test.ancestors().nth(2).expect("tests are built in a profile's folder").join("forebay");
    assert!(built.exists(), "no {}; `cargo xtask test` and `cargo build` build it", built.display());
    built
}
