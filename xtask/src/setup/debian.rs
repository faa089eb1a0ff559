//! Programs of Debian: those on PATH are linked; else their packages, with the libraries that this machine lacks, are fetched
//! by apt and unpacked into `.forebay/`. Nothing is installed into the system, so root is not needed.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use bytesize::ByteSize;
use sha2::{Digest as _, Sha256};

use super::{Plan, Scratch, put};
use crate::command::{command, on_path, output, watched};
use crate::layout::Layout;

/// Programs that come from Debian's packages.
pub(super) struct Tool {
    /// Name of the folder that the packages are unpacked into.
    folder: &'static str,
    /// The packages.
    packages: &'static [&'static str],
    /// The programs wanted, all in /usr/bin of the packages.
    programs: &'static [&'static str],
    /// Whether the packages that they need are fetched too, where this machine lacks them.
    with_others: bool,
    /// What is fetched, about, with the libraries that a bare system lacks.
    size: ByteSize,
}

pub(super) const REDIS: Tool = Tool {
    folder: "redis",
    packages: &["redis-server", "redis-tools"],
    programs: &["redis-server", "redis-benchmark"],
    with_others: true,
    size: ByteSize::mb(3),
};

pub(super) const MEMCACHED: Tool = Tool {
    folder: "memcached",
    packages: &["memcached"],
    programs: &["memcached"],
    with_others: true,
    size: ByteSize::mb(1),
};

pub(super) const VALGRIND: Tool = Tool {
    folder: "valgrind",
    packages: &["valgrind"],
    programs: &["valgrind"],
    with_others: true,
    size: ByteSize::mb(18),
};

pub(super) const BUILDAH: Tool = Tool {
    folder: "buildah",
    packages: &["buildah"],
    programs: &["buildah"],
    with_others: true,
    size: ByteSize::mb(17),
};

pub(super) const RUNC: Tool = Tool {
    folder: "runc",
    packages: &["runc"],
    programs: &["runc"],
    with_others: true,
    size: ByteSize::mb(3),
};

/// Without the scripts of its own pages, which are hundreds of megabytes.
pub(super) const PROMETHEUS: Tool = Tool {
    folder: "prometheus",
    packages: &["prometheus"],
    programs: &["prometheus"],
    with_others: false,
    size: ByteSize::mb(19),
};

impl Tool {
    pub(super) fn plan(&'static self, layout: &Layout) -> Plan {
        let found = self.programs.iter().all(|program| on_path(program).is_some());
        let packages = self.packages.join(", ");
        Plan {
            pin: self.packages.join("\n"),
            files: self.programs.iter().map(|program| layout.bin(program)).collect(),
            doing: format!("{packages} from {}", if found { "PATH" } else { "Debian" }),
            size: if found { ByteSize::b(0) } else { self.size },
            install: Box::new(|layout| install(layout, self)),
        }
    }
}

fn install(layout: &Layout, tool: &Tool) -> Result<()> {
    let bin = layout.dir.join("bin");
    fs::create_dir_all(&bin)?;
    let scratch = Scratch::new(layout, tool.folder)?;
    if let Some(found) = tool.programs.iter().map(|program| on_path(program)).collect::<Option<Vec<_>>>() {
        for (program, path) in tool.programs.iter().zip(found) {
            let link = scratch.0.join(program);
            symlink(path, &link)?;
            put(&link, &bin.join(program))?;
        }
        return Ok(());
    }
    unpack_some(layout, tool.folder, tool.packages, tool.size, tool.with_others)?;
    for program in tool.programs {
        let script = scratch.0.join(program);
        fs::write(&script, wrapper(tool.folder, program))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        put(&script, &bin.join(program))?;
    }
    Ok(())
}

/// A script that runs an unpacked program with the libraries unpacked beside it.
fn wrapper(folder: &str, program: &str) -> String {
    format!(
        "#!/bin/sh\n\
         # Written by `cargo xtask setup`: Debian's {program}, unpacked here, with the libraries it came with.\n\
         unpacked=$(cd \"$(dirname \"$(readlink -f \"$0\")\")/../debian/{folder}\" && pwd)\n\
         for libraries in \"$unpacked\"/usr/lib/*-linux-gnu* \"$unpacked\"/lib/*-linux-gnu*; do\n\
         \x20   LD_LIBRARY_PATH=$libraries${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\n\
         done\n\
         export LD_LIBRARY_PATH\n\
         exec \"$unpacked/usr/bin/{program}\" \"$@\"\n"
    )
}

/// Fetches packages, and those they need that this machine lacks, and unpacks them into `.forebay/debian/<folder>`.
///
/// # Errors
/// There is no apt, or it doesn't know the packages.
pub(super) fn unpack(
    layout: &Layout,
    folder: &str,
    packages: &[impl AsRef<str>],
    size: ByteSize,
) -> Result<()> {
    unpack_some(layout, folder, packages, size, true)
}

/// The same, or the packages alone.
fn unpack_some(
    layout: &Layout,
    folder: &str,
    packages: &[impl AsRef<str>],
    size: ByteSize,
    with_others: bool,
) -> Result<()> {
    let packages: Vec<&str> = packages.iter().map(AsRef::as_ref).collect();
    if on_path("apt-get").is_none() {
        bail!("{} must be on PATH (this is no Debian, so set-up can't fetch them)", packages.join(", "));
    }
    let missing = match missing(&packages) {
        Err(_) if rustix::process::geteuid().is_root() => {
            update()?;
            missing(&packages)
        }
        other => other,
    };
    let missing = missing
        .context("apt does not know the packages; run `apt-get update` as root once, then try again")?;
    let scratch = Scratch::new(layout, "debian")?;
    let mut download = apt(&["download"]);
    if with_others {
        download.args(&missing);
    } else {
        download.args(&packages);
    }
    download.current_dir(&scratch.0);
    watched(download, &scratch.0, size)
        .context("the package lists may be old; run `apt-get update` as root once, then try again")?;
    let unpacked = scratch.0.join("unpacked");
    let mut versions = String::new();
    for entry in fs::read_dir(&scratch.0)? {
        let package = entry?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            output(command("dpkg", [Path::new("-x"), &package, &unpacked]))?;
            versions += &output(command("dpkg-deb", [Path::new("--show"), &package]))?;
        }
    }
    fs::write(unpacked.join("versions"), versions)?;
    put(&unpacked, &layout.dir.join("debian").join(folder))
}

/// Fetches just those packages, each in the version that has that digest, and unpacks them into `to`. A lock has a line
/// `NAME=VERSION SHA256` for each.
///
/// # Errors
/// There is no apt, or the package of that name is another.
pub(super) fn unpack_locked(layout: &Layout, lock: &str, size: ByteSize, to: &Path) -> Result<()> {
    let locked = lock.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '));
    let (packages, digests): (Vec<&str>, Vec<&str>) = locked.unzip();
    let scratch = Scratch::new(layout, "debian")?;
    let download = || {
        let mut download = apt(&["download"]);
        download.args(&packages).current_dir(&scratch.0);
        watched(download, &scratch.0, size)
    };
    let fetched = match download() {
        Err(_) if on_path("apt-get").is_some() && rustix::process::geteuid().is_root() => {
            println!("    apt-get update");
            output(apt(&["update"]))?;
            download()
        }
        other => other,
    };
    fetched.with_context(|| format!("Debian 12's packages are wanted: {}", packages.join(", ")))?;
    let unpacked = scratch.0.join("unpacked");
    for entry in fs::read_dir(&scratch.0)? {
        let package = entry?.path();
        let digest = format!("{:x}", Sha256::digest(fs::read(&package)?));
        let name = package.file_name().unwrap_or_default().display();
        ensure!(digests.contains(&&*digest), "{name} has the digest {digest}, which is none of those locked");
        output(command("dpkg", [Path::new("-x"), &package, &unpacked]))?;
    }
    put(&unpacked, to)
}

/// The packages themselves and, of those they need, the ones that are not installed.
fn missing(packages: &[&str]) -> Result<Vec<String>> {
    let said = output({
        let mut simulate = apt(&["--simulate", "--no-install-recommends", "install"]);
        simulate.args(packages);
        simulate
    })?;
    // "Inst name (version ...)" is new; "Inst name [old] (version ...)" would be an upgrade of what is there and will do.
    let new = said.lines().filter_map(|line| line.strip_prefix("Inst ")?.split_once(" ("));
    let mut missing: Vec<String> = packages.iter().map(|&package| package.to_owned()).collect();
    missing.extend(new.map(|(name, _)| name.to_owned()).filter(|name| !name.contains('[')));
    missing.sort();
    missing.dedup();
    Ok(missing)
}

/// What apt knows, without asking anybody.
///
/// # Errors
/// It knows nothing of it, or there is no apt.
pub(super) fn cache(arguments: &[&str]) -> Result<String> {
    let mut cache = command("apt-cache", arguments);
    cache.env("LC_ALL", "C");
    output(cache)
}

/// Brings the lists of packages up to date.
///
/// # Errors
/// This is not root, or nobody answers.
pub(super) fn update() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the package lists may be old; run `apt-get update` as root once, then try again");
    }
    println!("    apt-get update");
    output(apt(&["update"])).map(drop)
}

fn apt(arguments: &[&str]) -> std::process::Command {
    let mut apt = command("apt-get", arguments);
    apt.args(["-qq", "-o", "APT::Sandbox::User=root"]).env("LC_ALL", "C");
    apt
}
