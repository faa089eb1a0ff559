//! A node: its number enters; what kubelet, kube-proxy and containerd read, and control groups for its pods, leave; then it runs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use super::instance::{Addresses, Instance};
use super::tools::Tools;

/// What all nodes of a cluster share.
pub(super) struct Nodes<'a> {
    pub(super) instance: &'a Instance,
    pub(super) addresses: Addresses,
    pub(super) tools: &'a Tools,
}

impl Nodes<'_> {
    /// Writes a node's files and makes its control groups.
    ///
    /// # Errors
    /// A file or group can't be made.
    pub(super) fn prepare(&self, number: u8) -> Result<()> {
        let own = self.instance.folder.join(format!("node-{number}"));
        fs::create_dir_all(own.join("cni"))?;
        let write = |file: &str, text: &str| fs::write(own.join(file), text);
        write("containerd.toml", &self.containerd(&own))?;
        write("kubelet.yaml", &format!("{:#}\n", self.kubelet(&own, number)))?;
        write("proxy.yaml", &format!("{:#}\n", self.proxy(number)))?;
        write("cni/forebay.conflist", &format!("{:#}\n", self.cni(number)))?;
        // CoreDNS alone asks nobody else; a pod with the node's DNS shall reach nobody.
        write("resolv.conf", "nameserver 127.0.0.1\n")?;
        self.make_cgroups(number)
    }

    fn containerd(&self, own: &Path) -> String {
        let (plugins, cni) = (self.tools.cni(), own.join("cni"));
        let (plugins, cni, mirrors) =
            (plugins.display(), cni.display(), self.instance.folder.join("mirrors"));
        format!(
            "version = 2\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\n\
             sandbox_image = \"pause:1\"\n\
             restrict_oom_score_adj = true\n\
             disable_apparmor = true\n\
             [plugins.\"io.containerd.grpc.v1.cri\".cni]\n\
             bin_dir = \"{plugins}\"\n\
             conf_dir = \"{cni}\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\".registry]\n\
             config_path = \"{}\"\n",
            mirrors.display()
        )
    }

    fn kubelet(&self, own: &Path, number: u8) -> serde_json::Value {
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.addresses.node(number),
            "authentication": {
                "anonymous": {"enabled": false},
                "webhook": {"enabled": true},
                "x509": {"clientCAFile": self.instance.folder.join("keys/ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "failCgroupV1": false,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/{}/node-{number}", self.instance.cgroup()),
            "enforceNodeAllocatable": ["pods"],
            "clusterDNS": [self.addresses.service(10)],
            "clusterDomain": "cluster.local",
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "failSwapOn": false,
            // Nodes share no registry with anyone, and its images are pulled without credentials.
            "imagePullCredentialsVerificationPolicy": "NeverVerify",
            "resolvConf": own.join("resolv.conf"),
            "volumePluginDir": "/var/lib/kubelet/volumeplugins",
            // The disk is the machine's: how full it is, is not the cluster's to judge.
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%",
                "nodefs.inodesFree": "1%"},
            "imageGCHighThresholdPercent": 99,
            "imageGCLowThresholdPercent": 98,
            "nodeStatusUpdateFrequency": "5s",
        })
    }

    fn proxy(&self, number: u8) -> serde_json::Value {
        json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": self.instance.folder.join("keys/proxy.kubeconfig")},
            "mode": "iptables",
            "hostnameOverride": format!("node-{number}"),
            "clusterCIDR": self.addresses.all_pods(),
            // Zero leaves the machine's settings as they are.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        })
    }

    fn cni(&self, number: u8) -> serde_json::Value {
        json!({
            "cniVersion": "0.4.0",
            "name": "forebay",
            "plugins": [
                {"type": "bridge", "bridge": "pods", "isGateway": true, "ipMasq": false, "hairpinMode": true, "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": self.addresses.pods(number)}]],
                    "routes": [{"dst": "0.0.0.0/0"}]}},
                {"type": "portmap", "capabilities": {"portMappings": true}},
            ],
        })
    }

    /// Kubelet makes its own below them, but not these.
    fn make_cgroups(&self, number: u8) -> Result<()> {
        for root in hierarchies() {
            let mut group = root.clone();
            for name in [self.instance.cgroup(), format!("node-{number}")] {
                let above = group.clone();
                // Of version 2: what a group hands down has to be said. Of version 1 there is no such file.
                if let Ok(controllers) = fs::read_to_string(above.join("cgroup.controllers")) {
                    let all = format!("+{}", controllers.split_whitespace().collect::<Vec<_>>().join(" +"));
                    // A controller that can't be handed down is not one that pods are limited by.
                    let _ = fs::write(above.join("cgroup.subtree_control"), all);
                }
                group = above.join(name);
                fs::create_dir_all(&group).with_context(|| format!("can't make {}", group.display()))?;
                // A group of cpuset, version 1, has no processors until it is told.
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    if root.ends_with("cpuset") {
                        fs::write(group.join(file), fs::read(above.join(file))?)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Where control groups are: of version 1 a folder a controller, of version 2 one for all.
pub(super) fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        return vec![root];
    }
    let names = [
        "blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory", "pids", "systemd",
        "unified",
    ];
    names.iter().map(|name| root.join(name)).filter(|folder| folder.is_dir()).collect()
}
