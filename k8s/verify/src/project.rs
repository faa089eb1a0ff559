//! The project's own deployments: the checkout enters, what is wrong in any environment leaves. The chart is linted and rendered by
//! both Helms, the overlays are built, the objects of each are judged as one world, and held against each other ([`drift`]) and
//! against what was looked at before ([`golden`]).

mod argo;
mod drift;
mod golden;
pub mod render;
mod rule_tests;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::failure::Failure;
use crate::outsiders::Outsiders;
use crate::skips::Skips;
use crate::world::World;
use crate::{judge, read};

/// The release that all environments are rendered as.
const RELEASE: &str = "forebay";

/// A checkout and what is done with it.
pub struct Project<'a> {
    /// Its root.
    pub root: &'a Path,
    /// Where renders are kept, to be looked at.
    pub renders: PathBuf,
    /// Schemas and programs.
    pub base: &'a World,
    /// Whether renders become what they are compared with.
    pub write_golden: bool,
}

impl Project<'_> {
    /// Everything that is wrong.
    ///
    /// # Errors
    /// A program is missing, or a file can't be read or written.
    pub fn judge(&self) -> Result<Vec<Failure>> {
        let skips = self.root.join("k8s/skips.yaml");
        let skips = if skips.is_file() { Skips::read(&skips)? } else { Skips::default() };
        let base = World { skips, ..self.base.clone() };
        let mut failures = Project { base: &base, renders: self.renders.clone(), ..*self }.all()?;
        failures.extend(base.skips.stale());
        failures.sort();
        failures.dedup();
        Ok(failures)
    }

    fn all(&self) -> Result<Vec<Failure>> {
        let chart = self.root.join("k8s/charts").join(RELEASE);
        let (mut failures, mut outsiders) = (Vec::new(), Outsiders::default());
        let declared = self.root.join("k8s/outsiders.yaml");
        if declared.is_file() {
            outsiders = Outsiders::read(&declared)?;
        }
        fs::create_dir_all(&self.renders)
            .with_context(|| format!("can't make {}", self.renders.display()))?;
        let listed = self.root.join("k8s/drift.yaml");
        let drift = if listed.is_file() { drift::List::read(&listed)? } else { drift::List::default() };
        let promtool = self.base.tools.promtool.as_deref();
        let rule_tests =
            promtool.map(|promtool| rule_tests::begin(self.root, promtool)).transpose()?.flatten();
        for environment in environments(&chart)? {
            self.environment(&chart, &environment, &outsiders, &drift, &mut failures)?;
        }
        failures.extend(drift.stale(&listed));
        argo::check(self, &outsiders, &mut failures)?;
        self.plain("k8s/secrets", &outsiders, &mut failures)?;
        if let Some(rule_tests) = rule_tests {
            rule_tests.end(&mut failures)?;
        }
        Ok(failures)
    }

    fn environment(
        &self,
        chart: &Path,
        name: &str,
        outsiders: &Outsiders,
        drift: &drift::List,
        failures: &mut Vec<Failure>,
    ) -> Result<()> {
        let values = chart.join(format!("values-{name}.yaml"));
        let mut helms = Vec::new();
        for (version, program) in [("3", &self.base.tools.helm3), ("4", &self.base.tools.helm4)] {
            let Some(program) = program else { continue };
            match render::helm(program, chart, &[&values], RELEASE, &format!("{RELEASE}-{name}")) {
                Ok(text) => helms.push((version, text)),
                Err(said) => {
                    failures.push(failed(&values, &format!("Helm {version} refuses the chart: {said}")));
                }
            }
        }
        let mut both = Vec::new();
        if let Some((_, text)) = helms.last() {
            if let [(_, three), (_, four)] = helms.as_slice() {
                Self::agree(&values, three, four, failures);
            }
            golden::compare(self, &format!("helm-{name}.yaml"), text, failures)?;
            both.push(self.render(&format!("helm-{name}.yaml"), text, outsiders, failures)?);
        }
        let overlay = self.root.join("k8s/overlays").join(name);
        if let Some(kustomize) = self.base.tools.kustomize.as_ref().filter(|_| overlay.is_dir()) {
            match render::kustomize(kustomize, &overlay) {
                Ok(text) => {
                    both.push(self.render(&format!("kustomize-{name}.yaml"), &text, outsiders, failures)?);
                }
                Err(said) => {
                    failures.push(failed(&overlay, &format!("Kustomize refuses the overlay: {said}")));
                }
            }
        }
        if let [chart, overlay] = both.as_slice() {
            drift::compare(drift, chart, overlay, failures);
        }
        Ok(())
    }

    /// Keeps a render, and judges it.
    fn render(
        &self,
        name: &str,
        text: &str,
        outsiders: &Outsiders,
        failures: &mut Vec<Failure>,
    ) -> Result<World> {
        let file = self.renders.join(name);
        fs::write(&file, text).with_context(|| format!("can't write {}", file.display()))?;
        let mut world = World { outsiders: outsiders.clone(), ..self.base.clone() };
        world.take(&file, text);
        failures.extend(judge(&world));
        Ok(world)
    }

    /// Both Helms give the same objects.
    fn agree(values: &Path, three: &str, four: &str, failures: &mut Vec<Failure>) {
        let objects = |text: &str| {
            let mut all: Vec<String> =
                read::documents(text).0.iter().map(|one| one.value.to_string()).collect();
            all.sort();
            all
        };
        if objects(three) != objects(four) {
            failures.push(failed(values, "Helm 3 and Helm 4 render different objects"));
        }
    }

    /// Manifests that are applied as they are.
    fn plain(&self, folder: &str, outsiders: &Outsiders, failures: &mut Vec<Failure>) -> Result<()> {
        let folder = self.root.join(folder);
        if !folder.is_dir() {
            return Ok(());
        }
        let mut world = World { outsiders: outsiders.clone(), ..self.base.clone() };
        let own = folder.join("outsiders.yaml");
        if own.is_file() {
            world.outsiders.list.extend(Outsiders::read(&own)?.list);
        }
        world.read(&folder)?;
        // Beside manifests there are values, policies, patches, and what Kustomize takes them by.
        world.objects.retain(|object| {
            !object.kind.is_empty()
                && !object.api_version.is_empty()
                && object.group() != "kustomize.config.k8s.io"
        });
        failures.extend(judge(&world));
        Ok(())
    }
}

/// Names of environments: those of the chart's files of values.
fn environments(chart: &Path) -> Result<Vec<String>> {
    let listed = fs::read_dir(chart).with_context(|| format!("there is no chart in {}", chart.display()))?;
    let mut names = Vec::new();
    for entry in listed {
        let file = entry?.file_name();
        let name = file.to_str().and_then(|name| name.strip_prefix("values-")?.strip_suffix(".yaml"));
        names.extend(name.map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

fn failed(file: &Path, wrong: &str) -> Failure {
    let right = "what is said there, mended".to_owned();
    let (kind, name, path) = (String::new(), String::new(), String::new());
    Failure { file: file.to_owned(), line: 1, kind, name, path, wrong: wrong.to_owned(), right }
}
