//! The whole cycle, counted: no backend, while hits are served; a miss that waits and is answered; load, for which there are three; then
//! none again. Who scales enters: KEDA, an HPA, or the gate and a person. That no request was lost or answered wrongly, that each cycle
//! was one wake, and how long each step took, leave.

mod client;
mod failures;
mod hits;
mod keda;
mod prometheus;
mod replicas;
mod scene;
mod service;
mod took;

use std::time::Duration;

use anyhow::Result;

use super::bed::Bed;
use client::inside;
use scene::Scene;
use service::Service;

/// How long a step may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(4);

/// KEDA scales, from none on.
const KEDA: &str = "--set scaling.mode=keda --set scaling.min=0 --set gate.hold.scaler=true";

/// Who says how many backends there are.
struct Scaler {
    settings: &'static str,
    /// A person says three, and none.
    up_by_hand: bool,
    down_by_hand: bool,
    /// An autoscaler of the chart's, which takes one away each five seconds and not each minute: the test waits for it.
    hpa: bool,
}

/// # Errors
/// A request is lost or answered wrongly, or a cycle is not one wake.
pub(super) fn keda(bed: &Bed<'_>) -> Result<String> {
    let version = keda::start(bed)?;
    let scaler = Scaler { settings: KEDA, up_by_hand: false, down_by_hand: false, hpa: false };
    let found = cycled(bed, &scaler)?;
    keda::stop(bed)?;
    Ok(format!("KEDA {version}: {found}"))
}

/// # Errors
/// As [`keda`].
pub(super) fn gate_wakes(bed: &Bed<'_>) -> Result<String> {
    let settings = "--set gate.hold.wake=scale";
    cycled(bed, &Scaler { settings, up_by_hand: true, down_by_hand: true, hpa: false })
}

/// # Errors
/// As [`keda`].
pub(super) fn hpa(bed: &Bed<'_>) -> Result<String> {
    let settings = "--set scaling.mode=hpa --set scaling.metrics=gate --set scaling.min=0";
    cycled(bed, &Scaler { settings, up_by_hand: false, down_by_hand: false, hpa: true })
}

/// # Errors
/// As [`keda`].
pub(super) fn hpa_from_one(bed: &Bed<'_>) -> Result<String> {
    let settings =
        "--set scaling.mode=hpa --set scaling.metrics=gate --set scaling.min=1 --set gate.hold.wake=scale";
    cycled(bed, &Scaler { settings, up_by_hand: false, down_by_hand: true, hpa: true })
}

/// # Errors
/// As [`keda`], or a figure is not what gates and backends count.
pub(super) fn hpa_by_prometheus(bed: &Bed<'_>) -> Result<String> {
    let versions = prometheus::prepare(bed)?;
    let scaler = Scaler { settings: prometheus::SETTINGS, up_by_hand: false, down_by_hand: false, hpa: true };
    inside(bed, || {
        let service = Service::install(bed, scaler.settings)?;
        prometheus::start(&service)?;
        let figures = prometheus::figures(&service)?;
        let found = through(&service, &scaler)?;
        prometheus::stop(bed)?;
        service.remove()?;
        Ok(format!("{versions}: {figures}; {found}"))
    })
}

/// What is wrong when others than backends come and go.
///
/// # Errors
/// A request is lost that need not be.
pub(super) fn failures(bed: &Bed<'_>) -> Result<String> {
    keda::start(bed)?;
    let found = inside(bed, || failures::all(bed))?;
    keda::stop(bed)?;
    Ok(found)
}

/// Installs a service, takes it through its cycles, and takes it away.
fn cycled(bed: &Bed<'_>, scaler: &Scaler) -> Result<String> {
    inside(bed, || {
        let service = Service::install(bed, scaler.settings)?;
        let found = through(&service, scaler)?;
        service.remove()?;
        Ok(found)
    })
}

/// Takes a service through its cycles.
fn through(service: &Service<'_>, scaler: &Scaler) -> Result<String> {
    if scaler.hpa {
        service.hasten()?;
    }
    Scene::start(service, scaler)?.run()
}
