//! The virtual environment: `requirements.txt` enters, `.forebay/venv` and `.forebay/lib/libonnxruntime.so.*` leave.
//! Wheels are fetched with its pip next.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bytesize::ByteSize;

use super::{ONNXRUNTIME_VERSION, Plan, Scratch, put};
use crate::command::{command, on_path, output, watched};
use crate::layout::Layout;

pub(super) const REQUIREMENTS: &str = include_str!("../../requirements.txt");

/// Interpreters that are tried, in this order.
const INTERPRETERS: [&str; 5] = ["python3", "python3.14", "python3.13", "python3.12", "python3.11"];

/// Exits with 0 if the packages have wheels for this Python (onnxruntime's begin at 3.11) and venv works.
const PROBE: &str = "import sys, venv, ensurepip; sys.exit(0 if sys.version_info >= (3, 11) else 3)";

/// What pip fetches, about.
const SIZE: ByteSize = ByteSize::mb(86);

pub(super) fn plan(layout: &Layout) -> Plan {
    Plan {
        // A virtual environment can't be moved, so its place is part of the pin.
        pin: format!("{}\n{REQUIREMENTS}", layout.dir.display()),
        files: vec![layout.python(), layout.onnxruntime()],
        doing: "virtual environment with onnxruntime, onnx, tritonclient".into(),
        size: SIZE,
        install: Box::new(install),
    }
}

fn install(layout: &Layout) -> Result<()> {
    let venv = layout.dir.join("venv");
    if venv.exists() {
        fs::remove_dir_all(&venv)?;
    }
    create(&venv)?;
    // Where pip puts what it fetches before it installs it.
    let scratch = Scratch::new(layout, "venv")?;
    let mut pip =
        command(layout.python(), ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.arg("--require-hashes").arg("--requirement").arg(layout.root.join("xtask/requirements.txt"));
    pip.env("TMPDIR", &scratch.0);
    watched(pip, &scratch.0, SIZE)?;
    link_onnxruntime(layout)
}

/// Makes an empty virtual environment.
///
/// # Errors
/// There is no Python that can.
pub(super) fn create(venv: &Path) -> Result<()> {
    output(command(interpreter()?, ["-m".as_ref(), "venv".as_ref(), venv.as_os_str()]))?;
    Ok(())
}

fn interpreter() -> Result<PathBuf> {
    for program in INTERPRETERS.iter().filter_map(|name| on_path(name)) {
        if output(command(&program, ["-c", PROBE])).is_ok() {
            return Ok(program);
        }
    }
    bail!(
        "no Python from 3.11 with venv is on PATH (tried {}); on Debian: apt-get install python3 python3-venv",
        INTERPRETERS.join(", ")
    )
}

/// One copy of the library is enough: the link leads into the virtual environment.
fn link_onnxruntime(layout: &Layout) -> Result<()> {
    let asks = "import importlib.util as u, os; print(os.path.dirname(u.find_spec('onnxruntime').origin))";
    let package = PathBuf::from(output(command(layout.python(), ["-c", asks]))?.trim());
    let library = package.join(format!("capi/libonnxruntime.so.{ONNXRUNTIME_VERSION}"));
    let relative =
        library.strip_prefix(&layout.dir).context("onnxruntime is not in the virtual environment")?;
    let link = layout.onnxruntime();
    let fresh = layout.dir.join("venv/libonnxruntime.link");
    std::os::unix::fs::symlink(PathBuf::from("..").join(relative), &fresh)?;
    put(&fresh, &link)
}
