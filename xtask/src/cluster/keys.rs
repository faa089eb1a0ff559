//! Certificates and kubeconfigs of one cluster: its addresses enter, files in `keys/` leave.
//!
//! Each cluster has authorities of its own. So an answer that its kubeconfig accepts came from its own API server, and from no other
//! that happens to listen there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::instance::{Addresses, Instance, NODES};
use super::tools::Tools;

/// Days that all of it is valid.
const DAYS: &str = "30";

struct Keys<'a> {
    tools: &'a Tools,
    folder: PathBuf,
    server: String,
}

/// Makes them.
///
/// # Errors
/// openssl fails.
pub(super) fn make(instance: &Instance, addresses: Addresses, tools: &Tools) -> Result<()> {
    let folder = instance.folder.join("keys");
    fs::create_dir_all(&folder)?;
    let keys = Keys { tools, folder, server: format!("https://{}:6443", addresses.control()) };
    keys.authority("ca")?;
    keys.authority("front-ca")?;
    let names = ["", ".default", ".default.svc", ".default.svc.cluster.local"]
        .map(|end| format!(",DNS:kubernetes{end}"));
    let ips = format!("IP:127.0.0.1,IP:{},IP:{}", addresses.control(), addresses.service(1));
    keys.certificate("apiserver", "ca", "/CN=kube-apiserver", Some(&format!("{ips}{}", names.concat())))?;
    keys.certificate("kubelet-client", "ca", "/O=system:masters/CN=apiserver-kubelet", None)?;
    keys.certificate("front-client", "front-ca", "/CN=front-proxy", None)?;
    keys.user("admin", "/O=system:masters/CN=admin")?;
    keys.user("controller-manager", "/CN=system:kube-controller-manager")?;
    keys.user("scheduler", "/CN=system:kube-scheduler")?;
    keys.user("proxy", "/CN=system:kube-proxy")?;
    for number in NODES {
        keys.user(&format!("node-{number}"), &format!("/O=system:nodes/CN=system:node:node-{number}"))?;
    }
    keys.openssl("genrsa -out accounts.key 2048", &[])?;
    keys.openssl("rsa -in accounts.key -pubout -out accounts.pub", &[])
}

/// A server's `tls.key` and `tls.crt` for those names, and the `ca.crt` of who signed it, in that folder.
///
/// # Errors
/// openssl fails.
pub(super) fn server(folder: &Path, names: &[String], tools: &Tools) -> Result<()> {
    fs::create_dir_all(folder)?;
    let keys = Keys { tools, folder: folder.to_owned(), server: String::new() };
    keys.authority("ca")?;
    let names: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
    keys.certificate("tls", "ca", "/CN=forebay", Some(&names.join(",")))
}

impl Keys<'_> {
    fn openssl(&self, words: &str, more: &[&str]) -> Result<()> {
        let mut openssl = self.tools.command("openssl", words.split(' ').chain(more.iter().copied()));
        openssl.current_dir(&self.folder);
        crate::command::output(openssl).map(drop)
    }

    fn authority(&self, name: &str) -> Result<()> {
        self.openssl(&format!("ecparam -name prime256v1 -genkey -noout -out {name}.key"), &[])?;
        self.openssl(
            &format!("req -x509 -new -key {name}.key -days {DAYS} -out {name}.crt -subj /CN={name} -addext"),
            &["keyUsage=critical,keyCertSign,cRLSign"],
        )
    }

    /// A server's with names, a client's without.
    fn certificate(&self, name: &str, authority: &str, subject: &str, names: Option<&str>) -> Result<()> {
        let usage = if names.is_some() { "serverAuth" } else { "clientAuth" };
        let names = names.map(|names| format!("subjectAltName={names}\n")).unwrap_or_default();
        let extensions = format!("extendedKeyUsage={usage}\nkeyUsage=digitalSignature\n{names}");
        fs::write(self.folder.join("extensions"), extensions)?;
        self.openssl(&format!("ecparam -name prime256v1 -genkey -noout -out {name}.key"), &[])?;
        self.openssl(&format!("req -new -key {name}.key -out request -subj"), &[subject])?;
        self.openssl(
            &format!(
                "x509 -req -in request -CA {authority}.crt -CAkey {authority}.key -CAcreateserial -days {DAYS} \
                 -extfile extensions -out {name}.crt"
            ),
            &[],
        )
    }

    /// A client with a kubeconfig.
    fn user(&self, name: &str, subject: &str) -> Result<()> {
        self.certificate(name, "ca", subject, None)?;
        let file = |name: String| self.folder.join(name).display().to_string();
        let inline = |name: String| -> Result<String> {
            let encoded = self.tools.command("openssl", ["base64", "-A", "-in", &file(name)]);
            crate::command::output(encoded)
        };
        // The keys themselves and not their files: it can be copied to where someone works.
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "forebay", "cluster": {
                "server": self.server, "certificate-authority-data": inline("ca.crt".to_owned())?}}],
            "users": [{"name": name, "user": {
                "client-certificate-data": inline(format!("{name}.crt"))?,
                "client-key-data": inline(format!("{name}.key"))?}}],
            "contexts": [{"name": "forebay", "context": {"cluster": "forebay", "user": name}}],
            "current-context": "forebay",
        });
        let path = self.folder.join(format!("{name}.kubeconfig"));
        fs::write(&path, format!("{config:#}\n"))
            .with_context(|| format!("can't write {}", path.display()))?;
        Ok(())
    }
}
