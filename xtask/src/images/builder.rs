//! buildah, podman or docker, whichever is there: a laid-out folder and a Containerfile enter; an image in the builder's storage, an
//! archive of it, or what a registry took, leave. buildah and podman get a storage of this checkout's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::machine::Machine;
use crate::WrongSetting;
use crate::command::{command, on_path, output};
use crate::layout::Layout;
use crate::setup::{self, Part};

/// Programs that build images, in the order in which they are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Buildah,
    Podman,
    Docker,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Buildah => "buildah",
            Self::Podman => "podman",
            Self::Docker => "docker",
        }
    }

    /// Is it there, and does it work? docker's client is of no use without its daemon.
    fn works(self) -> bool {
        let asked = if self == Self::Docker { "info" } else { "--version" };
        on_path(self.name()).is_some_and(|program| output(command(program, [asked])).is_ok())
    }
}

/// A builder with its storage.
pub(super) struct Builder {
    kind: Kind,
    program: PathBuf,
    /// Folder of storage and settings.
    folder: PathBuf,
}

/// What is built.
pub(super) struct Request<'a> {
    pub(super) containerfile: &'a Path,
    pub(super) context: &'a Path,
    /// The image's name with tag.
    pub(super) name: &'a str,
    pub(super) machine: Machine,
    /// The time that all in it gets.
    pub(super) epoch: u64,
    pub(super) labels: &'a [(&'a str, String)],
    pub(super) arguments: &'a [(&'a str, &'a str)],
}

impl Builder {
    /// The one asked for, else the first that works, else Debian's buildah in `.forebay/`.
    ///
    /// # Errors
    /// The one asked for doesn't work, or none can be had.
    pub(super) fn choose(layout: &Layout, asked: Option<Kind>, folder: PathBuf) -> Result<Self> {
        let works = Kind::value_variants().iter().copied().find(|kind| kind.works());
        let (kind, program) = match (asked, works) {
            // Set-up finds it, wherever it comes from.
            (None | Some(Kind::Buildah), None | Some(Kind::Buildah)) | (Some(Kind::Buildah), _) => {
                setup::install(layout, &[Part::Buildah])?;
                (Kind::Buildah, layout.bin("buildah"))
            }
            (None, Some(kind)) => (kind, kind.name().into()),
            (Some(kind), _) if kind.works() => (kind, kind.name().into()),
            (Some(kind), _) => bail!(WrongSetting(format!(
                "--builder {0}: {0} is not on PATH, or doesn't work; without the flag set-up brings buildah",
                kind.name()
            ))),
        };
        fs::create_dir_all(&folder)?;
        // Whoever has no /etc/containers: what is pulled is named by digest.
        fs::write(folder.join("policy.json"), r#"{"default":[{"type":"insecureAcceptAnything"}]}"#)?;
        Ok(Self { kind, program, folder })
    }

    /// Its version, for reports.
    ///
    /// # Errors
    /// It can't be asked.
    pub(super) fn version(&self) -> Result<String> {
        Ok(output(command(&self.program, ["--version"]))?.trim().to_owned())
    }

    fn call(&self, words: &[&str]) -> Command {
        let mut call = command(&self.program, words);
        if self.kind != Kind::Docker {
            call.arg("--root").arg(self.folder.join("root")).arg("--runroot").arg(self.folder.join("run"));
            // It needs no kernel module and no privilege.
            call.args(["--storage-driver", "vfs"]);
        }
        call
    }

    fn policy(&self, call: &mut Command) {
        if self.kind != Kind::Docker {
            call.arg("--signature-policy").arg(self.folder.join("policy.json"));
        }
    }

    /// Builds the image.
    ///
    /// # Errors
    /// The builder refuses.
    pub(super) fn build(&self, request: &Request<'_>) -> Result<()> {
        let mut build = self.call(&["build"]);
        let epoch = request.epoch.to_string();
        if self.kind == Kind::Docker {
            build.args(["--provenance=false", "--build-arg", &format!("SOURCE_DATE_EPOCH={epoch}")]);
        } else {
            build.args(["--isolation", "chroot", "--format", "oci", "--timestamp", &epoch]);
            // The builder's own version is no property of what it built.
            build.args(["--identity-label=false", "--layers=false"]);
            self.policy(&mut build);
        }
        build.args(["--platform", &format!("linux/{}", request.machine.name())]);
        for (name, value) in request.labels {
            build.args(["--label", &format!("{name}={value}")]);
        }
        for (name, value) in request.arguments {
            build.args(["--build-arg", &format!("{name}={value}")]);
        }
        build.args(["--tag", request.name, "--file"]).arg(request.containerfile).arg(request.context);
        output(build)?;
        Ok(())
    }

    /// Writes the image into an archive, in place of what was there.
    ///
    /// # Errors
    /// The builder refuses, or the file can't be written.
    pub(super) fn save(&self, name: &str, archive: &Path) -> Result<()> {
        let fresh = archive.with_extension("new");
        let _ = fs::remove_file(&fresh);
        let save = if self.kind == Kind::Docker {
            let mut save = self.call(&["save", "--output"]);
            save.arg(&fresh).arg(name);
            save
        } else {
            let mut push = self.call(&["push"]);
            self.policy(&mut push);
            push.arg(name).arg(format!("oci-archive:{}:{name}", fresh.display()));
            push
        };
        output(save)?;
        fs::rename(&fresh, archive).with_context(|| format!("can't write {}", archive.display()))
    }

    /// Sends the image to a registry under another name. Returns the digest that the registry knows it by.
    ///
    /// # Errors
    /// The registry refuses.
    pub(super) fn push(&self, name: &str, to: &str, plain_http: bool) -> Result<String> {
        if self.kind == Kind::Docker {
            output(self.call(&["tag", name, to]))?;
            let said = output(self.call(&["push", to]))?;
            let digest = said.lines().find_map(|line| line.split_once("digest: ")?.1.split(' ').next());
            return Ok(digest.context("docker push says no digest")?.to_owned());
        }
        let digest = self.folder.join(format!("digest-{}", std::process::id()));
        let mut push = self.call(&["push", "--format", "oci"]);
        self.policy(&mut push);
        if plain_http {
            push.arg("--tls-verify=false");
        }
        push.arg("--digestfile").arg(&digest).arg(name).arg(format!("docker://{to}"));
        output(push)?;
        let said = fs::read_to_string(&digest)?;
        fs::remove_file(&digest)?;
        Ok(said.trim().to_owned())
    }

    /// Sends an archive's image to a registry.
    ///
    /// # Errors
    /// It is none, or the registry refuses.
    pub(super) fn send(&self, archive: &Path, to: &str, plain_http: bool) -> Result<()> {
        let mut pull = self.call(&["pull", "--quiet"]);
        self.policy(&mut pull);
        pull.arg(format!("oci-archive:{}", archive.display()));
        let name = output(pull)?;
        self.push(name.trim(), to, plain_http).map(drop)
    }

    /// Forgets images that have no name any more, since others took theirs.
    pub(super) fn tidy(&self) {
        if self.kind != Kind::Docker {
            let words: &[&str] =
                if self.kind == Kind::Buildah { &["rmi", "--prune"] } else { &["image", "prune", "--force"] };
            // What stays takes room but does no harm.
            let _ = output(self.call(words));
        }
    }
}
