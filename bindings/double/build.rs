//! The C++ sources and TensorRT's headers enter; three shared libraries with the names of the real ones leave, in one folder.
//!
//! `CXXFLAGS=-fsanitize=address` compiles them, as all C++, with that sanitizer; what loads them then runs under
//! `LD_PRELOAD=$(gcc -print-file-name=libasan.so)`. `cargo xtask memcheck` does that.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One shared library.
struct Part {
    /// The folder of its sources.
    folder: &'static str,
    /// Its file, and what it calls itself.
    soname: &'static str,
    /// The libraries among these that it calls.
    needs: &'static [&'static str],
}

const PARTS: [Part; 3] = [
    Part { folder: "cuda", soname: "libcuda.so.1", needs: &[] },
    Part { folder: "infer", soname: "libnvinfer.so.11", needs: &["libcuda.so.1"] },
    Part { folder: "parser", soname: "libnvonnxparser.so.11", needs: &["libnvinfer.so.11", "libcuda.so.1"] },
];

/// The sources of the program that the tests run.
const DRIVER: &str = "tests/driver";

fn main() {
    if let Err(message) = build() {
        println!("cargo::error={message}");
        std::process::exit(1);
    }
}

fn build() -> Result<(), String> {
    let headers = headers()?;
    let libraries = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("lib");
    fs::create_dir_all(&libraries).map_err(|error| error.to_string())?;
    for part in PARTS {
        println!("cargo::rerun-if-changed={}", part.folder);
        link(&part, &compile(&part, &headers)?, &libraries)?;
    }
    link_driver(&headers, &libraries)?;
    println!("cargo::rustc-env=FOREBAY_DOUBLE_FOLDER={}", libraries.display());
    println!("cargo::rustc-env=FOREBAY_DOUBLE_INCLUDE={}", headers.display());
    Ok(())
}

/// The folder of TensorRT's headers: what `FOREBAY_TENSORRT_INCLUDE` says, or what set-up made.
fn headers() -> Result<PathBuf, String> {
    println!("cargo::rerun-if-env-changed=FOREBAY_TENSORRT_INCLUDE");
    println!("cargo::rerun-if-env-changed=FOREBAY_DIR");
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let set_up = env::var_os("FOREBAY_DIR").map_or(checkout.join(".forebay"), PathBuf::from);
    let folder =
        env::var_os("FOREBAY_TENSORRT_INCLUDE").map_or(set_up.join("tensorrt/include"), PathBuf::from);
    if folder.join("NvInfer.h").is_file() {
        return Ok(folder);
    }
    Err(format!(
        "TensorRT's headers are missing in {}: run `cargo xtask setup --only tensorrt-headers`, or set \
         FOREBAY_TENSORRT_INCLUDE to the folder that holds NvInfer.h",
        folder.display()
    ))
}

fn compiler(headers: &Path) -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").pic(true).cargo_metadata(false).warnings(true).extra_warnings(true);
    // TensorRT's own interface marks parts of itself as deprecated, and implementing it means to implement those, too.
    build.flag("-Wconversion").flag("-Wno-deprecated-declarations").flag("-pthread");
    build.flag("-isystem").flag(headers).include("cuda").include("infer");
    build
}

/// Makes the program of the scenarios, which the tests run.
fn link_driver(headers: &Path, libraries: &Path) -> Result<(), String> {
    println!("cargo::rerun-if-changed={DRIVER}");
    let archive = compile(&Part { folder: DRIVER, soname: "driver", needs: &[] }, headers)?;
    let program = libraries.with_file_name("driver");
    let mut command = compiler(headers).get_compiler().to_command();
    command.arg("-o").arg(&program).arg("-Wl,--whole-archive").arg(archive).arg("-Wl,--no-whole-archive");
    command.args(PARTS.iter().map(|part| libraries.join(part.soname)));
    command.arg(format!("-Wl,-rpath,{}", libraries.display())).arg("-pthread");
    run(command)?;
    println!("cargo::rustc-env=FOREBAY_DOUBLE_DRIVER={}", program.display());
    Ok(())
}

/// Compiles the part's sources into an archive.
fn compile(part: &Part, headers: &Path) -> Result<PathBuf, String> {
    let entries = fs::read_dir(part.folder).map_err(|error| format!("{}: {error}", part.folder))?;
    let sources = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let sources = sources.filter(|path| path.extension() == Some(OsStr::new("cc")));
    let name = format!("double_{}", part.folder.replace('/', "_"));
    compiler(headers).files(sources).try_compile(&name).map_err(|error| error.to_string())?;
    Ok(PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join(format!("lib{name}.a")))
}

/// Makes a shared library of the whole archive.
fn link(part: &Part, archive: &Path, libraries: &Path) -> Result<(), String> {
    let file = libraries.join(part.soname);
    let mut command = compiler(libraries).get_compiler().to_command();
    command.arg("-shared").arg("-o").arg(&file);
    command.arg(format!("-Wl,-soname,{}", part.soname)).args([
        "-Wl,-rpath,$ORIGIN",
        "-Wl,-z,nodelete",
        "-Wl,-z,defs",
    ]);
    command.arg("-Wl,--whole-archive").arg(archive).arg("-Wl,--no-whole-archive");
    command.args(part.needs.iter().map(|needed| libraries.join(needed))).args(["-pthread", "-ldl"]);
    run(command)
}

fn run(mut command: Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}
