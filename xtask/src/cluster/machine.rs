//! What a machine must have to run a cluster: nothing enters; what is missing leaves.

use std::path::Path;

use anyhow::{Result, bail};

use crate::command::{command, on_path, output};

/// # Errors
/// Something is missing; the message says what.
pub(super) fn check() -> Result<()> {
    match missing() {
        None => Ok(()),
        Some(missing) => bail!("a cluster needs {missing}"),
    }
}

/// # Errors
/// We are not root.
pub(super) fn check_root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        Ok(())
    } else {
        bail!("a cluster needs root: its nodes are namespaces of this machine")
    }
}

/// The first thing that is missing.
pub(super) fn missing() -> Option<String> {
    if let Err(error) = check_root() {
        return Some(error.to_string().replace("a cluster needs ", ""));
    }
    for (program, why) in [
        ("go", "Go, which builds Kubernetes"),
        ("apt-get", "a Debian, of which its nodes' programs come"),
        ("unshare", "util-linux"),
        ("nsenter", "util-linux"),
        ("bash", "bash"),
    ] {
        if on_path(program).is_none() {
            return Some(format!("{program} on PATH: {why}"));
        }
    }
    let made =
        output(command("unshare", ["--mount", "--pid", "--net", "--uts", "--fork", "--mount-proc", "true"]));
    if made.is_err() {
        return Some("namespaces: unshare is not allowed to make them here".to_owned());
    }
    if !Path::new("/sys/fs/cgroup").is_dir() || !writable("/sys/fs/cgroup") {
        return Some("control groups that can be made: /sys/fs/cgroup is not writable".to_owned());
    }
    if !writable("/proc/sys/kernel/panic") {
        return Some("a /proc/sys that can be written, as kubelet does".to_owned());
    }
    None
}

fn writable(path: &str) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}
