//! `cargo xtask memcheck`: the C++ side of the bindings, with the test double of TensorRT, under AddressSanitizer and then under
//! valgrind. What either finds fails the test that was running.

use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{cargo, command, output, shown};
use crate::layout::Layout;
use crate::setup::{self, Part};

const PARTS: [Part; 3] = [Part::TensorrtHeaders, Part::Libclang, Part::Valgrind];

/// The bindings' tests that run on the double alone. The others load NVIDIA's libraries, or count allocations themselves.
const TESTS: [&str; 5] = ["disturbed", "double_errors", "ownership", "recovery", "run"];

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
    under_asan(layout, host)?;
    println!("memcheck: under valgrind");
    under_valgrind(layout, host)
}

/// C++ is compiled with the sanitizer. Rust's side isn't: that takes a nightly compiler. Its library must be the first that a
/// process loads.
fn under_asan(layout: &Layout, host: &str) -> Result<()> {
    let library = output(command("gcc", ["-print-file-name=libasan.so"]))?;
    let preload = format!("LD_PRELOAD={}", library.trim());
    tests(layout, host, &["env", &preload], |test| {
        // With a target named, flags don't reach build scripts and macros.
        test.args(["--target", host, "--target-dir"]).arg(layout.dir.join("memcheck"));
        test.env("CXXFLAGS", "-fsanitize=address -fno-omit-frame-pointer");
        test.env("RUSTFLAGS", "-Clink-arg=-lasan");
    })
    .context("under AddressSanitizer")
}

/// Memory that the double's and the bindings' process-wide state still reaches at the end is no leak.
fn under_valgrind(layout: &Layout, host: &str) -> Result<()> {
    // Debian's is a script that looks for the program beside itself, where no link leads it.
    let program = layout.bin("valgrind").canonicalize().context("valgrind")?;
    let program = program.to_string_lossy();
    let runner = [
        &*program,
        "--quiet",
        FOUND,
        "--trace-children=yes",
        "--leak-check=full",
        "--show-leak-kinds=definite",
        "--errors-for-leak-kinds=definite",
    ];
    // An unpacked valgrind doesn't know where its parts are.
    let unpacked = layout.dir.join("debian/valgrind/usr/libexec/valgrind");
    tests(layout, host, &runner, |test| {
        if unpacked.is_dir() {
            test.env("VALGRIND_LIB", &unpacked);
        }
    })
    .context("under valgrind")
}

/// Runs the tests with each test program started by `runner`.
fn tests(layout: &Layout, host: &str, runner: &[&str], set: impl Fn(&mut Command)) -> Result<()> {
    let double = ["--package", "forebay-tensorrt-double", "--test", "scenarios"];
    let names = TESTS.iter().flat_map(|name| ["--test", name]);
    let bindings: Vec<&str> = ["--package", "forebay-bindings"].into_iter().chain(names).collect();
    for chosen in [&double[..], &bindings] {
        let mut test = cargo();
        test.arg("test").args(chosen).current_dir(&layout.root);
        test.arg("--config").arg(format!("target.{host}.runner={runner:?}"));
        test.env("FOREBAY_DIR", &layout.dir);
        set(&mut test);
        shown(test)?;
    }
    Ok(())
}
