//! What builds the filter: the active toolchain with its wasm32 target, or Debian's Rust with its library sources.
//! `FOREBAY_WASM_TOOLCHAIN` = `rustup` or `debian` decides; unset, the first that works is taken. Next: `wasm` builds with it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Plan, debian};
use crate::WrongSetting;
use crate::command::{cargo, command, on_path, output};
use crate::layout::Layout;

/// The target that Envoy's V8 runs.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's current Rust for building web browsers: the compiler, LLVM with the linker, and the library's sources.
const PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "rust-web-llvm"];

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
        Ok(match text.trim().strip_prefix("debian ") {
            Some(prefix) => Self::Debian(prefix.into()),
            None => Self::Rustup,
        })
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
    // Another toolchain, another set of targets.
    let rustc = output(command("rustc", ["--version"])).context("Rust is needed: see rustup.rs")?;
    let doing = format!("{TARGET} by rustup, else Debian's Rust (up to 150 MB to fetch)");
    Ok(Plan { pin: format!("{} {rustc}", wanted.unwrap_or("any")), files: vec![record(layout)], doing })
}

pub(super) fn install(layout: &Layout) -> Result<()> {
    let chosen = match wanted()? {
        Some("rustup") => add_target().map(|()| Toolchain::Rustup)?,
        Some(_) => debian(layout)?,
        None => match add_target() {
            Ok(()) => Toolchain::Rustup,
            Err(error) => {
                println!("    rustup can't add {TARGET} ({}); taking Debian's Rust", error.root_cause());
                debian(layout)?
            }
        },
    };
    let text = match &chosen {
        Toolchain::Rustup => "rustup".to_owned(),
        Toolchain::Debian(prefix) => format!("debian {}", prefix.display()),
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

/// Makes sure that the active toolchain has the target's library.
fn add_target() -> Result<()> {
    let libraries = output(command("rustc", ["--print", "target-libdir", "--target", TARGET]))?;
    if Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    output(command("rustup", ["target", "add", TARGET]))?;
    Ok(())
}

/// Debian's compiler: the one installed, else its packages unpacked here.
fn debian(layout: &Layout) -> Result<Toolchain> {
    let system = Path::new("/usr");
    if is_recent(&system.join("bin/rustc")) && system.join(SOURCES).is_file() && linker(system).is_ok() {
        return Ok(Toolchain::Debian(system.to_owned()));
    }
    debian::unpack(layout, "rust", &PACKAGES)?;
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
