//! What pod security forbids and a workload must do, as a file lists it: each with the reason, and refused where nothing needs it any more.
//!
//! ```yaml
//! - kind: DaemonSet
//!   name: node-cache        # `*` at its end takes any rest
//!   path: spec.template.spec.volumes[0].hostPath    # and what is in it
//!   why: reads what the node's driver puts there
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::entries;
use crate::failure::Failure;

/// All that is recorded. Copies share what was needed, so that one entry may be for one environment of several.
#[derive(Debug, Clone, Default)]
pub struct Skips {
    list: Vec<Skip>,
    needed: Arc<Mutex<BTreeSet<usize>>>,
}

#[derive(Debug, Clone)]
struct Skip {
    kind: String,
    name: String,
    path: String,
    file: PathBuf,
    line: usize,
}

impl Skips {
    /// Reads the file.
    ///
    /// # Errors
    /// It can't be read, or says something else than a list of skips.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
        Self::parse(file, &text).with_context(|| format!("{} is no list of skips", file.display()))
    }

    fn parse(file: &Path, text: &str) -> Result<Self> {
        let mut list = Vec::new();
        for entry in entries::read(text)? {
            entry.only(&["kind", "name", "path", "why"])?;
            entry.word("why")?;
            let (kind, name, path) = (entry.word("kind")?, entry.word("name")?, entry.word("path")?);
            list.push(Skip { kind, name, path, file: file.to_owned(), line: entry.line });
        }
        Ok(Self { list, needed: Arc::default() })
    }

    /// What is left of failures of pod security.
    pub(crate) fn leave(&self, mut failures: Vec<Failure>) -> Vec<Failure> {
        failures.retain(|failure| {
            let skip = self.list.iter().position(|skip| skip.takes(failure));
            if let Some(index) = skip {
                self.needed().insert(index);
            }
            skip.is_none()
        });
        failures
    }

    /// Those that nothing needed.
    #[must_use]
    pub fn stale(&self) -> Vec<Failure> {
        let needed = self.needed();
        let stale = self.list.iter().enumerate().filter(|(index, _)| !needed.contains(index));
        let failure = |(_, skip): (usize, &Skip)| Failure {
            file: skip.file.clone(),
            line: skip.line,
            kind: skip.kind.clone(),
            name: skip.name.clone(),
            path: skip.path.clone(),
            wrong: "is skipped, and breaks no rule of pod security".to_owned(),
            right: "without this entry".to_owned(),
        };
        stale.map(failure).collect()
    }

    fn needed(&self) -> std::sync::MutexGuard<'_, BTreeSet<usize>> {
        self.needed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Skip {
    fn takes(&self, failure: &Failure) -> bool {
        let name = failure.name.rsplit('/').next().unwrap_or_default();
        let named = match self.name.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == self.name,
        };
        let rest = failure.path.strip_prefix(&self.path);
        named
            && failure.kind == self.kind
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Skips;
    use crate::{World, judge};

    const PODS: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: ml, labels: {pod-security.kubernetes.io/enforce: baseline}}\n---\n\
        apiVersion: v1\nkind: Pod\nmetadata: {name: probe-1, namespace: ml}\nspec:\n  hostPID: true\n  volumes: [{name: a, hostPath: {path: /srv}}]\n  \
        containers: [{name: c, image: c}]\n";

    fn said(skips: &str) -> Vec<String> {
        let mut world =
            World { skips: Skips::parse(Path::new("skips.yaml"), skips).unwrap(), ..World::default() };
        world.take(Path::new("pods.yaml"), PODS);
        let failures = judge(&world).into_iter().chain(world.skips.stale());
        let of_pods = failures.filter(|failure| failure.kind == "Pod");
        of_pods
            .map(|failure| format!("{}:{}: {}", failure.file.display(), failure.line, failure.path))
            .collect()
    }

    #[test]
    fn what_is_recorded_is_left_out_and_what_nothing_needs_is_refused() {
        let (process, folder) = ("pods.yaml:9: spec.hostPID", "pods.yaml:10: spec.volumes[0].hostPath");
        assert_eq!(said("[]"), [process, folder]);
        assert_eq!(said("- {kind: Pod, name: probe-*, path: spec.volumes, why: w}\n"), [process]);
        assert_eq!(
            said(
                "# two\n- {kind: Pod, name: probe-1, path: spec.hostPID, why: w}\n- {kind: Pod, name: probe-1, path: spec.hostIPC, why: w}\n"
            ),
            [folder, "skips.yaml:3: spec.hostIPC"]
        );
        for wrong in [
            "- {kind: Pod, name: a, path: spec}\n",
            "- {kind: Pod, name: a, path: b, why: w, rule: x}\n",
            "a: b\n",
        ] {
            assert!(Skips::parse(Path::new("skips.yaml"), wrong).is_err(), "{wrong}");
        }
    }
}
