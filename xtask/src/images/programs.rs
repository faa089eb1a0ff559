//! What goes into images, built so that a checkout in another folder gives the same bytes: the sources enter, `forebay` and the filter
//! leave, with no path of this machine in them.
//!
//! Cargo's own folder of outputs is not used: paths are taken out by a wrapper around rustc, of which cargo's fingerprints know nothing,
//! and what is built there without it would be taken for what is wanted. (Not by RUSTFLAGS: those are part of the names of folders of
//! generated code, which are in the program in turn.)

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::machine::Machine;
use crate::command::{cargo, command, output, shown};
use crate::layout::Layout;
use crate::wasm;

/// Builds what goes into images.
pub(super) struct Workshop<'a> {
    layout: &'a Layout,
    /// Cargo's outputs.
    target: PathBuf,
    /// Stands before rustc.
    wrapper: PathBuf,
    /// Paths, each with what stands in its place. Of two that fit the later one counts.
    renamed: Vec<(PathBuf, &'static str)>,
}

impl<'a> Workshop<'a> {
    /// One in that folder.
    ///
    /// # Errors
    /// It can't be made.
    pub(super) fn new(layout: &'a Layout, folder: &Path) -> Result<Self> {
        let target = folder.join("target");
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home =
            home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).context("cargo has no home")?;
        let sysroot = output(command("rustc", ["--print", "sysroot"]))?;
        let renamed = vec![
            (home, "/cargo"),
            (sysroot.trim().into(), "/rust"),
            (layout.root.clone(), "/forebay"),
            (layout.dir.clone(), "/setup"),
            (target.clone(), "/target"),
        ];
        let wrapper = folder.join("rustc");
        let workshop = Self { layout, target, wrapper, renamed };
        workshop.write_wrapper()?;
        Ok(workshop)
    }

    fn write_wrapper(&self) -> Result<()> {
        let flags: Vec<String> = self.flags("--remap-path-prefix").iter().map(|flag| quoted(flag)).collect();
        let text = format!("#!/bin/sh\nexec \"$@\" {}\n", flags.join(" "));
        // Another one of this checkout may run it at this moment.
        if fs::read_to_string(&self.wrapper).is_ok_and(|there| there == text) {
            return Ok(());
        }
        let fresh = self.wrapper.with_extension(std::process::id().to_string());
        fs::write(&fresh, text)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
        Ok(fs::rename(&fresh, &self.wrapper)?)
    }

    fn flags(&self, flag: &str) -> Vec<String> {
        self.renamed.iter().map(|(path, name)| format!("{flag}={}={name}", path.display())).collect()
    }

    /// Sets a build's environment.
    fn prepare(&self, build: &mut Command) {
        // Flags of the caller's would make it another program than others get.
        for flags in
            ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER"]
        {
            build.env_remove(flags);
        }
        build.env("CARGO_TARGET_DIR", &self.target).env("RUSTC_WRAPPER", &self.wrapper);
        build.env("CARGO_PROFILE_RELEASE_STRIP", "symbols").env("CARGO_INCREMENTAL", "0");
        // Of the C and C++ that crates carry; quoted, for a folder's name may hold a space. mimalloc tells when it was compiled: no
        // time of ours, which cargo would not compile it anew for.
        let mut flags = self.flags("-ffile-prefix-map");
        flags.extend(
            ["-Wno-builtin-macro-redefined", "-D__DATE__=\"\"", "-D__TIME__=\"\""].map(str::to_owned),
        );
        let flags = flags.iter().map(|flag| quoted(flag)).collect::<Vec<_>>().join(" ");
        build.env("CFLAGS", &flags).env("CXXFLAGS", &flags).env("CC_SHELL_ESCAPED_FLAGS", "1");
    }

    /// `forebay`, as it is shipped.
    ///
    /// # Errors
    /// It does not build.
    pub(super) fn forebay(&self, machine: Machine) -> Result<PathBuf> {
        let target = machine.target();
        println!("images: building forebay for {} (many minutes the first time)", machine.name());
        let mut build = cargo();
        build.current_dir(&self.layout.root).args(["build", "--locked", "--release", "--package", "forebay"]);
        build.args(["--features", "tensorrt", "--target", &target]);
        self.prepare(&mut build);
        if Machine::here() != Some(machine) {
            let variable = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
            build.env(variable, machine.compiler());
        }
        shown(build).context("forebay does not build")?;
        Ok(self.target.join(target).join("release/forebay"))
    }

    /// The filter.
    ///
    /// # Errors
    /// It does not build.
    pub(super) fn filter(&self) -> Result<PathBuf> {
        println!("images: building the filter");
        let module = wasm::built(self.layout, &self.target, |build| self.prepare(build))?;
        let file = self.target.join("plugin.wasm");
        fs::write(&file, module)?;
        Ok(file)
    }
}

/// As one word of a shell's.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_path_is_one_word_whatever_is_in_it() {
        let path = "/a b/it's $HOME";
        let said = crate::command::output(crate::command::command(
            "sh",
            ["-c", &format!("printf %s {}", quoted(path))],
        ));
        assert_eq!(said.unwrap(), path);
    }
}
