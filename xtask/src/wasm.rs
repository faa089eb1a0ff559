//! `cargo xtask wasm`: the crate `forebay-filter` enters, `.forebay/wasm/forebay_filter.wasm` leaves. Next: Envoy runs it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

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
    let mut cargo = Toolchain::chosen(layout)?.cargo(layout, "build")?;
    cargo.args(["--package", "forebay-filter", "--profile", "wasm"]);
    shown(cargo).context("the filter does not build")?;
    let built = target_folder(&layout.root)?.join(TARGET).join("wasm/forebay_filter.wasm");
    let module = fs::read(&built).with_context(|| format!("can't read {}", built.display()))?;
    check(&module).with_context(|| format!("{} is not a filter", built.display()))?;
    place(&module, &layout.filter())
}

fn check(module: &[u8]) -> Result<()> {
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
