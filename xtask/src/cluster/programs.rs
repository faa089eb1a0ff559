//! Upstream's programs out of the wrapper modules in `k8s/cluster/`: a module's name enters, the built program leaves.
//!
//! A program is built once for the same `go.mod`, `go.sum`, `main.go`, flags and Go, and kept in `.forebay/cluster/programs`, or where
//! `FOREBAY_CLUSTER_PROGRAMS` says: that folder may outlive checkouts and be shared by them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

use super::image::hex;
use crate::command::{command, counted, on_path, output};
use crate::layout::Layout;

/// A wrapper module.
pub(super) struct Module {
    /// Its folder in `k8s/cluster/`.
    folder: &'static str,
    /// The program's name.
    pub(super) name: &'static str,
    /// The package that is built: the module's own, or upstream's command by its path.
    package: &'static str,
    /// The module whose version is the program's.
    upstream: &'static str,
    /// Packages that are compiled for it, about.
    packages: u32,
}

pub(super) const KUBE: Module =
    Module { folder: "kube", name: "kube", package: ".", upstream: "k8s.io/kubernetes", packages: 3070 };
pub(super) const COREDNS: Module = Module {
    folder: "coredns",
    name: "coredns",
    package: ".",
    upstream: "github.com/coredns/coredns",
    packages: 1100,
};
pub(super) const PAUSE: Module =
    Module { folder: "pause", name: "pause", package: ".", upstream: "", packages: 60 };
pub(super) const COLLECTOR: Module = Module {
    folder: "collector",
    name: "collector",
    package: ".",
    upstream: "go.opentelemetry.io/collector/otelcol",
    packages: 740,
};
pub(super) const SEALED_SECRETS: Module = Module {
    folder: "sealed-secrets",
    name: "sealed-secrets-controller",
    package: "github.com/bitnami-labs/sealed-secrets/cmd/controller",
    upstream: "github.com/bitnami-labs/sealed-secrets",
    packages: 900,
};
pub(super) const KUBESEAL: Module = Module {
    name: "kubeseal",
    package: "github.com/bitnami-labs/sealed-secrets/cmd/kubeseal",
    ..SEALED_SECRETS
};
pub(super) const ARGO_CD: Module = Module {
    folder: "argo-cd",
    name: "argocd",
    package: "github.com/argoproj/argo-cd/v3/cmd",
    upstream: "github.com/argoproj/argo-cd/v3",
    packages: 2700,
};
pub(super) const KSERVE: Module = Module {
    folder: "kserve",
    name: "kserve-manager",
    package: "github.com/kserve/kserve/cmd/manager",
    upstream: "github.com/kserve/kserve",
    packages: 1900,
};
pub(super) const ISTIOD: Module = Module {
    folder: "istio",
    name: "pilot-discovery",
    package: "istio.io/istio/pilot/cmd/pilot-discovery",
    upstream: "istio.io/istio",
    packages: 1760,
};
pub(super) const PILOT_AGENT: Module =
    Module { name: "pilot-agent", package: "istio.io/istio/pilot/cmd/pilot-agent", packages: 680, ..ISTIOD };
pub(super) const ISTIO_ANALYZE: Module =
    Module { folder: "istio-analyze", name: "istio-analyze", package: ".", packages: 1720, ..ISTIOD };

/// KEDA, which is one version: its operator, and the adapter that answers an HPA's questions.
pub(super) const KEDA: Module = Module {
    folder: "keda",
    name: "keda",
    package: "github.com/kedacore/keda/v2/cmd/operator",
    upstream: "github.com/kedacore/keda/v2",
    packages: 3300,
};
pub(super) const KEDA_ADAPTER: Module =
    Module { name: "keda-adapter", package: "github.com/kedacore/keda/v2/cmd/adapter", ..KEDA };

/// What gives an HPA what Prometheus counted.
pub(super) const PROMETHEUS_ADAPTER: Module = Module {
    folder: "prometheus-adapter",
    name: "prometheus-adapter",
    package: "sigs.k8s.io/prometheus-adapter/cmd/adapter",
    upstream: "sigs.k8s.io/prometheus-adapter",
    packages: 1220,
};

impl Module {
    /// The program, built if it isn't there.
    ///
    /// # Errors
    /// There is no Go, or it does not build.
    pub(super) fn program(&self, layout: &Layout) -> Result<PathBuf> {
        let source = layout.root.join("k8s/cluster").join(self.folder);
        let flags = self.linker_flags(&source)?;
        let go =
            on_path("go").context("Go must be on PATH: it builds upstream's programs from their modules")?;
        let go_version = output(command(&go, ["version"]))?;
        let mut hash = Sha256::new();
        for text in [&flags, &go_version] {
            hash.update(text);
        }
        let code = if self.package == "." { "main.go" } else { "tools.go" };
        for file in ["go.mod", "go.sum", code] {
            let file = source.join(file);
            hash.update(fs::read(&file).with_context(|| format!("can't read {}", file.display()))?);
        }
        let hash = hex(&hash.finalize()[..8]);
        let programs = folder(layout)?;
        let program = programs.join(format!("{}-{hash}", self.name));
        let lock = File::create(programs.join(format!(".{}.lock", self.name)))?;
        if lock.try_lock().is_err() {
            println!("{}: another one builds it; waiting for its end", self.name);
            lock.lock()?;
        }
        if !program.exists() {
            let half = programs.join(format!(".{}-{hash}", self.name));
            self.build(layout, &go, &source, &flags, &half)?;
            fs::rename(half, &program)?;
        }
        Ok(program)
    }

    /// Its version, as go.mod has it, without the v.
    ///
    /// # Errors
    /// go.mod does not name it.
    pub(super) fn version(&self, layout: &Layout) -> Result<String> {
        self.version_in(&layout.root.join("k8s/cluster").join(self.folder))
    }

    /// Upstream's own folder of that version, with its chart.
    ///
    /// # Errors
    /// Go can't say.
    pub(super) fn source(&self, layout: &Layout) -> Result<PathBuf> {
        let mut list = command("go", ["list", "-m", "-f", "{{.Dir}}", self.upstream]);
        list.current_dir(layout.root.join("k8s/cluster").join(self.folder));
        list.envs(modules(layout));
        Ok(output(list)?.trim().into())
    }

    fn version_in(&self, source: &Path) -> Result<String> {
        if self.upstream.is_empty() {
            return Ok("1".to_owned());
        }
        let text = fs::read_to_string(source.join("go.mod")).context("can't read go.mod")?;
        let line = text.lines().find_map(|line| {
            let line = line.trim().trim_start_matches("require ");
            line.strip_prefix(self.upstream)?.strip_prefix(" v")
        });
        let version =
            line.with_context(|| format!("{}/go.mod requires no {}", source.display(), self.upstream))?;
        Ok(version.split_whitespace().next().unwrap_or(version).to_owned())
    }

    fn linker_flags(&self, source: &Path) -> Result<String> {
        let version = self.version_in(source)?;
        let mut parts = version.split('.');
        let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        Ok(match self.name {
            "kube" => {
                let says = "-X k8s.io/component-base/version.git";
                format!("-s -w {says}Version=v{version} {says}Major={major} {says}Minor={minor}")
            }
            _ => "-s -w".to_owned(),
        })
    }

    fn build(&self, layout: &Layout, go: &Path, source: &Path, flags: &str, to: &Path) -> Result<()> {
        println!("building {} {} from its modules (once)", self.name, self.version_in(source)?);
        let mut build =
            command(go, ["build", "-v", "-mod=readonly", "-modcacherw", "-trimpath", "-ldflags", flags]);
        build.arg("-o").arg(to).arg(self.package).current_dir(source).env("CGO_ENABLED", "0");
        // A collector that runs seldom makes the compiler a third faster.
        build.env("GOGC", "400");
        build.envs(modules(layout));
        // What is compiled on the way is 4 GB for Kubernetes alone, and of no use once the program is there. Each has its own: another
        // may be built meanwhile.
        let compiled = layout.dir.join("cluster/go-build").join(self.name);
        let ours = std::env::var_os("GOCACHE").is_none();
        if ours {
            build.env("GOCACHE", &compiled);
        }
        counted(build, self.packages, "packages").with_context(|| format!("{} does not build", self.name))?;
        if ours {
            fs::remove_dir_all(&compiled).with_context(|| format!("can't remove {}", compiled.display()))?;
        }
        Ok(())
    }
}

/// Where Go keeps what it fetched: where all that we install is, unless it is the user's choice.
fn modules(layout: &Layout) -> Option<(&'static str, PathBuf)> {
    let chosen = std::env::var_os("GOMODCACHE").is_some();
    (!chosen).then(|| ("GOMODCACHE", layout.dir.join("cluster/go-modules")))
}

fn folder(layout: &Layout) -> Result<PathBuf> {
    let folder = match std::env::var_os("FOREBAY_CLUSTER_PROGRAMS") {
        Some(folder) => std::path::absolute(folder).context("FOREBAY_CLUSTER_PROGRAMS")?,
        None => layout.dir.join("cluster/programs"),
    };
    fs::create_dir_all(&folder).with_context(|| format!("can't create {}", folder.display()))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_version_is_its_modules() {
        let layout = Layout::find().unwrap();
        for module in [&KUBE, &COREDNS, &COLLECTOR, &ARGO_CD, &KSERVE, &KEDA, &PROMETHEUS_ADAPTER] {
            let version = module.version(&layout).unwrap();
            let numbers: Vec<&str> = version.split('.').collect();
            assert!(numbers.len() == 3 && numbers.iter().all(|n| n.parse::<u32>().is_ok()), "{version}");
        }
        let flags = KUBE.linker_flags(&layout.root.join("k8s/cluster/kube")).unwrap();
        assert!(flags.contains("version.gitMajor=1 "), "{flags}");
    }
}
