//! `cargo xtask cluster test`: a cluster enters; for each claim about Forebay in it one line, and a report, leave.
//!
//! The checks follow each other on one release, as an operator's day does: install, ask, update, drain, lose. One that fails does not
//! keep the next from being run.

mod argo_cd;
mod bed;
mod cycles;
mod dry_run;
mod environments;
mod external_metrics;
mod hits;
mod images;
mod install;
mod istio;
mod kserve;
mod lighter;
mod load;
mod lost;
mod planted;
mod rehearsal;
mod report;
mod rollout;
mod sealed;
mod security;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rig::group::Interrupted;

use super::await_it;
use super::instance::Instance;
use super::up::Parts;
use super::{down, machine, up};
use crate::layout::Layout;
use crate::setup::{self, Part};
use bed::{Bed, RELEASE};

/// Settings of `cargo xtask cluster test`.
#[derive(Debug, Args)]
pub(super) struct Settings {
    /// Kubernetes and its DNS alone: chart, hits, updates, drain, dry run. Where the machine can't, one line says so and all is well
    #[arg(long)]
    core: bool,
    /// Run these checks only (and those that they stand on), by parts of their names
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Name of the cluster
    #[arg(long, default_value = "test")]
    name: String,
    /// A cluster of your own, as of kind or k3d, in place of one made here; what needs nodes of ours is not run
    #[arg(long, value_name = "FILE", requires = "registry")]
    kubeconfig: Option<PathBuf>,
    /// Registry that a cluster of your own pulls from: the images are sent there
    #[arg(long, value_name = "HOST/PATH", requires = "kubeconfig")]
    registry: Option<String>,
    /// That registry speaks HTTP without TLS
    #[arg(long, requires = "kubeconfig")]
    plain_http: bool,
    /// Archives of the images, as `cargo xtask images` writes them [default: they are made]
    #[arg(long, value_name = "FOLDER", requires = "forebay")]
    images: Option<PathBuf>,
    /// The `forebay` in them, which sends the load
    #[arg(long, value_name = "PROGRAM", requires = "images")]
    forebay: Option<PathBuf>,
    /// Each rehearsal of a killed release ends after so long: helm's own notes come first, then objects; the report says how many
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    rehearse_for: Option<Duration>,
    /// Leave the cluster running, for a look at it
    #[arg(long)]
    keep: bool,
    /// File for the report [default: none]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// A claim, and what shows it.
struct Check {
    claim: &'static str,
    /// Part of `--core`?
    core: bool,
    /// Does it need nodes or a network that are ours?
    ours: bool,
    /// What it found, in a few words.
    run: fn(&Bed<'_>) -> Result<String>,
}

impl Check {
    /// One that any cluster can be held to.
    const fn anywhere(claim: &'static str, run: fn(&Bed<'_>) -> Result<String>) -> Self {
        Self { claim, core: true, ours: false, run }
    }

    /// One that needs nodes or a network of ours.
    const fn here(claim: &'static str, run: fn(&Bed<'_>) -> Result<String>) -> Self {
        Self { claim, core: true, ours: true, run }
    }

    /// The same, and longer than `--core` has time for.
    const fn longer(self) -> Self {
        Self { core: false, ..self }
    }

    /// As [`Self::here`], and longer than `--core` has time for.
    const fn long(claim: &'static str, run: fn(&Bed<'_>) -> Result<String>) -> Self {
        Self { claim, core: false, ours: true, run }
    }
}

/// In the order in which they are run.
const CHECKS: &[Check] = &[
    Check::anywhere("the chart installs where pod security is restricted", install::dev),
    Check::anywhere("helm test passes", install::helm_test),
    Check::here("each encoding: a miss, then a hit", hits::each_encoding),
    Check::anywhere("what is not restricted is refused there", security::restricted),
    Check::anywhere("every object of every environment passes the server's dry run", dry_run::all),
    Check::anywhere("of planted mistakes verify refuses what the server refuses", planted::all).longer(),
    Check::here("two of each, spread over the nodes", install::two_of_each),
    Check::here("a new backend under load: no request fails", rollout::backend),
    Check::here("a new gate under load: no request fails", rollout::gate),
    Check::here("a new front under load: no request fails", rollout::front),
    Check::here("a node is drained under load: no request fails", rollout::drain),
    Check::long("the pool comes back under another address: no request fails", lost::pool),
    Check::long("a backend out of memory: what it held is lost, and nothing else", lost::memory),
    Check::long("a node is lost: what it held is lost, and then nothing", lost::node),
    Check::long("a SealedSecret is opened by the real controller, where it was sealed for", sealed::opened),
    Check::long(
        "a release is killed before and after each write of an install: one command mends it",
        rehearsal::install,
    ),
    Check::long(
        "a release is killed before and after each write of an upgrade: one command mends it, no request fails",
        rehearsal::upgrade,
    ),
    Check::long(
        "a release is killed before and after each write of a way back: one command mends it, no request fails",
        rehearsal::back,
    ),
    Check::long("a Job makes a model lighter, and the backend takes it by itself", lighter::job),
    Check::long(
        "the gate gives External metrics: the API server hands them on, the HPA goes by them, one in a cluster gives them",
        external_metrics::all,
    ),
    Check::long(
        "by KEDA: from no backend to three and back, five times, each one wake, no request lost or answered wrongly",
        cycles::keda,
    ),
    Check::long(
        "by the gate's own Role: from no backend to one, five times, each one wake, no request lost or answered wrongly",
        cycles::gate_wakes,
    ),
    Check::long(
        "KEDA is gone, a gate is killed, Prometheus is down, a node is lost at zero: what a gate held is lost with it, and nothing else",
        cycles::failures,
    ),
    Check::long(
        "by an HPA to zero, as the gate tells it: from no backend to three and back, five times, each one wake, no request lost or answered wrongly",
        cycles::hpa,
    ),
    Check::long(
        "by the gate's own Role and an HPA from one on: from no backend to three and back, five times, each one wake, no request lost or answered wrongly",
        cycles::hpa_from_one,
    ),
    Check::long(
        "by an HPA to zero, as prometheus-adapter tells it by our rules: each figure is what gates and backends count; from no backend to three and back, five times, each one wake, no request lost or answered wrongly",
        cycles::hpa_by_prometheus,
    ),
    Check::long("stage and prod install, with TLS everywhere, and pass helm test", environments::all),
    Check::long(
        "KServe's controller takes runtimes and InferenceServices as they are, and makes of each what its page says",
        kserve::made,
    ),
    Check::long(
        "under KServe a model answers over V2 HTTP and grpc-v2 by its InferenceService's name",
        kserve::asked,
    ),
    Check::long(
        "a canary under KServe has pods and a Service of its own; each answers with its own version",
        kserve::canary,
    ),
    Check::long(
        "a service of class external stays at zero under KServe until somebody scales it",
        kserve::at_zero,
    ),
    Check::long(
        "the chart's InferenceService: KServe makes the backends, at zero hits go on, and a miss waits for the one that the gate wakes",
        kserve::woken,
    ),
    Check::long(
        "Argo CD's App-of-Apps is Synced and Healthy for Helm and for Kustomize, a promotion and a revert",
        argo_cd::all,
    ),
    Check::long(
        "Istio comes up with its own istiod, and every proxy takes what k8s/istio says",
        istio::comes_up,
    ),
    Check::long("Istio's own analysis finds nothing but what the page explains", istio::analyzed),
    Check::long("Istio: a miss, a hit and another proxy's hit, by sidecar and gateway", istio::caching),
    Check::long("Istio: nobody is answered who is not named, with a certificate", istio::strict),
    Check::long("Istio: the gate stands in while no backend is there, and no longer", istio::failover),
    Check::long("Istio: with no registry a fresh proxy passes all requests", istio::registry_away),
    Check::long("Istio: with a wrong digest a proxy that runs passes all requests", istio::wrong_digest),
    Check::long("Istio: after wrong settings a new policy is enforced", istio::wrong_settings),
    Check::long("Istio: a body of 3 MB is held and answered", istio::large_body),
    Check::long("Istio: a filter that traps costs the request at which it does", istio::trap),
    Check::long("Istio: a tenth to a canary, whose answers go with it", istio::canary),
    Check::long("Istio: a model's requests go to backends of its own", istio::on_demand),
    Check::long("Istio: before the backends each principal is a tenant", istio::inbound),
    Check::long("Istio: by TrafficExtension a hit, and without a buffer no harm", istio::extension),
    Check::long("Istio: the module is replaced under load: no request fails", istio::hot_update),
];

/// Runs `cargo xtask cluster test`.
///
/// # Errors
/// A check fails, or the cluster can't be had.
pub(super) fn run(layout: &Layout, settings: &Settings) -> Result<()> {
    if settings.kubeconfig.is_none()
        && let Some(missing) = machine::missing()
    {
        if settings.core {
            println!("cluster test: not run, for this machine lacks {missing}");
            return Ok(());
        }
        bail!("a cluster needs {missing}");
    }
    let since = Instant::now();
    setup::install(layout, &[Part::Helm4])?;
    // A cluster of one's own needs nothing of what one of ours is made of.
    let parts = if settings.kubeconfig.is_none() { Some(Parts::get(layout)?) } else { None };
    let images = images::Images::get(layout, settings)?;
    await_it::hear()?;
    let instance = Instance::new(layout, &settings.name)?;
    let outcome = checked(layout, settings, &instance, parts.as_ref(), &images, since);
    let Some(parts) = parts else {
        println!("left as it is: `helm uninstall {RELEASE} --namespace {RELEASE}` takes the release away");
        return outcome;
    };
    if settings.keep {
        println!("left as it is: `cargo xtask cluster down --name {}` ends it", settings.name);
        return outcome;
    }
    await_it::forget();
    outcome.and(down::run(&instance, &parts.tools))
}

fn checked(
    layout: &Layout,
    settings: &Settings,
    instance: &Instance,
    parts: Option<&Parts>,
    images: &images::Images,
    since: Instant,
) -> Result<()> {
    let bed = if let Some(own) = &settings.kubeconfig {
        let registry = settings.registry.as_deref().context("--registry says where images are sent")?;
        images.send(layout, registry, settings.plain_http)?;
        Bed::theirs(layout, own, images, registry)
    } else {
        let parts = parts.context("a cluster of ours has parts")?;
        let kube = up::run(layout, instance, parts)?;
        images.load(instance, &parts.tools)?;
        Bed::ours(layout, parts, kube, instance, images)?
    };
    let bed = bed.rehearsing(settings.rehearse_for);
    let mut lines = Vec::new();
    for check in CHECKS {
        if !wanted(check, settings) {
            continue;
        }
        if check.ours && settings.kubeconfig.is_some() {
            println!("not run           {}: it needs nodes of ours", check.claim);
            continue;
        }
        let began = Instant::now();
        let found = (check.run)(&bed);
        if let Err(error) = &found
            && (Interrupted::is(error) || await_it::go_on().is_err())
        {
            bail!(Interrupted);
        }
        let line = report::Line::new(check.claim, &found, began.elapsed());
        println!("{line}");
        if found.is_err() {
            bed.tell_pods();
        }
        lines.push(line);
    }
    if let Some(file) = &settings.report {
        report::write(layout, file, &lines, since.elapsed())?;
    }
    let failed = lines.iter().filter(|line| !line.ok).count();
    println!("{} checks, {failed} failed, {:.0} s in all", lines.len(), since.elapsed().as_secs_f64());
    ensure!(failed == 0, "{failed} of {} checks failed", lines.len());
    Ok(())
}

fn wanted(check: &Check, settings: &Settings) -> bool {
    // All others stand on the first.
    let named = check.claim == CHECKS[0].claim
        || settings.only.iter().any(|part| check.claim.contains(part.as_str()));
    (check.core || !settings.core) && (settings.only.is_empty() || named)
}
