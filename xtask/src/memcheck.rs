//! `cargo xtask memcheck`: the C++ side of the bindings, with the test double of TensorRT, under AddressSanitizer and then under
//! valgrind; and the server that runs plans on them, under both. What either finds fails the test that was running.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{cargo, command, output, shown};
use crate::layout::Layout;
use crate::setup::{self, Part};

const PARTS: [Part; 4] = [Part::CudaHeaders, Part::Libclang, Part::Valgrind, Part::Python];

/// The bindings' tests that run on the double alone. The others load NVIDIA's libraries, or count allocations themselves.
const TESTS: [&str; 7] = ["disturbed", "double_errors", "graphs", "outputs", "ownership", "recovery", "run"];

/// The server's tests that run plans, for valgrind but for those that start dozens of servers: each takes seconds to start there.
const ALL_SERVER_TESTS: [&str; 2] = ["tensorrt::", "compiled::"];
const SERVER_TESTS: [&str; 4] = ["tensorrt::gpus", "tensorrt::lanes", "tensorrt::lost", "tensorrt::memory"];

/// How valgrind exits when it found something; no test does.
const FOUND: &str = "--error-exitcode=99";

/// Runs `cargo xtask memcheck`.
///
/// # Errors
/// A test fails, or something was found.
pub(crate) fn run(layout: &Layout) -> Result<()> {
    setup::install(layout, &PARTS)?;
    let version = output(command("rustc", ["-vV"]))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc has no host")?;
    println!("memcheck: under AddressSanitizer");
    under_asan(layout, host).context("under AddressSanitizer")?;
    println!("memcheck: under valgrind");
    let valgrind = Valgrind::find(layout)?;
    under_valgrind(layout, host, &valgrind).context("under valgrind")?;
    println!("memcheck: the server under valgrind");
    server_under_valgrind(layout, host, &valgrind).context("the server under valgrind")
}

/// C++ is compiled with the sanitizer. Rust's side isn't: that takes a nightly compiler. Its library must be the first that a
/// process loads.
fn under_asan(layout: &Layout, host: &str) -> Result<()> {
    let library = output(command("gcc", ["-print-file-name=libasan.so"]))?;
    let preload = format!("LD_PRELOAD={}", library.trim());
    let instrumented = |test: &mut Command| {
        // With a target named, flags don't reach build scripts and macros.
        test.args(["--target", host, "--target-dir"]).arg(layout.dir.join("memcheck"));
        test.env("CXXFLAGS", "-fsanitize=address -fno-omit-frame-pointer");
        test.env("RUSTFLAGS", "-Clink-arg=-lasan");
    };
    tests(layout, host, &["env", &preload], instrumented)?;
    println!("memcheck: the server under AddressSanitizer");
    // What libraries of others still hold at the end is theirs, and so is what NVIDIA's own parser does. Builds that end by a
    // signal shall, as without the sanitizer.
    let runner = ["env", &preload, "ASAN_OPTIONS=detect_leaks=0:handle_sigfpe=0"];
    let chosen = [&ALL_SERVER_TESTS[..], &["--skip", "nvidias_own"]].concat();
    server_tests(layout, host, &runner, &chosen, instrumented).context("the server")
}

/// The program, and where its parts are if it doesn't know that itself.
struct Valgrind {
    program: String,
    parts: Option<PathBuf>,
}

impl Valgrind {
    fn find(layout: &Layout) -> Result<Self> {
        // Debian's is a script that looks for the program beside itself, where no link leads it.
        let program = layout.bin("valgrind").canonicalize().context("valgrind")?;
        let parts = layout.dir.join("debian/valgrind/usr/libexec/valgrind");
        Ok(Self { program: program.to_string_lossy().into_owned(), parts: parts.is_dir().then_some(parts) })
    }

    fn set(&self, test: &mut Command) {
        if let Some(parts) = &self.parts {
            test.env("VALGRIND_LIB", parts);
        }
    }
}

/// Memory that the double's and the bindings' process-wide state still reaches at the end is no leak.
fn under_valgrind(layout: &Layout, host: &str, valgrind: &Valgrind) -> Result<()> {
    let runner = [
        &*valgrind.program,
        "--quiet",
        FOUND,
        "--trace-children=yes",
        "--leak-check=full",
        "--show-leak-kinds=definite",
        "--errors-for-leak-kinds=definite",
    ];
    tests(layout, host, &runner, |test| valgrind.set(test))
}

/// The servers that the tests start. They are killed in the end, so each stops at the first thing that is found, and its test
/// fails.
fn server_under_valgrind(layout: &Layout, host: &str, valgrind: &Valgrind) -> Result<()> {
    let suppressions = format!("--suppressions={}", layout.root.join("xtask/valgrind.supp").display());
    let runner = [
        &*valgrind.program,
        "--quiet",
        FOUND,
        "--exit-on-first-error=yes",
        "--trace-children=yes",
        "--leak-check=no",
        &suppressions,
    ];
    // A plan is built by this program itself, `/proc/self/exe`, which here is valgrind.
    let chosen = [&SERVER_TESTS[..], &["--skip", "compiled", "--test-threads", "1"]].concat();
    server_tests(layout, host, &runner, &chosen, |test| valgrind.set(test))
}

/// Runs tests of the server, without its own allocator, of whose memory neither tool knows.
fn server_tests(
    layout: &Layout,
    host: &str,
    runner: &[&str],
    chosen: &[&str],
    set: impl Fn(&mut Command),
) -> Result<()> {
    let mut test = cargo();
    test.args(["test", "--package", "forebay", "--no-default-features", "--features", "tensorrt"]);
    test.args(["--test", "serve"]);
    test.arg("--config").arg(format!("target.{host}.runner={runner:?}"));
    test.current_dir(&layout.root).env("FOREBAY_DIR", &layout.dir);
    set(&mut test);
    test.arg("--").args(chosen);
    shown(test)
}

/// Runs the tests with each test program started by `runner`.
fn tests(layout: &Layout, host: &str, runner: &[&str], set: impl Fn(&mut Command)) -> Result<()> {
    let double = ["--package", "forebay-tensorrt-double", "--test", "scenarios"];
    let names = TESTS.iter().flat_map(|name| ["--test", name]);
    let bindings: Vec<&str> = ["--package", "forebay-bindings"].into_iter().chain(names).collect();
    for chosen in [&double[..], &bindings] {
        let mut test = cargo();
        test.arg("test").args(chosen).args(["--features", "tensorrt"]).current_dir(&layout.root);
        test.arg("--config").arg(format!("target.{host}.runner={runner:?}"));
        test.env("FOREBAY_DIR", &layout.dir);
        set(&mut test);
        shown(test)?;
    }
    Ok(())
}
