//! What the tests' Kubernetes nodes run on: Debian's container runtime, CNI plugins, network tools and registry, unpacked into
//! `.forebay/debian/nodes`. Kubernetes itself is built from its modules (see `cluster::programs`).

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::Result;
use bytesize::ByteSize;

use super::{Plan, debian};
use crate::layout::Layout;

/// As Debian 12 has them: containerd 1.6, runc 1.1, CNI plugins 1.1, iptables 1.8, registry 2.8; what is unpacked here is in
/// `versions` beside it.
const PACKAGES: [&str; 7] = [
    "containerd",
    "containernetworking-plugins",
    "docker-registry",
    "iproute2",
    "iptables",
    "openssl",
    "runc",
];

/// Debian names them by its alternatives, which unpacking doesn't set.
const TABLES: [&str; 6] =
    ["iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"];

pub(super) fn plan(layout: &Layout) -> Plan {
    let folder = layout.nodes();
    Plan {
        pin: PACKAGES.join("\n"),
        files: vec![
            folder.join("usr/bin/containerd"),
            folder.join("usr/lib/cni/bridge"),
            folder.join("links/iptables"),
        ],
        doing: format!("{} from Debian", PACKAGES.join(", ")),
        size: ByteSize::mb(70),
        install: Box::new(install),
    }
}

fn install(layout: &Layout) -> Result<()> {
    debian::unpack(layout, "nodes", &PACKAGES, ByteSize::mb(70))?;
    let links = layout.nodes().join("links");
    fs::create_dir_all(&links)?;
    for name in TABLES {
        symlink("../usr/sbin/xtables-nft-multi", links.join(name))?;
    }
    Ok(())
}
