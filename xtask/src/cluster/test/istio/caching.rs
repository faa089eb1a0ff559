//! A miss, a hit, and a hit of what another proxy's client asked, through a sidecar and through the gateway.

use anyhow::{Context, Result, ensure};

use super::ask::{Client, ENCODINGS, GRPC, Told, moment};
use super::mesh::{Mesh, PATIENCE};
use crate::cluster::await_it::until;

/// # Errors
/// A request is not answered, or not from where it should be.
pub(super) fn all(mesh: &Mesh<'_>) -> Result<String> {
    let (client, outside) = (mesh.client("client")?, mesh.outside()?);
    for encoding in ENCODINGS {
        shared(encoding, &client, &outside)?;
        shared(encoding, &outside, &client)?;
    }
    for (first, second) in [(&client, &outside), (&outside, &client)] {
        over_grpc(first, second)?;
    }
    Ok(format!(
        "{}: a miss, a hit, and a hit by the other proxy's, both ways; gRPC: a miss, and hits of the backend, of what was asked in JSON too",
        ENCODINGS.join(", ")
    ))
}

/// The backend knows what was asked over gRPC, and what another client asked in another encoding.
fn over_grpc(first: &Client<'_>, second: &Client<'_>) -> Result<()> {
    let seed = moment()?;
    let miss = first.ask(GRPC, seed, &[])?;
    ensure!(!miss.is_hit() && !miss.is_hit_of_serve(), "the first answer is no miss: {miss:?}");
    miss.well()?;
    let what = "the backend answers from the pool";
    first.until_told(GRPC, seed, what, Told::is_hit_of_serve)?;
    second.ask("json", seed + 1, &[])?.well()?;
    first.until_told(GRPC, seed + 1, what, Told::is_hit_of_serve).map(drop)
}

/// What one asks the other one's proxy has from the pool. A lookup that is late on a busy machine is a miss: then it is tried with another
/// request.
fn shared(encoding: &str, first: &Client<'_>, second: &Client<'_>) -> Result<()> {
    let mut last = String::new();
    let found = until("the other proxy answers from the pool", PATIENCE, || {
        let once = || -> Result<String> {
            let seed = moment()?;
            let miss = first.ask(encoding, seed, &[])?.well()?;
            ensure!(miss.contains("forebay; fwd=miss"), "the first answer is no miss: {miss}");
            first.until_hit(encoding, seed)?;
            second.ask(encoding, seed, &[])?.well()
        };
        last = once().unwrap_or_else(|error| format!("{error:#}"));
        (last.contains("forebay; hit") && last.contains("detail=l2")).then_some(())
    });
    found.with_context(|| format!("{encoding}, {} after {}: {last}", second.name, first.name))
}
