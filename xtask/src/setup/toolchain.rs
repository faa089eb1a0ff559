//! What builds the filter: the active toolchain if it has the wasm32 target that `rust-toolchain.toml` names, else Debian's Rust with
//! its library sources, in `.forebay/`. The user's toolchains are never changed: who has no such target is asked for it.
//! `FOREBAY_WASM_TOOLCHAIN` = `rustup` or `debian` decides; unset, the first that is there is taken. Next: `wasm` builds with it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use bytesize::ByteSize;

use super::{Plan, debian};
use crate::WrongSetting;
use crate::command::{cargo, command, on_path, output};
use crate::layout::Layout;

/// The target that Envoy's V8 runs.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's current Rust for building web browsers: the compiler, LLVM with the linker, and the library's sources.
const PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "rust-web-llvm"];

/// What is fetched for them, about.
const DEBIANS: ByteSize = ByteSize::mb(150);

/// Where a compiler's library sources are, below its prefix.
const SOURCES: &str = "lib/rustlib/src/rust/library/Cargo.toml";

/// How the filter is compiled.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// By the active toolchain, which has the target.
    Rustup,
    /// By Debian's compiler under this prefix, which builds the standard library as well.
    Debian(PathBuf),
}

impl Toolchain {
    /// The one that set-up chose.
    ///
    /// # Errors
    /// Set-up has not been here.
    pub(crate) fn chosen(layout: &Layout) -> Result<Self> {
        let text = fs::read_to_string(record(layout)).context("the wasm toolchain is not set up")?;
        let Some(prefix) = text.trim().strip_prefix("debian ") else { return Ok(Self::Rustup) };
        let prefix = layout.dir.join(prefix);
        let (rustc, record) = (prefix.join("bin/rustc"), record(layout));
        ensure!(
            rustc.is_file(),
            "{} says that {} compiles the filter, which is gone: remove that file, and `cargo xtask setup`",
            record.display(),
            rustc.display()
        );
        Ok(Self::Debian(prefix))
    }

    /// A cargo command for the wasm32 target; only its arguments after `--target` are missing.
    ///
    /// # Errors
    /// No linker is found.
    pub(crate) fn cargo(&self, layout: &Layout, subcommand: &str) -> Result<Command> {
        let mut cargo = cargo();
        cargo.current_dir(&layout.root).args([subcommand, "--target", TARGET]);
        // Flags from the environment would replace those of .cargo/config.toml, without which the filter does not build.
        cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        if let Self::Debian(prefix) = self {
            // Stable compilers take -Z flags when told so; Debian ships no library built for the target.
            cargo.arg("-Zbuild-std=std,panic_abort").env("RUSTC_BOOTSTRAP", "1");
            cargo.env("RUSTC", prefix.join("bin/rustc"));
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker(prefix)?);
            if *prefix != Path::new("/usr") {
                cargo.env("LD_LIBRARY_PATH", libraries(prefix)?);
            }
        }
        Ok(cargo)
    }
}

pub(super) fn plan(layout: &Layout) -> Result<Plan> {
    let wanted = wanted()?;
    // Another toolchain, or a target more, is another choice.
    let rustc = output(command("rustc", ["--version"])).context("Rust is needed: see rustup.rs")?;
    let (there, doing, size) = match (has_target()?, wanted) {
        (true, None | Some("rustup")) => ("there", "the active toolchain has it", ByteSize::b(0)),
        (false, Some("rustup")) => ("missing", "the active toolchain", ByteSize::b(0)),
        (true, Some(_)) => ("there", "Debian's Rust", DEBIANS),
        (false, _) => ("missing", "Debian's Rust, for the active toolchain doesn't have it", DEBIANS),
    };
    Ok(Plan {
        pin: format!("{} {there} {rustc}", wanted.unwrap_or("any")),
        files: vec![record(layout)],
        doing: format!("what compiles for {TARGET}: {doing}"),
        size,
        install: Box::new(install),
    })
}

/// How a user puts the target to the toolchain that builds all else.
const ASKED: &str = "`rustup target add wasm32-unknown-unknown` adds it";

fn install(layout: &Layout) -> Result<()> {
    let chosen = match (has_target()?, wanted()?) {
        (true, None | Some("rustup")) => Toolchain::Rustup,
        (false, Some("rustup")) => {
            bail!("FOREBAY_WASM_TOOLCHAIN is rustup, and the active toolchain has no {TARGET}: {ASKED}")
        }
        (_, Some(_)) => debian(layout)?,
        (false, None) => {
            println!(
                "    the active toolchain has no {TARGET}: {ASKED}, and with it the filter builds faster"
            );
            debian(layout).with_context(|| {
                format!(
                    "the filter needs a compiler for {TARGET}, and the active toolchain has none: {ASKED}"
                )
            })?
        }
    };
    let text = match &chosen {
        Toolchain::Rustup => "rustup".to_owned(),
        // As it lies in the folder of ours, which may be moved.
        Toolchain::Debian(prefix) => {
            format!("debian {}", prefix.strip_prefix(&layout.dir).unwrap_or(prefix).display())
        }
    };
    println!("    the filter is built by: {text}");
    Ok(fs::write(record(layout), text)?)
}

fn record(layout: &Layout) -> PathBuf {
    layout.dir.join("wasm-toolchain")
}

fn wanted() -> Result<Option<&'static str>> {
    let wanted = std::env::var_os("FOREBAY_WASM_TOOLCHAIN").unwrap_or_default();
    match wanted.to_str() {
        Some("") => Ok(None),
        Some("rustup") => Ok(Some("rustup")),
        Some("debian") => Ok(Some("debian")),
        _ => bail!(WrongSetting(format!(
            "FOREBAY_WASM_TOOLCHAIN is {}; it can be rustup or debian",
            wanted.display()
        ))),
    }
}

/// Has the active toolchain the target's library?
fn has_target() -> Result<bool> {
    let libraries = output(command("rustc", ["--print", "target-libdir", "--target", TARGET]))?;
    Ok(Path::new(libraries.trim()).is_dir())
}

/// Debian's compiler: the one installed, else its packages unpacked here.
fn debian(layout: &Layout) -> Result<Toolchain> {
    let system = Path::new("/usr");
    if is_recent(&system.join("bin/rustc")) && system.join(SOURCES).is_file() && linker(system).is_ok() {
        return Ok(Toolchain::Debian(system.to_owned()));
    }
    debian::unpack(layout, "rust", &PACKAGES, DEBIANS)?;
    let prefix = layout.dir.join("debian/rust/usr");
    linker(&prefix)?;
    Ok(Toolchain::Debian(prefix))
}

/// Does this compiler run, and is it new enough for the workspace? Debian's plain `rustc` is not.
fn is_recent(rustc: &Path) -> bool {
    let version = |text: &str| text.split('.').map_while(|part| part.parse().ok()).collect::<Vec<u32>>();
    let said = output(command(rustc, ["--version"])).unwrap_or_default();
    said.split(' ').nth(1).is_some_and(|said| version(said) >= version(env!("CARGO_PKG_RUST_VERSION")))
}

/// LLVM's linker: of the active toolchain, else of Debian's.
fn linker(prefix: &Path) -> Result<PathBuf> {
    let sysroot = output(command("rustc", ["--print", "sysroot"]))?;
    let hosts = fs::read_dir(Path::new(sysroot.trim()).join("lib/rustlib")).into_iter().flatten().flatten();
    let shipped = hosts.map(|host| host.path().join("bin/rust-lld"));
    let mut candidates = shipped.chain([prefix.join("bin/rust-lld")]).chain(on_path("rust-lld"));
    candidates
        .find(|linker| linker.is_file())
        .context("no rust-lld: not with the active toolchain, not of Debian")
}

/// The search path of the unpacked compiler's libraries.
fn libraries(prefix: &Path) -> Result<OsString> {
    let folders = fs::read_dir(prefix.join("lib"))?.flatten().map(|entry| entry.path());
    let folders = folders.filter(|folder| folder.to_string_lossy().contains("-linux-gnu"));
    Ok(std::env::join_paths(folders.chain([prefix.join("lib")]))?)
}
