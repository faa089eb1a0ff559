//! One cluster of this machine: a name enters; its folder, its id (by which all that the kernel keeps of it is named), and addresses
//! that nobody else has leave.
//!
//! What runs is noted in `/run/forebay-cluster`, one file an instance, whatever checkout it is of: so that two never take the same
//! addresses, and the last to end restores what kubelets changed for the whole machine.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use super::image::hex;
use super::tools::Tools;
use crate::layout::Layout;

/// Where instances are noted; it is gone after a reboot, as they are.
const NOTED: &str = "/run/forebay-cluster";
/// Instances side by side.
const MOST: u8 = 64;
/// Nodes of a cluster.
pub(super) const NODES: [u8; 2] = [1, 2];

pub(super) struct Instance {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    /// Six hexadecimal digits, of the folder: an interface's name may have no more than 15 characters.
    pub(super) id: String,
}

impl Instance {
    /// # Errors
    /// The name can be no folder's.
    pub(super) fn new(layout: &Layout, name: &str) -> Result<Self> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ensure!(
            !name.is_empty()
                && name.bytes().all(plain)
                && !["programs", "go-build", "go-modules"].contains(&name),
            "--name {name:?}: a cluster's name is of a-z, 0-9 and -, and not programs"
        );
        let folder = layout.cluster(name);
        let hash = Sha256::digest(folder.as_os_str().as_encoded_bytes());
        let id = hex(&hash[..3]);
        Ok(Self { name: name.to_owned(), folder, id })
    }

    /// The network namespace of the control plane, where the bridge is too.
    pub(super) fn control(&self) -> String {
        format!("forebay-{}-control", self.id)
    }

    /// That of a node.
    pub(super) fn node(&self, number: u8) -> String {
        format!("forebay-{}-node-{number}", self.id)
    }

    /// All of them.
    pub(super) fn namespaces(&self) -> Vec<String> {
        std::iter::once(self.control()).chain(NODES.map(|number| self.node(number))).collect()
    }

    /// The machine's end of its link to the cluster.
    pub(super) fn link(&self) -> String {
        format!("fb{}", self.id)
    }

    /// Its folder in each hierarchy of control groups.
    pub(super) fn cgroup(&self) -> String {
        format!("forebay-{}", self.id)
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("keys/admin.kubeconfig")
    }

    /// Where its presence is noted.
    fn note(&self) -> PathBuf {
        PathBuf::from(NOTED).join(&self.id)
    }

    /// Takes addresses that are free on this machine, and notes that they are ours.
    ///
    /// # Errors
    /// It runs already, or none are free.
    pub(super) fn claim(&self, tools: &Tools) -> Result<Addresses> {
        let _alone = alone()?;
        ensure!(!self.note().exists(), "{} is up already", self.name);
        keep_sysctls()?;
        let taken: Vec<u8> = noted()?.iter().filter_map(|note| note.lines().next()?.parse().ok()).collect();
        for index in (0..MOST).filter(|index| !taken.contains(index)) {
            let addresses = Addresses { index };
            // Only what goes out by a router belongs to nobody on this machine. No way at all will do as well.
            let route = tools.output("ip", ["route", "get", &addresses.control()]);
            if route.map_or(true, |route| route.contains(" via ")) {
                fs::write(self.note(), format!("{index}\n{}\n", self.folder.display()))?;
                return Ok(addresses);
            }
        }
        bail!(
            "no subnet of 10.190.0.0/16 is free on this machine; `cargo xtask cluster down --name NAME` frees one"
        )
    }

    /// The addresses that it has taken, if it has.
    pub(super) fn addresses(&self) -> Option<Addresses> {
        let index = fs::read_to_string(self.note()).ok()?.lines().next()?.parse().ok()?;
        Some(Addresses { index })
    }

    /// Notes that it is gone. When it was the last, the machine's settings become what they were.
    ///
    /// # Errors
    /// A setting can't be written.
    pub(super) fn release(&self) -> Result<()> {
        let _alone = alone()?;
        if self.note().exists() {
            fs::remove_file(self.note())?;
        }
        if noted()?.is_empty() {
            restore_sysctls()?;
            fs::remove_dir_all(NOTED)?;
        }
        Ok(())
    }
}

/// Addresses of an instance: 10.190.I.0/24 for nodes, 10.189.I.0/24 for Services, and of 10.191.0.0/16 four ranges for pods.
#[derive(Clone, Copy)]
pub(super) struct Addresses {
    index: u8,
}

impl Addresses {
    /// The control plane's; the nodes' gateway.
    pub(super) fn control(self) -> String {
        format!("10.190.{}.1", self.index)
    }

    /// The machine's.
    pub(super) fn machine(self) -> String {
        format!("10.190.{}.254", self.index)
    }

    pub(super) fn node(self, number: u8) -> String {
        format!("10.190.{}.1{number}", self.index)
    }

    /// Of all Services.
    pub(super) fn services(self) -> String {
        format!("10.189.{}.0/24", self.index)
    }

    /// The Service with that number: 1 is the API server, 10 is DNS.
    pub(super) fn service(self, number: u8) -> String {
        format!("10.189.{}.{number}", self.index)
    }

    /// Of a node's pods.
    pub(super) fn pods(self, node: u8) -> String {
        format!("10.191.{}.0/24", self.index * 4 + node)
    }

    /// Of all pods.
    pub(super) fn all_pods(self) -> String {
        format!("10.191.{}.0/22", self.index * 4)
    }
}

/// Nobody else claims or releases while this lives.
fn alone() -> Result<File> {
    fs::create_dir_all(NOTED)?;
    let lock = File::create(PathBuf::from(NOTED).join(".lock"))?;
    lock.lock().context("can't lock the notes of running clusters")?;
    // Whoever was last may have removed the folder while we waited.
    fs::create_dir_all(NOTED)?;
    Ok(lock)
}

/// The notes of all instances.
fn noted() -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for entry in fs::read_dir(NOTED)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.len() == 6) {
            notes.push(fs::read_to_string(path)?);
        }
    }
    Ok(notes)
}

/// What kubelet and kube-proxy write for the whole machine.
const SYSCTLS: [&str; 6] = [
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];

fn keep_sysctls() -> Result<()> {
    let kept = PathBuf::from(NOTED).join("sysctls");
    if kept.exists() {
        return Ok(());
    }
    let lines = SYSCTLS.iter().filter_map(|name| {
        let value = fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
        Some(format!("{name} {}\n", value.trim()))
    });
    Ok(fs::write(kept, lines.collect::<String>())?)
}

fn restore_sysctls() -> Result<()> {
    let kept = fs::read_to_string(PathBuf::from(NOTED).join("sysctls")).unwrap_or_default();
    for (name, value) in kept.lines().filter_map(|line| line.split_once(' ')) {
        let file = format!("/proc/sys/{name}");
        if fs::read_to_string(&file).is_ok_and(|now| now.trim() != value) {
            fs::write(&file, value).with_context(|| format!("can't restore {file}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn layout() -> Layout {
        Layout { root: "/checkout".into(), dir: "/checkout/.forebay".into() }
    }

    #[test]
    fn no_two_clusters_of_a_machine_share_an_address() {
        let all = (0..MOST).map(|index| Addresses { index });
        let ranges: Vec<String> = all
            .flat_map(|own| [own.services(), own.pods(1), own.pods(2), format!("{}/24", own.control())])
            .collect();
        assert_eq!(ranges.iter().collect::<HashSet<_>>().len(), ranges.len());
        assert_eq!(Addresses { index: MOST - 1 }.pods(2), "10.191.254.0/24");
    }

    #[test]
    fn what_the_kernel_calls_a_cluster_fits_and_is_another_in_each_checkout() {
        let here = Instance::new(&layout(), "test").unwrap();
        let there = Instance::new(&Layout { dir: "/other/.forebay".into(), ..layout() }, "test").unwrap();
        assert!(here.link().len() <= 15, "an interface's name has no more than 15 characters");
        assert_ne!(here.id, there.id);
    }

    #[test]
    fn a_name_is_one_folder_and_not_one_that_is_taken() {
        for wrong in ["", "a/b", "..", "A", "programs", "go-build"] {
            assert!(Instance::new(&layout(), wrong).is_err(), "{wrong:?}");
        }
    }
}
