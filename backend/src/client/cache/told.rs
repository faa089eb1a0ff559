//! `forebay cache stats` and `top`: what a gate knows, as text.

use std::fmt::Write as _;
use std::time::Duration;

use forebay_protocol::gate::STATS_PATH;
use humantime::format_duration;

use super::{Gate, GateError};
use crate::gate::spoken::{Saving, Stats};
use crate::settings::{AskedGate, StatsSettings, TopSettings};

async fn asked(gate: &AskedGate) -> Result<Stats, GateError> {
    Gate::open(gate, Vec::new()).await?.get(STATS_PATH).await
}

pub(super) async fn stats(settings: &StatsSettings) -> Result<String, GateError> {
    let stats = asked(&settings.gate).await?;
    if settings.json {
        return serde_json::to_string_pretty(&stats).map_err(|error| GateError::Strange(error.to_string()));
    }
    Ok(text(&stats))
}

fn text(stats: &Stats) -> String {
    let Stats { epoch, purged, proxies, behind, replicas, live, saved } = stats;
    let mut text = format!("epoch {epoch}, {proxies} proxies, {behind} of them with an older table\n");
    let last = if *purged == 0 { "nothing was purged".to_owned() } else { format!("last purge {purged}") };
    let hits: u64 = saved.iter().map(|saving| saving.hits).sum();
    let us: u64 = saved.iter().map(|saving| saving.saved_us).sum();
    let _ = writeln!(text, "{last}; {hits} hits of proxies reported here saved {}", compute(us));
    for (service, alive) in replicas {
        let _ = writeln!(text, "service {service}: {alive} servers alive");
    }
    let _ = write!(text, "{:<24} {:<24} {:>7}  generations", "service", "model", "version");
    for row in live {
        let generations: Vec<String> =
            row.generations.iter().map(|generation| generation.to_string()[..16].to_owned()).collect();
        let tenant = row.tenant.as_ref().map(|tenant| format!(" (tenant {tenant})")).unwrap_or_default();
        let (service, model, version) = (&row.service, &row.model, &row.version);
        let _ = write!(text, "\n{service:<24} {model:<24} {version:>7}  {}{tenant}", generations.join(" "));
    }
    text
}

pub(super) async fn top(settings: &TopSettings) -> Result<String, GateError> {
    let stats = asked(&settings.gate).await?;
    Ok(table(&stats.saved, settings.most))
}

fn table(saved: &[Saving], most: usize) -> String {
    let mut text = format!("{:<24} {:<24} {:>12} {:>14}", "service", "model", "hits", "saved");
    for Saving { service, model, hits, saved_us } in saved.iter().take(most) {
        let _ = write!(text, "\n{service:<24} {model:<24} {hits:>12} {:>14}", compute(*saved_us));
    }
    text
}

/// Compute time, to the millisecond.
fn compute(us: u64) -> String {
    format_duration(Duration::from_millis(us / 1000)).to_string()
}
