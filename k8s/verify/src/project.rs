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
const KUSTOMIZATION: &str = "kustomization.yaml";

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
        let environments = environments(&chart)?;
        for name in &environments {
            let values = vec![chart.join(format!("values-{name}.yaml"))];
            let overlay = self.root.join("k8s/overlays").join(name);
            let releases = vec![Release { name: RELEASE.to_owned(), values, overlay }];
            let deployment = Deployment { name, releases, namespace: name, plain: "" };
            self.deployment(&chart, &deployment, &outsiders, &drift, &mut failures)?;
        }
        for option in options(self.root)? {
            let folder = self.root.join("k8s/options").join(&option);
            let Some(on) = stands_on(&folder)?.filter(|on| environments.contains(on)) else { continue };
            let releases = releases(&folder, &chart.join(format!("values-{on}.yaml")))?;
            let deployment = Deployment { name: &option, releases, namespace: &on, plain: &on };
            self.deployment(&chart, &deployment, &outsiders, &drift, &mut failures)?;
        }
        failures.extend(drift.stale(&listed));
        argo::check(self, &outsiders, &mut failures)?;
        for folder in ["k8s/secrets", "k8s/kserve", "k8s/istio", "k8s/envoy-gateway"] {
            self.plain(folder, &outsiders, &mut failures)?;
        }
        if let Some(rule_tests) = rule_tests {
            rule_tests.end(&mut failures)?;
        }
        Ok(failures)
    }

    fn deployment(
        &self,
        chart: &Path,
        deployment: &Deployment<'_>,
        outsiders: &Outsiders,
        drift: &drift::List,
        failures: &mut Vec<Failure>,
    ) -> Result<()> {
        let Deployment { name, releases, .. } = deployment;
        let said = releases.first().and_then(|release| release.values.last()).map_or(chart, PathBuf::as_path);
        let mut helms = Vec::new();
        for (version, program) in [("3", &self.base.tools.helm3), ("4", &self.base.tools.helm4)] {
            let Some(program) = program else { continue };
            match deployment.rendered(program, chart) {
                Ok(text) => helms.push((version, text)),
                Err(refused) => {
                    failures.push(failed(said, &format!("Helm {version} refuses the chart: {refused}")));
                }
            }
        }
        let mut both = Vec::new();
        if let Some((_, text)) = helms.last() {
            if let [(_, three), (_, four)] = helms.as_slice() {
                Self::agree(said, three, four, failures);
            }
            let plain = fs::read_to_string(self.renders.join(format!("helm-{}.yaml", deployment.plain)));
            let looked_at = golden::beyond(text, &plain.unwrap_or_default());
            golden::compare(self, &format!("helm-{name}.yaml"), &looked_at, failures)?;
            both.push(self.render(&format!("helm-{name}.yaml"), text, outsiders, failures)?);
        }
        if let Some(kustomize) = self.base.tools.kustomize.as_ref().filter(|_| deployment.has_overlays()) {
            match deployment.built(kustomize) {
                Ok(text) => {
                    both.push(self.render(&format!("kustomize-{name}.yaml"), &text, outsiders, failures)?);
                }
                Err((overlay, said)) => {
                    failures.push(failed(overlay, &format!("Kustomize refuses the overlay: {said}")));
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
    /// A folder's manifests as one world, and each of its examples as one of its own, since they stand in each other's place.
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
        let examples = fs::read_dir(folder.join("examples")).into_iter().flatten().flatten();
        for path in examples.map(|example| example.path()).chain([folder.clone()]) {
            let mut world = world.clone();
            world.read(&path)?;
            // Beside manifests there are values, policies, patches, and what Kustomize takes them by.
            world.objects.retain(|object| {
                !object.kind.is_empty()
                    && !object.api_version.is_empty()
                    && object.group() != "kustomize.config.k8s.io"
            });
            failures.extend(judge(&world));
        }
        Ok(())
    }
}

/// An environment, or one with something more.
struct Deployment<'a> {
    name: &'a str,
    /// What is in its namespace: one, or others beside it.
    releases: Vec<Release>,
    /// At the end of the namespace's name.
    namespace: &'a str,
    /// The environment that it has more than; nobody has to look at the rest again.
    plain: &'a str,
}

/// The chart with values, and the overlay that is the same.
struct Release {
    name: String,
    values: Vec<PathBuf>,
    overlay: PathBuf,
}

impl Deployment<'_> {
    /// What a Helm makes of it.
    fn rendered(&self, helm: &Path, chart: &Path) -> Result<String, String> {
        let namespace = format!("{RELEASE}-{}", self.namespace);
        let rendered = |release: &Release| {
            let values: Vec<&Path> = release.values.iter().map(PathBuf::as_path).collect();
            render::helm(helm, chart, &values, &release.name, &namespace)
        };
        self.releases.iter().map(rendered).collect()
    }

    /// Options may have values alone.
    fn has_overlays(&self) -> bool {
        self.releases.iter().any(|release| release.overlay.join(KUSTOMIZATION).exists())
    }

    /// What Kustomize makes of it, or the overlay that it refuses, and why.
    fn built(&self, kustomize: &Path) -> Result<String, (&Path, String)> {
        let overlays = self.releases.iter().map(|release| release.overlay.as_path());
        let built =
            overlays.map(|overlay| render::kustomize(kustomize, overlay).map_err(|said| (overlay, said)));
        Ok(built.collect::<Result<Vec<_>, _>>()?.join("---\n"))
    }
}

/// Names of what is off until it is wanted: folders with values for the chart and an overlay, each on top of one environment.
fn options(root: &Path) -> Result<Vec<String>> {
    let folder = root.join("k8s/options");
    if folder.is_dir() { folders(&folder) } else { Ok(Vec::new()) }
}

/// What an option is of: the release of all environments, and one of the same environment by the name of each folder in it.
fn releases(option: &Path, environment: &Path) -> Result<Vec<Release>> {
    let release = |name: &str, folder: &Path| Release {
        name: name.to_owned(),
        values: vec![environment.to_owned(), folder.join("values.yaml")],
        overlay: folder.to_owned(),
    };
    let others = folders(option)?;
    let others = others.iter().map(|name| release(name, &option.join(name)));
    Ok(std::iter::once(release(RELEASE, option)).chain(others).collect())
}

fn folders(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("can't read {}", folder.display()))? {
        let entry = entry?;
        names.extend(entry.path().is_dir().then(|| entry.file_name().to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Where an option is tried that has values alone.
const WITHOUT_OVERLAY: &str = "stage";

/// The environment that an option's overlay is on top of.
fn stands_on(option: &Path) -> Result<Option<String>> {
    let file = option.join(KUSTOMIZATION);
    if !file.exists() {
        return Ok(Some(WITHOUT_OVERLAY.to_owned()));
    }
    let text = fs::read_to_string(&file).with_context(|| format!("can't read {}", file.display()))?;
    let documents = read::documents(&text).0;
    let resources = documents.first().and_then(|one| one.value.get("resources")?.as_array());
    let mut overlays =
        resources.into_iter().flatten().filter_map(|one| one.as_str()?.strip_prefix("../../overlays/"));
    Ok(overlays.next().map(str::to_owned))
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
