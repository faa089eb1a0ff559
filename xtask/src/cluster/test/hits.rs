//! A client asks in each encoding: nothing is there, then it is computed, then the cache alone answers the same.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};

use super::bed::{Bed, MODEL, RELEASE};
use crate::cluster::await_it::until;

/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// # Errors
/// The cache has what nobody asked for, lacks what was computed, or answers something else.
pub(super) fn each_encoding(bed: &Bed<'_>) -> Result<String> {
    let mut found = Vec::new();
    // Of this moment: what an earlier one asked is kept.
    let moment = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
    for (seed, encoding) in (moment..).zip(["json", "binary", "grpc"]) {
        let asked = Asked { bed, encoding, seed, address: bed.service("front")? };
        ensure!(asked.send(true)?.is_none(), "{encoding}: the cache alone answers what nobody has asked");
        let miss = asked.send(false)?.with_context(|| format!("{encoding}: no answer"))?;
        // What is answered is written to the pool after it, and a lookup that takes too long on a busy machine is a miss.
        let hit = until(&format!("{encoding}: the cache has what was answered"), PATIENCE, || {
            asked.send(true).transpose()
        })??;
        ensure!(miss == hit, "{encoding}: the hit is {hit}, the answer was {miss}");
        found.push(encoding);
    }
    Ok(format!("{} by {RELEASE}-front", found.join(", ")))
}

struct Asked<'a> {
    bed: &'a Bed<'a>,
    encoding: &'static str,
    /// Of its own inputs: a hit across encodings is none of this one.
    seed: u128,
    address: String,
}

impl Asked<'_> {
    /// The answer; none if the cache alone may answer and can't.
    fn send(&self, from_cache: bool) -> Result<Option<String>> {
        let address = &self.address;
        let mut client = self.bed.client()?;
        client.args([
            "infer",
            MODEL,
            "--json",
            "--encoding",
            self.encoding,
            "--seed",
            &self.seed.to_string(),
        ]);
        client.args([
            "--url",
            &format!("http://{address}:8080"),
            "--grpc-url",
            &format!("grpc://{address}:8080"),
        ]);
        if from_cache {
            client.args(["--header", "cache-control: only-if-cached"]);
        }
        let done = client.output().context("can't run forebay")?;
        let said = String::from_utf8_lossy(&done.stderr);
        match (done.status.success(), from_cache) {
            (true, _) => Ok(Some(String::from_utf8_lossy(&done.stdout).into_owned())),
            (false, true)
                if said.contains("504")
                    || said.contains("UNAVAILABLE")
                    || said.contains("only-if-cached") =>
            {
                Ok(None)
            }
            (false, _) => bail!("{}: {}", self.encoding, said.trim()),
        }
    }
}
