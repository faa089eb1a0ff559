//! TensorRT's headers and libclang enter; the C++ side, compiled once a flavour, and the headers' version numbers leave.

use std::env;
use std::path::{Path, PathBuf};

/// One flavour of TensorRT: the same names in C++, other classes behind them.
struct Flavour {
    /// As messages name it.
    name: &'static str,
    /// The environment variable that says where its headers are.
    variable: &'static str,
    /// The folder of its headers below `.forebay`, made by set-up.
    folder: &'static str,
    /// What the compiler is told: the namespaces keep the two flavours apart in one binary.
    defines: &'static [(&'static str, &'static str)],
    /// The C++ namespace of the compiled classes, and the name of the static library.
    namespace: &'static str,
}

const ENTERPRISE: Flavour = Flavour {
    name: "TensorRT",
    variable: "FOREBAY_TENSORRT_INCLUDE",
    folder: "tensorrt/include",
    defines: &[("FOREBAY_FLAVOUR", "enterprise")],
    namespace: "enterprise",
};

const RTX: Flavour = Flavour {
    name: "TensorRT-RTX",
    variable: "FOREBAY_TENSORRT_RTX_INCLUDE",
    folder: "tensorrt-rtx/include",
    defines: &[
        ("FOREBAY_FLAVOUR", "rtx"),
        ("FOREBAY_RTX", "1"),
        ("nvinfer1", "nvinfer1_rtx"),
        ("nvonnxparser", "nvonnxparser_rtx"),
    ],
    namespace: "rtx",
};

/// Enums whose values the compiler checks against the headers of both flavours.
const ENUMS: &str = "src/enums.rs";
/// Classes and structs that cross.
const BRIDGE: &str = "src/bridge.rs";
/// The one implementation.
const SHIM: [&str; 6] =
    ["cpp/call.cc", "cpp/library.cc", "cpp/engine.cc", "cpp/context.cc", "cpp/network.cc", "cpp/refitter.cc"];

fn main() {
    if let Err(message) = build() {
        println!("cargo::error={message}");
        std::process::exit(1);
    }
}

fn build() -> Result<(), String> {
    println!("cargo::rerun-if-changed=cpp");
    find_libclang();
    let mut bridge = cxx_build::bridge(BRIDGE);
    strict(&mut bridge).try_compile("forebay_bridge").map_err(|error| error.to_string())?;
    for flavour in [&ENTERPRISE, &RTX] {
        let headers = headers(flavour)?;
        write_version(&headers, flavour)?;
        for (what, mut build) in [("enums", cxx_build::bridge(ENUMS)), ("shim", cxx_build::bridges(NONE))] {
            if what == "shim" {
                build.files(SHIM);
            }
            for (name, value) in flavour.defines {
                build.define(name, *value);
            }
            // System headers: their warnings aren't ours.
            strict(&mut build).flag("-isystem").flag(&headers);
            build
                .try_compile(&format!("forebay_{what}_{}", flavour.namespace))
                .map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// No bridge: only the include path of the generated headers is wanted.
const NONE: [&str; 0] = [];

fn strict(build: &mut cc::Build) -> &mut cc::Build {
    build.std("c++17").warnings(true).extra_warnings(true).flag("-Wconversion").flag("-fvisibility=hidden")
}

/// `.forebay` in the checkout, or where `FOREBAY_DIR` says, from there on. Not watched: what is found there is.
fn installed() -> PathBuf {
    let checkout = Path::new(&env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("..");
    checkout.join(env::var_os("FOREBAY_DIR").unwrap_or(".forebay".into()))
}

/// The folder of the flavour's headers: what the variable says, what set-up made, or the system's.
fn headers(flavour: &Flavour) -> Result<PathBuf, String> {
    const HEADER: &str = "NvInferVersion.h";
    println!("cargo::rerun-if-env-changed={}", flavour.variable);
    if let Some(folder) = env::var_os(flavour.variable).map(PathBuf::from) {
        if folder.join(HEADER).is_file() {
            return Ok(folder);
        }
        return Err(format!("{} is {}, which holds no {HEADER}", flavour.variable, folder.display()));
    }
    let set_up = installed().join(flavour.folder);
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    // The system's headers carry the same names whatever the flavour: only the enterprise one has packages for them.
    let system = [PathBuf::from("/usr/include"), PathBuf::from(format!("/usr/include/{arch}-linux-gnu"))];
    let system = system.into_iter().filter(|_| flavour.namespace == ENTERPRISE.namespace);
    let found = [set_up].into_iter().chain(system).find(|folder| folder.join(HEADER).is_file());
    let found = found.ok_or_else(|| {
        format!(
            "the headers of {} are missing: run `cargo xtask setup --only tensorrt-headers,libclang`, or set {} to \
             the folder that holds {HEADER}",
            flavour.name, flavour.variable
        )
    })?;
    println!("cargo::rerun-if-changed={}", found.display());
    Ok(found)
}

/// Shows bindgen the libclang that set-up installed, unless the user has a say.
fn find_libclang() {
    println!("cargo::rerun-if-env-changed=LIBCLANG_PATH");
    let folder = installed().join("libclang");
    if env::var_os("LIBCLANG_PATH").is_none() && folder.join("libclang.so").is_file() {
        // SAFETY: no other thread of this build script runs yet, so nothing reads the environment meanwhile.
        unsafe { env::set_var("LIBCLANG_PATH", folder) };
    }
}

/// Writes the version numbers of the header, from which the version gate takes what a library must have.
fn write_version(headers: &Path, flavour: &Flavour) -> Result<(), String> {
    let header = headers.join("NvInferVersion.h");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let builder =
        bindgen::builder().header(header.to_string_lossy()).allowlist_var("NV_TENSORRT_(MAJOR|MINOR|PATCH)");
    // bindgen panics when it finds no libclang.
    std::panic::set_hook(Box::new(|_| ()));
    let generated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.generate()));
    let _ = std::panic::take_hook();
    let generated = generated.map_err(|_| {
        "libclang isn't found: run `cargo xtask setup --only tensorrt-headers,libclang`, or set LIBCLANG_PATH to the \
         folder that holds libclang.so"
    })?;
    let bindings = generated.map_err(|error| format!("{}: {error}", header.display()))?;
    bindings
        .write_to_file(out.join(format!("{}_version.rs", flavour.namespace)))
        .map_err(|error| error.to_string())
}
