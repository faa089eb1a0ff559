//! `cargo xtask wasm`: the crate `forebay-filter` enters, `.forebay/wasm/forebay_filter.wasm` leaves. Next: Envoy runs it.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use wasm_encoder::ExportSection;
use wasm_encoder::reencode::{self, Reencode};

use crate::command::{shown, target_folder};
use crate::layout::Layout;
use crate::setup::{self, Part, TARGET, Toolchain};

/// What a module exports to say that it speaks proxy-wasm's ABI 0.2.1, preceded by its length as in an export section.
const ABI_MARK: &[u8] = b"\x17proxy_abi_version_0_2_1";

/// Sets the toolchain up, builds the filter and puts it in its place.
///
/// # Errors
/// The build fails, or what it made is not a proxy-wasm module.
pub(crate) fn run(layout: &Layout) -> Result<()> {
    setup::install(layout, &[Part::Wasm])?;
    println!("building the filter (a minute the first time)");
    place(&built(layout, &target_folder(&layout.root)?, |_| ())?, &layout.filter())
}

/// Builds the filter by a toolchain that is set up already, with cargo's outputs in that folder. `prepare` says what else cargo is told.
///
/// # Errors
/// As [`run`].
pub(crate) fn built(layout: &Layout, target: &Path, prepare: impl FnOnce(&mut Command)) -> Result<Vec<u8>> {
    let mut cargo = Toolchain::chosen(layout)?.cargo(layout, "build")?;
    cargo.args(["--package", "forebay-filter", "--profile", "wasm"]);
    prepare(&mut cargo);
    shown(cargo).context("the filter does not build")?;
    let built = target.join(TARGET).join("wasm/forebay_filter.wasm");
    let module = fs::read(&built).with_context(|| format!("can't read {}", built.display()))?;
    check(&module).with_context(|| format!("{} is not a filter", built.display()))?;
    without_idle_exports(&module)
}

/// Callbacks that the SDK exports and the filter has no use for. A proxy calls what is exported: each would cost every request a
/// call into the VM (measured: 6% of a hit for these two).
const IDLE_EXPORTS: [&str; 2] = ["proxy_on_done", "proxy_on_log"];

struct WithoutIdleExports;

impl Reencode for WithoutIdleExports {
    type Error = Infallible;

    fn parse_export(
        &mut self,
        exports: &mut ExportSection,
        export: wasmparser::Export<'_>,
    ) -> Result<(), reencode::Error> {
        if IDLE_EXPORTS.contains(&export.name) {
            return Ok(());
        }
        reencode::utils::parse_export(self, exports, export)
    }
}

fn without_idle_exports(module: &[u8]) -> Result<Vec<u8>> {
    let mut kept = wasm_encoder::Module::new();
    WithoutIdleExports.parse_core_module(&mut kept, wasmparser::Parser::new(0), module)?;
    Ok(kept.finish())
}

/// Is it a module that speaks proxy-wasm?
///
/// # Errors
/// What it lacks.
pub(crate) fn check(module: &[u8]) -> Result<()> {
    if !module.starts_with(b"\0asm") {
        bail!("it does not begin as a Wasm module does");
    }
    if !module.windows(ABI_MARK.len()).any(|window| window == ABI_MARK) {
        bail!("it does not export proxy_abi_version_0_2_1");
    }
    Ok(())
}

/// Writes the module unless it is there already; whoever reads it sees the old one or the new one, whole.
fn place(module: &[u8], to: &Path) -> Result<()> {
    if fs::read(to).is_ok_and(|there| there == module) {
        return Ok(());
    }
    let folder = to.parent().context("the filter's place has no folder")?;
    fs::create_dir_all(folder)?;
    let fresh = folder.join(format!("forebay_filter.wasm.{}", std::process::id()));
    fs::write(&fresh, module)?;
    fs::rename(&fresh, to)?;
    println!("wasm: {} KiB, new", module.len() / 1024);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn only_a_proxy_wasm_module_is_a_filter() {
        assert!(check(b"\x7fELF").unwrap_err().to_string().contains("Wasm module"));
        assert!(check(b"\0asm\x01\0\0\0").unwrap_err().to_string().contains("proxy_abi_version_0_2_1"));
        check(b"\0asm\x01\0\0\0\x07\x1b\x01\x17proxy_abi_version_0_2_1\0\0").unwrap();
    }
}
