//! k8s/istio with what a user fills in: a registry and a digest enter; a copy that `kubectl apply -k` takes leaves.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use walkdir::WalkDir;

use crate::cluster::test::bed::Bed;

pub(super) struct Objects {
    folder: PathBuf,
}

impl Objects {
    /// Copies them, with the module's place and digest.
    ///
    /// # Errors
    /// A file can't be read or written, or none has anything to fill in.
    pub(super) fn filled(bed: &Bed<'_>, folder: PathBuf, uri: &str, digest: &str) -> Result<Self> {
        let from = bed.layout.root.join("k8s/istio");
        let mut filled = 0;
        for entry in WalkDir::new(&from) {
            let entry = entry?;
            let to = folder.join(entry.path().strip_prefix(&from)?);
            if entry.file_type().is_dir() {
                fs::create_dir_all(to)?;
                continue;
            }
            let text = fs::read_to_string(entry.path())?;
            filled += usize::from(text.contains(PLACE));
            fs::write(to, text.replace(PLACE, uri).replace(&"0".repeat(64), digest))?;
        }
        ensure!(filled > 0, "nothing in k8s/istio names {PLACE}");
        Ok(Self { folder })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file's text.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn text(&self, file: &str) -> Result<String> {
        fs::read_to_string(self.folder.join(file)).with_context(|| format!("k8s/istio/{file}"))
    }

    /// A file's text with a piece of it replaced, as a user would edit it.
    ///
    /// # Errors
    /// There is no such piece.
    pub(super) fn with(&self, file: &str, from: &str, to: &str) -> Result<String> {
        let text = self.text(file)?;
        ensure!(text.contains(from), "k8s/istio/{file} has no {from:?}");
        Ok(text.replace(from, to))
    }

    /// Applies a folder, as the page says it.
    ///
    /// # Errors
    /// The server refuses one, or warns of more than that `EnvoyFilter` is an old API.
    pub(super) fn apply(&self, bed: &Bed<'_>, inside: &str) -> Result<()> {
        let words = format!("apply -k {}", self.folder.join(inside).display());
        well(bed.kube.ask(&words, "")?, &words)
    }

    /// Applies text in a namespace.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(super) fn apply_text(bed: &Bed<'_>, text: &str) -> Result<()> {
        let words = format!("--namespace {} apply --filename -", bed.namespace);
        well(bed.kube.ask(&words, text)?, &words)
    }
}

/// What nobody can say for a user.
const PLACE: &str = "registry.example/forebay/filter:0.1.0";

/// Applied, and without a warning that says something.
fn well(said: crate::command::Said, words: &str) -> Result<()> {
    let warned =
        said.stderr.lines().find(|line| line.contains("Warning") && !line.contains("EnvoyFilter exposes"));
    let warned = warned.map(str::to_owned);
    said.well(&format!("kubectl {words}"))?;
    ensure!(warned.is_none(), "kubectl {words}: {}", warned.unwrap_or_default());
    Ok(())
}
