//! What is in the image of `forebay optimize` beside the program: Debian's Python and the wheels of its packages enter; their files, laid
//! out as the virtual environment that `forebay` takes as it is, and what they are, leave. No shell is there and no pip; what is
//! compiled is compiled here, since nothing can be written there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use walkdir::WalkDir;

use super::libraries::needed;
use super::parts::Part;
use super::stage::{Stage, sha256};
use crate::command::{command, output};
use crate::layout::Layout;
use crate::setup;

/// The environment, as `FOREBAY_TOOLS_DIR` of the image says.
const ENVIRONMENT: &str = "/usr/lib/forebay/tools";
/// Extension modules that need other libraries are left out: TLS, databases, terminals. The tools open none of that.
const LIBRARIES: [&str; 3] = ["libc.", "libffi.", "libm."];
/// Folders that no run opens.
const TESTS: [&str; 2] = ["test", "tests"];
/// Licences of packages whose wheels say them in other words than SPDX's.
const LICENCES: [(&str, &str); 3] =
    [("flatbuffers", "Apache-2.0"), ("onnxruntime", "MIT"), ("protobuf", "BSD-3-Clause")];

/// Lays the files out. Returns those that want libraries.
///
/// # Errors
/// A file can't be read or written, or Python refuses to compile one.
pub(super) fn lay_out(layout: &Layout, stage: &Stage) -> Result<Vec<PathBuf>> {
    let (python, unpacked) = (setup::interpreter(layout)?, setup::image_python(layout));
    let (program, standard) =
        (unpacked.join("usr/bin").join(&python), unpacked.join("usr/lib").join(&python));
    stage.program(&program, &format!("{ENVIRONMENT}/bin/python"))?;
    // All that makes it an environment; its own copy of the program is the only one.
    let says = "home = /usr/bin\ninclude-system-site-packages = false\n";
    stage.write(says.as_bytes(), &Path::new(ENVIRONMENT).join("pyvenv.cfg"), 0o644)?;
    stage.folder(&standard, &format!("/usr/lib/{python}"), |file| {
        !is_a_test(file) && (!is_library(file) || needs_nothing_else(&standard.join(file)))
    })?;
    let packages = scratch(stage);
    for wheel in wheels(layout)? {
        let mut unzip = command(layout.python(), ["-m", "zipfile", "-e"]);
        unzip.arg(wheel).arg(&packages);
        output(unzip)?;
    }
    stage.folder(&packages, &format!("{ENVIRONMENT}/lib/{python}/site-packages"), |file| !is_a_test(file))?;
    fs::remove_dir_all(packages)?;
    compile(&program, &stage.root())?;
    let files = WalkDir::new(stage.root()).into_iter().filter_map(Result::ok);
    let linked = files.map(walkdir::DirEntry::into_path).filter(|file| is_library(file));
    Ok(linked.chain([program]).collect())
}

/// What they are.
///
/// # Errors
/// A file can't be read.
pub(super) fn parts(layout: &Layout) -> Result<Vec<Part>> {
    let (python, unpacked) = (setup::interpreter(layout)?, setup::image_python(layout));
    let package = format!("{python}-minimal");
    let version = setup::debian_version(layout, &package)?;
    let mut parts = vec![Part {
        purl: format!("pkg:deb/debian/{python}@{version}"),
        name: python.clone(),
        version,
        licence: "PSF-2.0".to_owned(),
        sha256: Some(sha256(&fs::read(unpacked.join("usr/bin").join(&python))?)),
        texts: vec![unpacked.join("usr/share/doc").join(&package).join("copyright")],
        is_crate: false,
    }];
    for wheel in wheels(layout)? {
        parts.push(of_wheel(layout, &wheel)?);
    }
    Ok(parts)
}

/// Their licences lie in the wheels' own folders.
fn of_wheel(layout: &Layout, wheel: &Path) -> Result<Part> {
    let file = wheel.file_name().unwrap_or_default().to_string_lossy();
    let mut words = file.split('-');
    let (name, version) = words.next().zip(words.next()).context("a wheel's name has its version")?;
    let mut read = command(layout.python(), ["-c", METADATA]);
    read.arg(wheel);
    let about = output(read)?;
    let said = about.lines().find_map(|line| line.strip_prefix("License-Expression: "));
    let known = LICENCES.iter().find(|(of, _)| *of == name).map(|(_, licence)| *licence);
    let licence = said.or(known).with_context(|| format!("{file} says no licence as SPDX writes it"))?;
    Ok(Part {
        name: name.to_owned(),
        version: version.to_owned(),
        purl: format!("pkg:pypi/{}@{version}", name.replace('_', "-")),
        licence: licence.to_owned(),
        sha256: Some(sha256(&fs::read(wheel)?)),
        texts: Vec::new(),
        is_crate: false,
    })
}

/// Prints what a wheel says of itself.
const METADATA: &str = "import sys, zipfile\nwheel = zipfile.ZipFile(sys.argv[1])\n\
    print(next(wheel.read(name).decode() for name in wheel.namelist() if name.endswith('.dist-info/METADATA')))";

/// In one order, whatever the folder's is.
fn wheels(layout: &Layout) -> Result<Vec<PathBuf>> {
    let folder = setup::image_wheels(layout);
    let entries = fs::read_dir(&folder).with_context(|| format!("can't read {}", folder.display()))?;
    let mut wheels: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    wheels.sort();
    ensure!(!wheels.is_empty(), "{} holds no wheel", folder.display());
    Ok(wheels)
}

/// Beside what becomes the image.
fn scratch(stage: &Stage) -> PathBuf {
    stage.context.join("packages")
}

/// Compiles all of it so that the same files give the same bytes: by their hashes and not their times, under the paths that they will
/// have, with sets in one order.
fn compile(python: &Path, root: &Path) -> Result<()> {
    let mut compile = command(python, ["-S", "-m", "compileall", "-q"]);
    compile
        .args(["--invalidation-mode", "unchecked-hash", "-p", "/", "-s"])
        .arg(root)
        .arg(root.join("usr/lib"));
    compile.env_clear().env("PYTHONHASHSEED", "0");
    output(compile)?;
    Ok(())
}

fn is_a_test(file: &Path) -> bool {
    file.iter().any(|part| TESTS.iter().any(|test| part == *test))
}

fn is_library(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".so") || name.contains(".so.")
}

fn needs_nothing_else(library: &Path) -> bool {
    let needed = needed(library).unwrap_or_default();
    needed.iter().all(|name| LIBRARIES.iter().any(|known| name.starts_with(known)))
}
