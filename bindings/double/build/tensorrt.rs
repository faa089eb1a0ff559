//! The C++ sources and the headers of TensorRT and CUDA enter; three shared libraries with the names of the real ones leave, in one
//! folder, and in another the stand-in: TensorRT and its parser once more, over whatever driver there is.
//!
//! `CXXFLAGS=-fsanitize=address` compiles them, as all C++, with that sanitizer; what loads them then runs under
//! `LD_PRELOAD=$(gcc -print-file-name=libasan.so)`. `cargo xtask memcheck` does that.

#[path = "../../build/headers.rs"]
mod headers;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One shared library.
struct Part {
    /// The folders of its sources.
    folders: &'static [&'static str],
    library: Library,
    /// The libraries beside it that it calls.
    needs: &'static [Library],
}

/// A library, whose file and own name are those of the real one.
#[derive(Clone, Copy)]
enum Library {
    Cuda,
    Nvinfer,
    Parser,
}

impl Library {
    /// TensorRT's are named by its major version.
    fn soname(self, major: u32) -> String {
        match self {
            Self::Cuda => "libcuda.so.1".to_owned(),
            Self::Nvinfer => format!("libnvinfer.so.{major}"),
            Self::Parser => format!("libnvonnxparser.so.{major}"),
        }
    }
}

/// Folders of sources. `host` and `standin` are two ways of a run: as host code, and as kernels by a driver.
const FOLDERS: [&str; 7] = ["control", "cuda", "host", "infer", "parser", "standin", DRIVER];

const DOUBLE: [Part; 3] = [
    Part { folders: &["cuda", "control"], library: Library::Cuda, needs: &[] },
    Part { folders: &["infer", "host"], library: Library::Nvinfer, needs: &[Library::Cuda] },
    Part { folders: &["parser"], library: Library::Parser, needs: &[Library::Nvinfer, Library::Cuda] },
];

/// They are in a folder of their own without a driver: the loader finds the machine's.
const STANDIN: [Part; 2] = [
    Part { folders: &["infer", "standin", "control"], library: Library::Nvinfer, needs: &[] },
    Part { folders: &["parser"], library: Library::Parser, needs: &[Library::Nvinfer] },
];

/// The stand-in's kernels, as nvcc made them of kernels.cu.
const KERNELS: &str = "kernels/kernels.ptx";

/// The sources of the program that the tests run.
const DRIVER: &str = "tests/driver";

pub(crate) fn main() {
    if let Err(message) = build() {
        println!("cargo::error={message}");
        std::process::exit(1);
    }
}

fn build() -> Result<(), String> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let headers =
        Folders { tensorrt: headers::TENSORRT.find(&checkout)?, cuda: headers::CUDA.find(&checkout)? };
    let (major, _) = headers::version(&headers::TENSORRT, &headers.tensorrt)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let (double, standin) = (out.join("lib"), out.join("standin"));
    for folder in [&double, &standin] {
        fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    }
    include_kernels(&out)?;
    for folder in FOLDERS {
        println!("cargo::rerun-if-changed={folder}");
        compile(folder, &headers, &out)?;
    }
    for part in &DOUBLE {
        link(part, major, &out, &double, &[])?;
    }
    for part in &STANDIN {
        link(part, major, &out, &standin, &[double.join(Library::Cuda.soname(major))])?;
    }
    link_driver(major, &out, &double)?;
    println!("cargo::rustc-env=FOREBAY_DOUBLE_MAJOR={major}");
    println!("cargo::rustc-env=FOREBAY_DOUBLE_FOLDER={}", double.display());
    println!("cargo::rustc-env=FOREBAY_STANDIN_FOLDER={}", standin.display());
    println!("cargo::rustc-env=FOREBAY_DOUBLE_INCLUDE={}", headers.tensorrt.display());
    Ok(())
}

/// Writes the kernels as a string of C++.
fn include_kernels(out: &Path) -> Result<(), String> {
    println!("cargo::rerun-if-changed=kernels");
    let ptx = fs::read_to_string(KERNELS).map_err(|error| format!("{KERNELS}: {error}"))?;
    fs::write(out.join("kernels.ptx.inc"), format!("R\"ptx({ptx})ptx\"")).map_err(|error| error.to_string())
}

/// Folders of headers.
struct Folders {
    tensorrt: PathBuf,
    cuda: PathBuf,
}

fn compiler(headers: &Folders) -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").pic(true).cargo_metadata(false).warnings(true).extra_warnings(true);
    // TensorRT's own interface marks parts of itself as deprecated, and implementing it means to implement those, too.
    build.flag("-Wconversion").flag("-Wno-deprecated-declarations").flag("-pthread");
    for folder in [&headers.tensorrt, &headers.cuda] {
        build.flag("-isystem").flag(folder);
    }
    build.include("control").include("cuda").include("infer").include("kernels");
    build
}

/// Links with the compiler that compiles.
fn linker() -> Command {
    cc::Build::new().cpp(true).cargo_metadata(false).get_compiler().to_command()
}

/// The archive of a folder.
fn archive(folder: &str, out: &Path) -> PathBuf {
    out.join(format!("libdouble_{}.a", folder.replace('/', "_")))
}

/// Compiles the folder's sources into its archive.
fn compile(folder: &str, headers: &Folders, out: &Path) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{folder}: {error}"))?;
    let sources = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let sources = sources.filter(|path| path.extension() == Some(OsStr::new("cc")));
    let name = format!("double_{}", folder.replace('/', "_"));
    let mut build = compiler(headers);
    build.include(out).files(sources).try_compile(&name).map_err(|error| error.to_string())
}

/// Makes a shared library of whole archives. `also` are needed, too, and found at run time.
fn link(part: &Part, major: u32, out: &Path, libraries: &Path, also: &[PathBuf]) -> Result<(), String> {
    let mut command = linker();
    let soname = part.library.soname(major);
    command.arg("-shared").arg("-o").arg(libraries.join(&soname));
    command.arg(format!("-Wl,-soname,{soname}")).args([
        "-Wl,-rpath,$ORIGIN",
        "-Wl,-z,nodelete",
        "-Wl,-z,defs",
    ]);
    command.arg("-Wl,--whole-archive").args(part.folders.iter().map(|folder| archive(folder, out)));
    command
        .arg("-Wl,--no-whole-archive")
        .args(part.needs.iter().map(|needed| libraries.join(needed.soname(major))));
    command.args(also).args(["-pthread", "-ldl"]);
    run(command)
}

/// Makes the program of the scenarios, which the tests run.
fn link_driver(major: u32, out: &Path, libraries: &Path) -> Result<(), String> {
    let program = out.join("driver");
    let mut command = linker();
    command.arg("-o").arg(&program).arg("-Wl,--whole-archive").arg(archive(DRIVER, out));
    command
        .arg("-Wl,--no-whole-archive")
        .args(DOUBLE.iter().map(|part| libraries.join(part.library.soname(major))));
    command.arg(format!("-Wl,-rpath,{}", libraries.display())).arg("-pthread");
    run(command)?;
    println!("cargo::rustc-env=FOREBAY_DOUBLE_DRIVER={}", program.display());
    Ok(())
}

fn run(mut command: Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}
