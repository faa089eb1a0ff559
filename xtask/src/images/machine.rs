//! The kinds of machine that images are made for, and what is lacking here to build for one.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::ValueEnum;

use crate::command::{command, on_path, output};

/// A kind of machine, named as images name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Machine {
    Amd64,
    Arm64,
}

impl Machine {
    /// This one.
    pub(super) fn here() -> Option<Self> {
        Self::value_variants().iter().copied().find(|machine| machine.processor() == std::env::consts::ARCH)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As the kernel, Rust and wheels name it.
    pub(super) fn processor(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// Rust's target.
    pub(super) fn target(self) -> String {
        format!("{}-unknown-linux-gnu", self.processor())
    }

    /// GNU's name, by which Debian calls folders of libraries and cross compilers.
    pub(super) fn gnu(self) -> String {
        format!("{}-linux-gnu", self.processor())
    }

    /// The C compiler that builds for it; it also knows where its libraries are.
    pub(super) fn compiler(self) -> PathBuf {
        let cross = format!("{}-gcc", self.gnu());
        if Self::here() == Some(self) { "cc".into() } else { cross.into() }
    }

    /// What must be installed before this machine can build for it.
    ///
    /// # Errors
    /// rustc can't be asked.
    pub(super) fn lacks(self) -> Result<Vec<String>> {
        if Self::here() == Some(self) {
            return Ok(Vec::new());
        }
        let target = self.target();
        let library = output(command("rustc", ["--print", "target-libdir", "--target", &target]))?;
        let mut lacks = Vec::new();
        if !Path::new(library.trim()).is_dir() {
            lacks.push(format!("Rust's library for it (`rustup target add {target}`)"));
        }
        let cross = format!("{}-g++", self.gnu());
        if on_path(&cross).is_none() {
            lacks.push(format!("{cross} (Debian: g++-{})", self.gnu().replace('_', "-")));
        }
        Ok(lacks)
    }
}
