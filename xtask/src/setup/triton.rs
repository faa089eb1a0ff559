//! Triton itself, for the tests of `forebay front`: wheels enter, `.forebay/triton` leaves, with the server, its Python backend for the
//! virtual environment's Python, and the numpy that this backend is compiled for. The wheel has no other backend.

use std::fs;

use anyhow::{Context, Result};
use bytesize::ByteSize;

use super::wheel::Wheel;
use super::{Plan, Scratch, put};
use crate::command::{command, output};
use crate::layout::Layout;

/// `PyTriton`, which carries Triton 2.51.
pub(super) const SERVER: Wheel = Wheel::new("nvidia-pytriton==0.7.0", 56);
/// Of numpy 2 the backend reads arrays as empty ones.
pub(super) const NUMPY: Wheel = Wheel::new("numpy==1.26.4", 18);

/// What a Python backend of Triton's needs of the Python that it runs.
const VERSION: &str = "import sys; print('%d.%d' % sys.version_info[:2])";
const STUB: &str = "triton_python_backend_stub";

pub(super) fn plan(layout: &Layout) -> Result<Plan> {
    let folder = layout.triton();
    Ok(Plan {
        pin: format!("{}{}", SERVER.locked()?, NUMPY.locked()?),
        files: vec![folder.join("bin/tritonserver"), folder.join("backends/python").join(STUB)],
        doing: format!("Triton from {}", SERVER.name),
        size: ByteSize::b(SERVER.size.0 + NUMPY.size.0),
        install: Box::new(install),
    })
}

fn install(layout: &Layout) -> Result<()> {
    let version = output(command(layout.python(), ["-c", VERSION]))?;
    let folder = layout.triton();
    let scratch = Scratch::new(layout, "triton")?;
    let unpacked = SERVER.unpack(layout, &scratch)?;
    let server = unpacked.join("pytriton/tritonserver");
    let stub = server.join("python_backend_stubs").join(version.trim()).join(STUB);
    let (backend, program) = (server.join("backends/python").join(STUB), server.join("bin/tritonserver"));
    fs::copy(&stub, &backend)
        .with_context(|| format!("{} has no backend for Python {}", SERVER.name, version.trim()))?;
    for file in [&backend, &program] {
        let mut chmod = command("chmod", ["755"]);
        chmod.arg(file);
        output(chmod)?;
    }
    for part in ["bin", "backends"] {
        put(&server.join(part), &folder.join(part))?;
    }
    put(&unpacked.join("nvidia_pytriton.libs"), &folder.join("lib"))?;
    let numpy = Scratch::new(layout, "triton-numpy")?;
    put(&NUMPY.unpack(layout, &numpy)?, &folder.join("packages"))
}
