//! What nobody planned, under load: the pool moves, a backend runs out of memory, a node is gone.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bed::{Bed, RELEASE};
use super::install::have_two;
use super::load::{Sent, none_failed, told, under_load};
use crate::cluster::await_it::until;
use crate::cluster::up::ready_nodes;

/// Redis is made anew elsewhere, empty and under another address.
///
/// # Errors
/// A request fails.
pub(super) fn pool(bed: &Bed<'_>) -> Result<String> {
    let address = |bed: &Bed<'_>| -> Result<String> {
        let pods = bed.json(
            "get pods --selector app.kubernetes.io/component=redis --field-selector status.phase=Running",
        )?;
        Ok(pods["items"][0]["status"]["podIP"].as_str().context("Redis has no address")?.to_owned())
    };
    have_two(bed)?;
    let (addresses, sent) = under_load(bed, || {
        let before = address(bed)?;
        bed.run("delete pods --selector app.kubernetes.io/component=redis --wait")?;
        bed.run(&format!("rollout status deployment/{RELEASE}-redis --timeout=120s"))?;
        // Kept results are answers of the pool: all is well again when a hit is one.
        until("the pool answers again", Duration::from_mins(1), || super::hits::each_encoding(bed).ok())?;
        Ok((before, address(bed)?))
    })?;
    ensure!(addresses.0 != addresses.1, "Redis came back under the same address, {}", addresses.0);
    Ok(format!("{} -> {}; {}", addresses.0, addresses.1, none_failed(&sent)?))
}

/// One backend is killed by the kernel, as it is when it passes its limit.
///
/// # Errors
/// More fails than one process held.
pub(super) fn memory(bed: &Bed<'_>) -> Result<String> {
    have_two(bed)?;
    let (victim, sent) = under_load(bed, || {
        let (victim, _) = bed.pods("backend")?.into_iter().next().context("no backend")?;
        let filling = bed.fill_memory(&victim)?;
        until("it is killed", Duration::from_mins(1), || {
            let pod = bed.json(&format!("get pod {victim}")).ok()?;
            let status = &pod["status"]["containerStatuses"][0];
            let ends = [&status["lastState"], &status["state"]];
            ends.iter().any(|end| end["terminated"]["reason"] == "OOMKilled").then_some(())
        })?;
        drop(filling);
        bed.run(&format!("wait --for condition=Ready pod/{victim} --timeout=120s"))?;
        Ok(victim)
    })?;
    let lost = failed(&sent);
    // Of the connections of both clients those that it answered at that moment.
    ensure!(lost <= 12, "{lost} requests are more than one backend held: {}", told(&sent));
    Ok(format!("{victim} killed and ready again; {}", told(&sent)))
}

/// A node's power is cut: no farewell, no packet.
///
/// # Errors
/// Requests go on failing when its addresses are out.
pub(super) fn node(bed: &Bed<'_>) -> Result<String> {
    let (starter, place) = bed.starter()?;
    super::install::two_of_each(bed)?;
    let (link, tools) = (format!("ip -n {} link set node-2", place.instance.control()), &place.parts.tools);
    have_two(bed)?;
    let ((), sent) = under_load(bed, || {
        // The kernel's end of a lost node's connections would still say goodbye.
        tools.run(&format!("{link} down"))?;
        bed.end_node(2)?;
        until("it is missed", Duration::from_mins(1), || ready_nodes(&bed.kube).filter(|ready| *ready == 1))?;
        for component in ["backend", "gate", "front"] {
            until("its pods are made elsewhere", Duration::from_mins(3), || {
                let ready = bed.json(&format!("get deployment {RELEASE}-{component}")).ok()?["status"]["readyReplicas"].as_u64();
                (ready == Some(2)).then_some(())
            })?;
        }
        Ok(())
    })?;
    let (_, after) = under_load(bed, || {
        tools.run(&format!("{link} up"))?;
        starter.node(2, place.addresses)?;
        until("it is back", Duration::from_mins(2), || ready_nodes(&bed.kube).filter(|ready| *ready == 2))
    })?;
    let lost = failed(&sent);
    ensure!(
        sent.iter().all(|(_, sent)| sent.answered > 300),
        "hardly anything was answered: {}",
        told(&sent)
    );
    ensure!(lost <= 40, "{lost} requests are more than a node held: {}", told(&sent));
    Ok(format!("{}; while it came back: {}", told(&sent), none_failed(&after)?))
}

fn failed(sent: &[(&'static str, Sent)]) -> u64 {
    sent.iter().flat_map(|(_, sent)| sent.failed.values()).sum()
}
