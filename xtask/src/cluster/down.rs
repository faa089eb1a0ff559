//! The end of a cluster, from whatever state it is in: a name enters, nothing leaves.
//!
//! What there is of it is found by names that only it has, and not by what `up` remembers having done.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use walkdir::WalkDir;

use super::await_it::until;
use super::instance::Instance;
use super::tools::Tools;

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ends it. Its logs stay.
///
/// # Errors
/// Something of it won't go.
pub(super) fn run(instance: &Instance, tools: &Tools) -> Result<()> {
    let there = tools.output("ip", ["netns", "list"]).unwrap_or_default();
    let there: Vec<&str> = there.lines().filter_map(|line| line.split(' ').next()).collect();
    let namespaces: Vec<String> =
        instance.namespaces().into_iter().filter(|name| there.contains(&name.as_str())).collect();
    kill(&namespaces, tools)?;
    remove_cgroups(instance)?;
    for name in &namespaces {
        tools.run(&format!("ip netns del {name}"))?;
    }
    // It goes with its other end; a half-made one has none.
    if Path::new("/sys/class/net").join(instance.link()).exists() {
        let _ = tools.run(&format!("ip link del {}", instance.link()));
    }
    remove_files(instance)?;
    instance.release()
}

/// Kills all in those network namespaces. Process 1 of a node is there; when it dies, all in its process namespace die with it, pods too.
///
/// # Errors
/// Something won't die.
pub(super) fn kill(namespaces: &[String], tools: &Tools) -> Result<()> {
    until("its processes end", PATIENCE, || {
        let mut left = 0;
        for name in namespaces {
            let pids = tools.output("ip", ["netns", "pids", name]).unwrap_or_default();
            for pid in pids.lines().filter_map(|pid| Pid::from_raw(pid.trim().parse().ok()?)) {
                left += 1;
                // It may have ended since.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        (left == 0).then_some(())
    })
}

/// Groups of pods that died are empty at once, but the kernel may take its time to see it.
fn remove_cgroups(instance: &Instance) -> Result<()> {
    until("its control groups go", PATIENCE, || {
        let mut left = 0;
        for folder in cgroups(instance) {
            for entry in WalkDir::new(&folder).contents_first(true).into_iter().flatten() {
                if entry.file_type().is_dir() {
                    left += u32::from(fs::remove_dir(entry.path()).is_err());
                }
            }
        }
        (left == 0).then_some(())
    })
}

/// Its folder in each hierarchy that has one.
fn cgroups(instance: &Instance) -> Vec<std::path::PathBuf> {
    super::node::hierarchies()
        .into_iter()
        .map(|root| root.join(instance.cgroup()))
        .filter(|f| f.is_dir())
        .collect()
}

fn remove_files(instance: &Instance) -> Result<()> {
    let Ok(entries) = fs::read_dir(&instance.folder) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if entry.file_name() == "logs" {
            continue;
        }
        let removed = if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        };
        removed.with_context(|| format!("can't remove {}", entry.path().display()))?;
    }
    Ok(())
}
