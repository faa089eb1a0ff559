//! The headers of TensorRT and CUDA, and libclang, enter; the C++ side, compiled once a flavour, the headers' version numbers, and
//! CUDA's driver as Rust calls it leave.

#[path = "headers.rs"]
mod headers;

use std::env;
use std::path::{Path, PathBuf};

use headers::Headers;

/// One flavour of TensorRT: the same names in C++, other classes behind them.
struct Flavour {
    headers: &'static Headers,
    /// What the compiler is told: the namespaces keep the two flavours apart in one binary.
    defines: &'static [(&'static str, &'static str)],
    /// The C++ namespace of the compiled classes, and the name of the static library.
    namespace: &'static str,
}

const ENTERPRISE: Flavour = Flavour {
    headers: &headers::TENSORRT,
    defines: &[("FOREBAY_FLAVOUR", "enterprise")],
    namespace: "enterprise",
};

const RTX: Flavour = Flavour {
    headers: &headers::RTX,
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

/// What Rust calls of CUDA's driver: of the header, it sees these and what they take. All must be in a driver that is found, so each
/// is the oldest of its name that does what is wanted: that of CUDA 11.4 has them all.
const DRIVER: &[&str] = &[
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDeviceGetUuid_v2",
    "cuDevicePrimaryCtxGetState",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxReset_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDeviceTotalMem_v2",
    "cuDriverGetVersion",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventElapsedTime",
    "cuEventQuery",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuInit",
    "cuMemAlloc_v2",
    "cuMemFreeHost",
    "cuMemFree_v2",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuStreamBeginCapture_v2",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamEndCapture",
    "cuStreamQuery",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
];

/// What `forebay-gpu` calls beside them.
const FAULT: &[&str] =
    &["cuDevicePrimaryCtxReset_v2", "cuLaunchKernel", "cuModuleGetFunction", "cuModuleLoadData"];

pub(crate) fn main() {
    if let Err(message) = build() {
        println!("cargo::error={message}");
        std::process::exit(1);
    }
}

fn build() -> Result<(), String> {
    println!("cargo::rerun-if-changed=cpp");
    let checkout = Path::new(&env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("..");
    find_libclang(&headers::installed(&checkout));
    let mut bridge = cxx_build::bridge(BRIDGE);
    strict(&mut bridge).try_compile("forebay_bridge").map_err(|error| error.to_string())?;
    let cuda = headers::CUDA.find(&checkout)?;
    write_driver("cuda.rs", &cuda, DRIVER)?;
    write_driver("fault.rs", &cuda, FAULT)?;
    for flavour in [&ENTERPRISE, &RTX] {
        let headers = flavour.headers.find(&checkout)?;
        headers::version(flavour.headers, &headers)?;
        write_version(&headers, flavour)?;
        for (what, mut build) in [("enums", cxx_build::bridge(ENUMS)), ("shim", cxx_build::bridges(NONE))] {
            if what == "shim" {
                build.files(SHIM);
            }
            for (name, value) in flavour.defines {
                build.define(name, *value);
            }
            // System headers: their warnings aren't ours.
            strict(&mut build).flag("-isystem").flag(&headers).flag("-isystem").flag(&cuda);
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

/// Shows bindgen the libclang that set-up installed, unless the user has a say.
fn find_libclang(installed: &Path) {
    println!("cargo::rerun-if-env-changed=LIBCLANG_PATH");
    let folder = installed.join("libclang");
    if env::var_os("LIBCLANG_PATH").is_none() && folder.join("libclang.so").is_file() {
        // SAFETY: no other thread of this build script runs yet, so nothing reads the environment meanwhile.
        unsafe { env::set_var("LIBCLANG_PATH", folder) };
    }
}

/// Writes the functions of CUDA's driver as fields of a struct that a library fills. Enums are integers: a driver may answer with
/// numbers that the header doesn't know.
fn write_driver(file: &str, headers: &Path, functions: &[&str]) -> Result<(), String> {
    let mut builder = bindgen::builder()
        .header(headers.join("cuda.h").to_string_lossy())
        // Old functions by their old names, as `cuEventElapsedTime` is one.
        .clang_arg("-D__CUDA_API_VERSION_INTERNAL")
        .clang_args(compilers_headers())
        .dynamic_library_name("Functions")
        .dynamic_link_require_all(true)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .generate_comments(false)
        .layout_tests(false)
        .allowlist_type("CUevent_flags_enum|CUstream_flags_enum");
    for function in functions {
        builder = builder.allowlist_function(function);
    }
    write_generated(file, builder)
}

/// `stddef.h` and its like, which libclang alone has not.
fn compilers_headers() -> Vec<String> {
    let compiler = cc::Build::new().get_compiler();
    let told = compiler.to_command().arg("-print-file-name=include").output();
    let folder = told.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    folder.map(|folder| vec!["-isystem".to_owned(), folder.trim().to_owned()]).unwrap_or_default()
}

/// Writes the version numbers of the header, from which the version gate takes what a library must have.
fn write_version(headers: &Path, flavour: &Flavour) -> Result<(), String> {
    let header = headers.join("NvInferVersion.h");
    let builder =
        bindgen::builder().header(header.to_string_lossy()).allowlist_var("NV_TENSORRT_(MAJOR|MINOR|PATCH)");
    write_generated(&format!("{}_version.rs", flavour.namespace), builder)
}

/// Writes what bindgen makes.
fn write_generated(file: &str, builder: bindgen::Builder) -> Result<(), String> {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    // bindgen panics when it finds no libclang.
    std::panic::set_hook(Box::new(|_| ()));
    let generated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.generate()));
    let _ = std::panic::take_hook();
    let generated = generated.map_err(|_| {
        "libclang isn't found: run `cargo xtask setup --only libclang`, or set LIBCLANG_PATH to the folder that holds \
         libclang.so"
    })?;
    let bindings = generated.map_err(|error| format!("{file}: {error}"))?;
    bindings.write_to_file(out.join(file)).map_err(|error| error.to_string())
}
