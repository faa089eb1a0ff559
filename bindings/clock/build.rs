//! The library that is preloaded.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=clock.cc");
    let library = Path::new(&env::var_os("OUT_DIR").unwrap_or_default()).join("libset_clock.so");
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").pic(true).cargo_metadata(false).warnings(true).extra_warnings(true);
    let mut compiler = build.get_compiler().to_command();
    compiler.args(["-shared", "-Wconversion", "clock.cc", "-o"]).arg(&library);
    match compiler.status() {
        Ok(status) if status.success() => {
            println!("cargo::rustc-env=FOREBAY_SET_CLOCK_LIBRARY={}", library.display());
        }
        failed => println!("cargo::error={compiler:?}: {failed:?}"),
    }
}
