//! A miss, a hit, and a hit of what another proxy's client asked, through a sidecar and through the gateway.

use anyhow::{Context, Result, ensure};

use super::ask::{Client, ENCODINGS, GRPC, moment};
use super::mesh::{Mesh, PATIENCE};
use super::proxy::Proxy;
use crate::cluster::await_it::until;

/// # Errors
/// A request is not answered, or not from where it should be.
pub(super) fn all(mesh: &Mesh<'_>) -> Result<String> {
    let (client, outside) = (mesh.client("client")?, mesh.outside()?);
    // What was asked in one encoding is an answer to others too.
    let across = [("json", GRPC), (GRPC, "binary")];
    for encodings in ENCODINGS.map(|encoding| (encoding, encoding)).into_iter().chain(across) {
        shared(encodings, &client, &outside)?;
        shared(encodings, &outside, &client)?;
    }
    for proxy in mesh.filtered()? {
        meet(&proxy)?;
    }
    Ok(format!(
        "{}: a miss, a hit, and a hit by the other proxy's, both ways, and of what was asked in another encoding; equal misses meet",
        ENCODINGS.join(", ")
    ))
}

/// Both clusters of the backends choose by a hash, with bounds.
fn meet(proxy: &Proxy<'_>) -> Result<()> {
    for port in [8000, 8001] {
        let told = proxy.admin(&format!(
            "config_dump?resource=dynamic_active_clusters&name_regex=outbound.{port}.*backends.forebay.internal"
        ))?;
        for needed in ["RING_HASH", "hash_balance_factor"] {
            ensure!(
                told.contains(needed),
                "{}: no {needed} in the cluster of port {port}: {told}",
                proxy.pod
            );
        }
    }
    Ok(())
}

/// What one asks the other one's proxy has from the pool. A lookup that is late on a busy machine is a miss: then it is tried with another
/// request.
fn shared((asked, again): (&str, &str), first: &Client<'_>, second: &Client<'_>) -> Result<()> {
    let mut last = String::new();
    let found = until("the other proxy answers from the pool", PATIENCE, || {
        let once = || -> Result<String> {
            let seed = moment()?;
            let miss = first.ask(asked, seed, &[])?.well()?;
            ensure!(miss.contains("forebay; fwd=miss"), "the first answer is no miss: {miss}");
            first.until_hit(asked, seed)?;
            second.ask(again, seed, &[])?.well()
        };
        last = once().unwrap_or_else(|error| format!("{error:#}"));
        (last.contains("forebay; hit") && last.contains("detail=l2")).then_some(())
    });
    found.with_context(|| format!("{again} after {asked}, {} after {}: {last}", second.name, first.name))
}
