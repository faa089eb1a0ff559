//! How much memory this program may take: what the container's limit says, else what the machine has. A root folder enters, with
//! what the kernel shows below it in `proc` and `sys`; bytes leave, with the file that says so.
//!
//! Control groups are of one hierarchy (v2) or one for memory alone (v1). Of a group and those above it the tightest limit counts.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Bytes that may be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) bytes: u64,
    /// The file that says so.
    pub(crate) by: PathBuf,
}

/// The kernel's numbers for none are of this size.
const NO_LIMIT: u64 = 1 << 60;

impl Memory {
    /// Of this process, if that is known.
    pub(crate) fn here() -> Option<Self> {
        Self::of(Path::new("/"))
    }

    /// As told by the files below `root`.
    fn of(root: &Path) -> Option<Self> {
        let machine = machine(root);
        let most = machine.as_ref().map_or(NO_LIMIT, |machine| machine.bytes);
        let limit = limits(root).into_iter().min_by_key(|limit| limit.bytes);
        limit.filter(|limit| limit.bytes < most).or(machine)
    }
}

/// What the machine has.
fn machine(root: &Path) -> Option<Memory> {
    let by = PathBuf::from("/proc/meminfo");
    let text = read(root, &by)?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Memory { bytes: kib.saturating_mul(1024), by })
}

/// A version of control groups.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// A file system of groups.
struct Mount {
    version: Version,
    /// The group that is shown at its top.
    top: PathBuf,
    at: PathBuf,
}

/// All limits of the process's group, and of those above it as far as they are shown.
fn limits(root: &Path) -> Vec<Memory> {
    let mounts = mounts(&read(root, Path::new("/proc/self/mountinfo")).unwrap_or_default());
    let groups = read(root, Path::new("/proc/self/cgroup")).unwrap_or_default();
    let mut limits = Vec::new();
    for (version, group) in groups.lines().filter_map(group) {
        for mount in mounts.iter().filter(|mount| mount.version == version) {
            // Where the group isn't below the top, the top is the nearest that is shown.
            let inside = group.strip_prefix(&mount.top).unwrap_or(Path::new(""));
            let files = inside.ancestors().map(|above| mount.at.join(above));
            limits.extend(files.filter_map(|folder| limit(root, version, &folder)));
            if version == Version::V1 {
                limits.extend(above_the_top(root, &mount.at.join(inside)));
            }
        }
    }
    limits
}

/// `4:memory:/a/b` or `0::/a/b`: the version, and the group in its hierarchy; others don't limit memory.
fn group(line: &str) -> Option<(Version, PathBuf)> {
    let mut parts = line.splitn(3, ':');
    let (number, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
    let version = match controllers {
        "" if number == "0" => Version::V2,
        _ if controllers.split(',').any(|controller| controller == "memory") => Version::V1,
        _ => return None,
    };
    Some((version, PathBuf::from(group)))
}

/// Lines of `mountinfo`: `32 31 0:29 TOP AT rw - cgroup2 SOURCE OPTIONS`.
fn mounts(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let (mut left, mut right) = (left.split(' ').skip(3), right.split(' '));
        let (top, at) = (PathBuf::from(left.next()?), PathBuf::from(left.next()?));
        let (kind, options) = (right.next()?, right.nth(1)?);
        let version = match kind {
            "cgroup2" => Version::V2,
            "cgroup" if options.split(',').any(|option| option == "memory") => Version::V1,
            _ => return None,
        };
        Some(Mount { version, top, at })
    };
    text.lines().filter_map(mount).collect()
}

/// What a group's own file says: `max` is no limit.
fn limit(root: &Path, version: Version, folder: &Path) -> Option<Memory> {
    let name = if version == Version::V2 { "memory.max" } else { "memory.limit_in_bytes" };
    let by = folder.join(name);
    let bytes = read(root, &by)?.trim().parse().ok()?;
    Some(Memory { bytes, by })
}

/// In version 1 a group tells the tightest limit of all above it, also of those that a container doesn't see.
fn above_the_top(root: &Path, folder: &Path) -> Option<Memory> {
    let by = folder.join("memory.stat");
    let text = read(root, &by)?;
    let bytes = text.lines().find_map(|line| line.strip_prefix("hierarchical_memory_limit "))?;
    Some(Memory { bytes: bytes.trim().parse().ok()?, by })
}

fn read(root: &Path, path: &Path) -> Option<String> {
    read_to_string(root.join(path.strip_prefix("/").unwrap_or(path))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal:       16384 kB\nMemFree: 1 kB\n");
    const V1: (&str, &str) = (
        "proc/self/mountinfo",
        "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
         32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
         35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
         41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
    );
    const V2: (&str, &str) = (
        "proc/self/mountinfo",
        "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
    );
    const MIB: u64 = 1 << 20;

    /// What is found of a root with these files.
    fn found(files: &[(&str, &str)]) -> Option<(u64, String)> {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        Memory::of(root.path()).map(|memory| (memory.bytes, memory.by.to_str().unwrap().to_owned()))
    }

    fn said(bytes: u64, by: &str) -> (u64, String) {
        (bytes, by.to_owned())
    }

    #[test]
    fn the_tightest_limit_of_a_group_and_those_above_it_counts() {
        let group = ("proc/self/cgroup", "0::/pods/one/serve\n");
        let own = ("sys/fs/cgroup/pods/one/serve/memory.max", "8388608\n");
        let pod = ("sys/fs/cgroup/pods/one/memory.max", "4194304\n");
        let none = ("sys/fs/cgroup/pods/memory.max", "max\n");
        assert_eq!(
            found(&[MACHINE, V2, group, own, none]),
            Some(said(8 * MIB, "/sys/fs/cgroup/pods/one/serve/memory.max"))
        );
        assert_eq!(
            found(&[MACHINE, V2, group, own, pod]),
            Some(said(4 * MIB, "/sys/fs/cgroup/pods/one/memory.max"))
        );
        assert_eq!(found(&[MACHINE, V2, group, none]), Some(said(16 * MIB, "/proc/meminfo")));
    }

    #[test]
    fn version_1_has_a_hierarchy_for_memory() {
        let group = ("proc/self/cgroup", "5:devices:/x\n4:memory:/pods/one\n1:cpu:/pods/one\n0::/\n");
        let own = ("sys/fs/cgroup/memory/pods/one/memory.limit_in_bytes", "8388608\n");
        let pods = ("sys/fs/cgroup/memory/pods/memory.limit_in_bytes", "2097152\n");
        let none = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        let by = "/sys/fs/cgroup/memory/pods/one/memory.limit_in_bytes";
        assert_eq!(found(&[MACHINE, V1, group, own, none]), Some(said(8 * MIB, by)));
        let by = "/sys/fs/cgroup/memory/pods/memory.limit_in_bytes";
        assert_eq!(found(&[MACHINE, V1, group, own, pods, none]), Some(said(2 * MIB, by)));
        assert_eq!(found(&[MACHINE, V1, group, none]), Some(said(16 * MIB, "/proc/meminfo")));
        // The numbers that stand for none are as large where nobody tells what the machine has.
        assert_eq!(found(&[V1, group, none]), None);
    }

    #[test]
    fn a_container_finds_its_own_group_at_the_top_of_what_it_is_shown() {
        // With groups of its own namespace, and with those of the machine.
        let own = ("sys/fs/cgroup/memory.max", "8388608\n");
        assert_eq!(
            found(&[MACHINE, V2, ("proc/self/cgroup", "0::/\n"), own]),
            Some(said(8 * MIB, "/sys/fs/cgroup/memory.max"))
        );
        let mount = (
            "proc/self/mountinfo",
            "9 8 0:3 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
        );
        let own = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "8388608\n");
        let stat = ("sys/fs/cgroup/memory/memory.stat", "cache 1\nhierarchical_memory_limit 3145728\n");
        for group in ["4:memory:/docker/ab\n", "4:memory:/elsewhere\n", "4:memory:/../../up\n"] {
            let group = ("proc/self/cgroup", group);
            let by = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
            assert_eq!(found(&[MACHINE, mount, group, own]), Some(said(8 * MIB, by)));
            // A limit above what is shown.
            let by = "/sys/fs/cgroup/memory/memory.stat";
            assert_eq!(found(&[MACHINE, mount, group, own, stat]), Some(said(3 * MIB, by)));
        }
    }

    #[test]
    fn what_can_not_be_read_limits_nothing() {
        assert_eq!(found(&[]), None);
        assert_eq!(
            found(&[MACHINE, ("proc/self/cgroup", "nonsense\n0:\n"), V2]),
            Some(said(16 * MIB, "/proc/meminfo"))
        );
        let group = ("proc/self/cgroup", "0::/a\n");
        for content in ["", "-1\n", "many\n"] {
            let files = [MACHINE, V2, group, ("sys/fs/cgroup/a/memory.max", content)];
            assert_eq!(found(&files), Some(said(16 * MIB, "/proc/meminfo")));
        }
    }
}
