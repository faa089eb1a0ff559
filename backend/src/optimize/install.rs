//! A judged variant -> the next version of its model, whole or not at all; and the way back. Nothing that is there is overwritten: the
//! original stays the version it is. Whoever changes a model has its turn (`turn`).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::models::repository;
use crate::models::variant;

/// The folder beside the versions where reports lie, by version.
pub(crate) const REPORTS: &str = "optimize";
/// Where a version is written before it is one. A name with a dot is no model's version, and nothing that a server follows.
pub(super) const DRAFT: &str = ".optimize-draft";

/// An installation that came to nothing; the repository is as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    #[error("can't {what} {path}: {source}")]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("another run works on {0}: only one at a time may change a model; try again when it has ended")]
    Taken(PathBuf),
    #[error("{0} has no version: a folder named by a whole number, such as 1")]
    NoVersion(PathBuf),
    #[error("version {version} of {model} is no variant")]
    NoVariant { model: PathBuf, version: u64 },
    #[error(
        "version {version} of {model} is a variant of version {original}, which is not there any more: nothing is taken away"
    )]
    NoOriginal { model: PathBuf, version: u64, original: u64 },
    #[error("version {version} of {model}: {reason}")]
    Unreadable { model: PathBuf, version: u64, reason: String },
}

pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::File { what, path, source }
}

/// The versions that are there, ascending.
///
/// # Errors
/// The folder can't be read, or has none.
pub(crate) fn versions(model: &Path) -> Result<Vec<u64>, InstallError> {
    let entries = fs::read_dir(model).map_err(failed("read", model))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut versions: Vec<u64> = names
        .filter_map(|name| repository::version_number(&name))
        .filter(|version| model.join(version.to_string()).is_dir())
        .collect();
    versions.sort_unstable();
    if versions.is_empty() { Err(InstallError::NoVersion(model.to_owned())) } else { Ok(versions) }
}

/// Puts the files of `from` into the repository as the next version, with `variant.json` and its reports. The caller has the model's
/// [`Turn`](super::turn::Turn).
///
/// # Errors
/// `File`; nothing of it is left then.
pub(crate) fn install(
    model: &Path,
    from: &Path,
    described: &[u8],
    reports: &[(&str, String)],
) -> Result<u64, InstallError> {
    let version = versions(model)?.last().map_or(1, |last| last + 1);
    let draft = model.join(DRAFT);
    let done = written(&draft, from, described, reports).and_then(|()| placed(model, &draft, version));
    let _ = fs::remove_dir_all(&draft);
    let _ = fs::remove_dir(model.join(REPORTS));
    done.map(|()| version)
}

/// Writes all of it beside the versions: what takes room is taken here.
fn written(
    draft: &Path,
    from: &Path,
    described: &[u8],
    reports: &[(&str, String)],
) -> Result<(), InstallError> {
    let (files, report) = (draft.join("version"), draft.join("report"));
    copy(from, &files)?;
    write(&files.join(variant::FILE_NAME), described)?;
    fs::create_dir(&report).map_err(failed("make", &report))?;
    reports.iter().try_for_each(|(name, text)| write(&report.join(name), text.as_bytes()))?;
    let folder = draft.parent().unwrap_or(draft).join(REPORTS);
    fs::create_dir_all(&folder).map_err(failed("make", &folder))
}

/// Makes it a version at once, after its report is where it belongs.
fn placed(model: &Path, draft: &Path, version: u64) -> Result<(), InstallError> {
    let (place, told) = (model.join(version.to_string()), model.join(REPORTS).join(version.to_string()));
    // Of a version that somebody took away by hand.
    let _ = fs::remove_dir_all(&told);
    fs::rename(draft.join("report"), &told).map_err(failed("make", &told))?;
    let placed = fs::rename(draft.join("version"), &place).map_err(failed("make", &place));
    if placed.is_err() {
        let _ = fs::remove_dir_all(&told);
    }
    placed?;
    sync(model)
}

/// Waits until a file, or the names in a folder, are on the disk.
fn sync(path: &Path) -> Result<(), InstallError> {
    File::open(path).and_then(|open| open.sync_all()).map_err(failed("write", path))
}

/// The newest version that is a variant.
///
/// # Errors
/// There is none.
pub(crate) fn newest_variant(model: &Path) -> Result<PathBuf, InstallError> {
    let versions = versions(model)?;
    let folders = versions.iter().rev().map(|version| model.join(version.to_string()));
    let found = folders.into_iter().find(|folder| folder.join(variant::FILE_NAME).exists());
    let version = versions.last().copied().unwrap_or_default();
    found.ok_or_else(|| InstallError::NoVariant { model: model.to_owned(), version })
}

/// Takes the newest variant away, and its reports. What leaves: its version, and the original's.
///
/// # Errors
/// The newest version is no variant, or its original is gone.
pub(crate) fn undo(model: &Path) -> Result<(u64, u64), InstallError> {
    let versions = versions(model)?;
    let version = versions.last().copied().unwrap_or_default();
    let place = model.join(version.to_string());
    let model_path = || model.to_owned();
    let text = fs::read(place.join(variant::FILE_NAME)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => InstallError::NoVariant { model: model_path(), version },
        _ => failed("read", &place)(error),
    })?;
    let read = variant::Variant::read(&text);
    let read = read.map_err(|error| InstallError::Unreadable {
        model: model_path(),
        version,
        reason: error.to_string(),
    })?;
    let original = read.original.version;
    if !versions.contains(&original) {
        return Err(InstallError::NoOriginal { model: model_path(), version, original });
    }
    // Gone at once, and then removed: nobody sees half of it.
    let gone = model.join(format!(".{REPORTS}-undone-{version}"));
    let _ = fs::remove_dir_all(&gone);
    fs::rename(&place, &gone).map_err(failed("take away", &place))?;
    fs::remove_dir_all(&gone).map_err(failed("remove", &gone))?;
    let _ = fs::remove_dir_all(model.join(REPORTS).join(version.to_string()));
    let _ = fs::remove_dir(model.join(REPORTS));
    Ok((version, original))
}

/// Copies a folder with all in it.
///
/// # Errors
/// `File`.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), InstallError> {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).map_err(failed("make", to))?;
    for entry in fs::read_dir(from).map_err(failed("read", from))? {
        let (path, name) =
            entry.map(|entry| (entry.path(), entry.file_name())).map_err(failed("read", from))?;
        let place = to.join(name);
        if path.is_dir() {
            copy(&path, &place)?;
        } else {
            fs::copy(&path, &place).map_err(failed("write", &place))?;
            sync(&place)?;
        }
    }
    sync(to)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), InstallError> {
    let done = File::create(path).and_then(|mut file| {
        io::Write::write_all(&mut file, bytes)?;
        file.sync_all()
    });
    done.map_err(failed("write", path))
}
