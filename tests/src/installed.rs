//! Where set-up put what the tests need: `.forebay/` of the checkout, or `FOREBAY_DIR`.

use std::path::{Path, PathBuf};

/// Root of the checkout.
///
/// # Panics
/// The package is outside of a checkout.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the checkout's tests/")
}

/// A file or folder under `.forebay/`.
///
/// # Panics
/// It is not there: `cargo xtask test` makes it.
pub fn installed(path: &str) -> PathBuf {
    let folder = std::env::var_os("FOREBAY_DIR").map_or_else(|| checkout().join(".forebay"), PathBuf::from);
    let found = folder.join(path);
    assert!(found.exists(), "{} is not there; `cargo xtask test` installs and builds it", found.display());
    found
}

/// The built filter.
pub fn filter() -> PathBuf {
    installed("wasm/forebay_filter.wasm")
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
