//! `forebay cache purge`: a number is raised, and then it is waited until everybody knows it, or who is silent has nothing any more.

use std::time::{Duration, Instant};

use forebay_protocol::gate::PURGE_PATH;
use humantime::format_duration;

use super::{Gate, GateError};
use crate::gate::spoken::{Lags, Purge, Purged};
use crate::settings::PurgeSettings;

/// How often it is asked who doesn't know it yet.
const ASKED_AGAIN: Duration = Duration::from_millis(25);
/// Who is waited for is said after so long.
const SAID: Duration = Duration::from_secs(1);

pub(super) async fn purge(settings: &PurgeSettings) -> Result<(), GateError> {
    let mut gate = Gate::open(&settings.gate, Vec::new()).await?;
    let purge = Purge {
        service: settings.service.clone(),
        model: settings.model.clone().unwrap_or_default(),
        tenant: settings.tenant.clone().unwrap_or_default(),
        digest: settings.digest,
    };
    let began = Instant::now();
    let purged: Purged = gate.post(PURGE_PATH, &purge).await?;
    println!("{} purged: number {}{}", what(&purge), purged.number, copies(&purged));
    let path = format!("{PURGE_PATH}?epoch={}&number={}", purged.epoch, purged.number);
    if settings.no_wait {
        match gate.get::<Lags>(&path).await?.lags {
            None => println!("everybody knows it"),
            Some(one) => println!("not waited for: {one} may still have what was purged"),
        }
        return Ok(());
    }
    let mut said = String::new();
    while let Some(one) = gate.get::<Lags>(&path).await?.lags {
        if began.elapsed() >= SAID && said != one {
            eprintln!("waiting for {one}");
            said = one;
        }
        tokio::time::sleep(ASKED_AGAIN).await;
    }
    let took = Duration::from_millis(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    println!("known to every gate, proxy and server after {}", format_duration(took));
    Ok(())
}

fn what(purge: &Purge) -> String {
    let Purge { service, model, tenant, digest } = purge;
    if let Some(digest) = digest {
        return format!("request {digest}");
    }
    let model = if model.is_empty() { String::new() } else { format!(", model {model}") };
    let tenant = if tenant.is_empty() { String::new() } else { format!(", tenant {tenant}") };
    format!("service {service}{model}{tenant}")
}

fn copies(purged: &Purged) -> String {
    match (purged.copies, purged.of) {
        (_, 0) => String::new(),
        (copies, of) => format!(", {copies} of {of} copies of the pool have it"),
    }
}
