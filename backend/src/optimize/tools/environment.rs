//! The tools' own Python environment: a locked list of packages enters (`backend/optimize/requirements.txt`, each with its digests), an
//! interpreter that has them, and ONNX Runtime's library, leave. Made once; whoever comes meanwhile waits. One that was made before and
//! may not be written to, as in an image, is taken as it is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use include_dir::{Dir, include_dir};

use super::super::process::{self, Bounds};

/// Scripts, and the list of packages with their digests.
static SOURCES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/optimize");
/// Fetching 330 MB over a slow line.
const LONGEST: Duration = Duration::from_mins(30);
/// Bytes that Python and pip may say.
const MOST_SAID: u64 = 1 << 20;
/// What a finished environment has.
const READY: &str = "ready";
/// What a folder has that is a virtual environment itself.
const VENV: &str = "pyvenv.cfg";
/// Exits with 3 for a Python that the packages have no wheels for.
const PROBE: &str =
    "import sys, venv, ensurepip; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else 3)";

/// Where everything is.
pub(super) struct Place {
    pub(super) python: PathBuf,
    pub(super) onnxruntime: PathBuf,
}

/// Makes the environment below `folder`, unless it is there, or is that folder.
///
/// # Errors
/// One line: what failed, and where more is said.
pub(super) fn ready(python: &Path, folder: &Path, stop: &AtomicBool) -> Result<Place, String> {
    let venv =
        if folder.join(VENV).exists() { folder.to_owned() } else { made(python, folder, stop)?.join("venv") };
    let onnxruntime = library(&venv)
        .ok_or_else(|| format!("{} has no libonnxruntime.so of onnxruntime's", venv.display()))?;
    Ok(Place { python: venv.join("bin/python"), onnxruntime })
}

/// The folder of an environment that is made here if it isn't there.
fn made(python: &Path, folder: &Path, stop: &AtomicBool) -> Result<PathBuf, String> {
    let list = requirements();
    // Other packages, or another interpreter, are another environment.
    let pin = blake3::hash(format!("{}\n{list}", python.display()).as_bytes()).to_hex();
    let home = folder.join(format!("tools-{}", &pin[..12]));
    let failed = |what: &'static str| move |error: std::io::Error| format!("can't {what}: {error}");
    fs::create_dir_all(&home).map_err(failed("make the folder of --tools-dir"))?;
    let lock = File::create(home.join("lock")).map_err(failed("write to the folder of --tools-dir"))?;
    lock.lock().map_err(failed("lock the folder of --tools-dir"))?;
    let ready = home.join(READY);
    if !ready.exists() {
        install(python, &home, stop)?;
        File::create(&ready).map_err(failed("write to the folder of --tools-dir"))?;
    }
    Ok(home)
}

/// Writes our scripts into a folder. What leaves: the one to be run.
///
/// # Errors
/// They can't be written.
pub(super) fn scripts(folder: &Path) -> std::io::Result<PathBuf> {
    SOURCES.extract(folder)?;
    Ok(folder.join("tools.py"))
}

/// Whether an environment's packages are those of the list; what was made here can't differ, what was made elsewhere may be old.
///
/// # Errors
/// Which is another.
pub(super) fn check(versions: &BTreeMap<String, String>) -> Result<(), String> {
    let locked = requirements().lines().filter_map(|line| line.strip_suffix(" \\")?.split_once("=="));
    for (name, wanted) in locked {
        let there = versions.get(&name.replace('-', "_")).filter(|there| *there != wanted);
        if let Some(there) = there {
            return Err(format!("they are of another forebay: {name} is {there}, and {wanted} is wanted"));
        }
    }
    Ok(())
}

/// The list of packages.
fn requirements() -> &'static str {
    SOURCES.get_file("requirements.txt").and_then(|file| file.contents_utf8()).unwrap_or_default()
}

/// Of scripts and list.
pub(crate) fn digest() -> String {
    let mut hasher = blake3::Hasher::new();
    add(&SOURCES, &mut hasher);
    hasher.finalize().to_hex().to_string()
}

fn add(folder: &Dir<'_>, hasher: &mut blake3::Hasher) {
    for file in folder.files() {
        hasher
            .update(file.path().as_os_str().as_encoded_bytes())
            .update(&[0])
            .update(file.contents())
            .update(&[0]);
    }
    folder.dirs().for_each(|inner| add(inner, hasher));
}

fn install(python: &Path, home: &Path, stop: &AtomicBool) -> Result<(), String> {
    let (venv, list) = (home.join("venv"), home.join("requirements.txt"));
    eprintln!("setting the tools up in {}, once (some 330 MB)", home.display());
    let said = run(Command::new(python).args(["-I", "-c", PROBE]), stop);
    said.map_err(|_| {
        format!(
            "{} is no Python from 3.11 to 3.13 with venv and ensurepip; --python names another",
            python.display()
        )
    })?;
    if venv.exists() {
        fs::remove_dir_all(&venv).map_err(|error| format!("can't take away {}: {error}", venv.display()))?;
    }
    run(Command::new(python).args(["-I", "-m", "venv"]).arg(&venv), stop)?;
    let mut file = File::create(&list).map_err(|error| error.to_string())?;
    file.write_all(requirements().as_bytes()).map_err(|error| error.to_string())?;
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]);
    run(pip.args(["--only-binary", ":all:", "--requirement"]).arg(&list), stop)
}

/// Runs one step; its last line is the reason if it fails.
fn run(command: &mut Command, stop: &AtomicBool) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    let mut both = Command::new("sh");
    // Both streams as one, in their order.
    both.args(["-c", "exec \"$0\" \"$@\" 2>&1"]).arg(command.get_program()).args(command.get_args());
    let left = process::run(both, b"", Bounds { time: LONGEST, output: MOST_SAID, stop });
    let left = left.map_err(|error| format!("{program} {error}"))?;
    if left.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&left.output);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    Err(format!("{program} ended with {}: {last}", left.status))
}

/// ONNX Runtime's library among the environment's packages.
fn library(venv: &Path) -> Option<PathBuf> {
    let pythons = fs::read_dir(venv.join("lib")).ok()?.filter_map(Result::ok);
    let folders = pythons.map(|python| python.path().join("site-packages/onnxruntime/capi"));
    let files = folders.filter_map(|folder| fs::read_dir(folder).ok()).flatten().filter_map(Result::ok);
    files.map(|file| file.path()).find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libonnxruntime.so"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_another_list_are_refused_by_name() {
        let list = requirements().lines().filter_map(|line| line.strip_suffix(" \\")?.split_once("=="));
        let mut versions: BTreeMap<String, String> =
            list.map(|(name, version)| (name.replace('-', "_"), version.to_owned())).collect();
        assert!(versions.contains_key("onnx") && versions.contains_key("ml_dtypes"), "{versions:?}");
        check(&versions).unwrap();
        versions.insert("ml_dtypes".to_owned(), "0.1".to_owned());
        let refused = check(&versions).unwrap_err();
        assert!(refused.contains("ml-dtypes is 0.1"), "{refused}");
    }
}
