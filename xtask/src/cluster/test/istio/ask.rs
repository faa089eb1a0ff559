//! A client of the mesh: an encoding and a seed enter; what it is told, and what the caches say of it, leave.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::mesh::PATIENCE;
use crate::cluster::await_it::until;
use crate::cluster::test::bed::{Bed, MODEL};

/// Encodings that the filter has hits of.
pub(super) const ENCODINGS: [&str; 3] = ["json", "binary", GRPC];
/// The one of them that has a port of its own.
pub(super) const GRPC: &str = "grpc";

pub(super) struct Client<'a> {
    pub(super) bed: &'a Bed<'a>,
    /// Whose network it is in; of the first node's if it is nobody's.
    pub(super) pod: Option<&'static str>,
    pub(super) url: String,
    pub(super) grpc_url: String,
    /// The name that it asks for.
    pub(super) name: String,
}

/// What became of a request.
#[derive(Debug, Clone)]
pub(super) enum Told {
    /// It was answered: `Cache-Status`.
    Answered(String),
    /// It was not: why.
    Failed(String),
}

impl Told {
    /// What the caches said.
    ///
    /// # Errors
    /// It was not answered.
    pub(super) fn well(self) -> Result<String> {
        match self {
            Self::Answered(status) => Ok(status),
            Self::Failed(why) => anyhow::bail!(why),
        }
    }

    pub(super) fn is_hit(&self) -> bool {
        matches!(self, Self::Answered(status) if status.contains("forebay; hit"))
    }

    pub(super) fn says(&self, words: &str) -> bool {
        let (Self::Answered(text) | Self::Failed(text)) = self;
        text.contains(words)
    }
}

impl Client<'_> {
    /// `forebay` with those words, where the client is.
    ///
    /// # Errors
    /// Its pod does not run.
    pub(super) fn command(&self, words: &[&str]) -> Result<Command> {
        let mut client = match self.pod {
            Some(pod) => self.bed.client_in(pod)?,
            None => self.bed.client()?,
        };
        client.args(words).args(["--url", &self.url, "--grpc-url", &self.grpc_url]);
        client.args(["--header", &format!("host: {}", self.name)]);
        Ok(client)
    }

    /// Asks once.
    ///
    /// # Errors
    /// It can't be run.
    pub(super) fn ask(&self, encoding: &str, seed: u128, more: &[&str]) -> Result<Told> {
        self.ask_for(MODEL, encoding, seed, more)
    }

    /// Asks a model of that name once.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(super) fn ask_for(&self, model: &str, encoding: &str, seed: u128, more: &[&str]) -> Result<Told> {
        let seed = seed.to_string();
        let mut ask = self.command(&["infer", model, "--encoding", encoding, "--seed", &seed])?;
        let done = ask.args(more).output().context("can't run forebay")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if !done.status.success() {
            return Ok(Told::Failed(text(&done.stderr)));
        }
        let said = text(&done.stdout);
        let status = said.lines().find_map(|line| line.strip_prefix("Cache-Status"));
        Ok(Told::Answered(status.context("forebay infer shows no Cache-Status")?.trim().to_owned()))
    }

    /// Asks until the filter answers, of which a lookup that is late on a busy machine may keep it once.
    ///
    /// # Errors
    /// A request fails, or none is a hit.
    pub(super) fn until_hit(&self, encoding: &str, seed: u128) -> Result<String> {
        self.until_told(encoding, seed, "it is answered by the filter", Told::is_hit)?.well()
    }

    /// Asks until it is told what it waits for.
    ///
    /// # Errors
    /// It never is; the last that it was told is in the message.
    pub(super) fn until_told(
        &self,
        encoding: &str,
        seed: u128,
        what: &str,
        is_it: impl Fn(&Told) -> bool,
    ) -> Result<Told> {
        let mut last = None;
        let found = until(what, PATIENCE, || {
            let told = self.ask(encoding, seed, &[]);
            let well = told.as_ref().is_ok_and(&is_it);
            last = Some(told);
            well.then_some(())
        });
        let last = last.context("nothing was asked")??;
        found.with_context(|| format!("{encoding}: the last is {last:?}"))?;
        Ok(last)
    }

    /// Asks so many, none twice; all are answered and none from a cache.
    ///
    /// # Errors
    /// One isn't.
    pub(super) fn passes(&self, count: u128) -> Result<()> {
        for seed in (moment()?..).take(usize::try_from(count)?) {
            let told = self.ask("json", seed, &[])?;
            ensure!(!told.is_hit(), "a request that nobody made before is a hit: {told:?}");
            told.well()?;
        }
        Ok(())
    }
}

/// Seeds of this moment, that no earlier run had: results are kept.
///
/// # Errors
/// The clock is before 1970.
pub(super) fn moment() -> Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())
}

/// A file with a whole request, which needs nobody to describe the model, as large as is wanted by a parameter that no model reads. None of
/// an earlier run is the same.
///
/// # Errors
/// It can't be written.
pub(super) fn whole(bed: &Bed<'_>, name: &str, padding: usize) -> Result<String> {
    let place = bed.place.as_ref().context("a client is a process of ours")?;
    let file = place.instance.folder.join(format!("{name}.json"));
    let value = f64::from(u32::try_from(moment()? % 1_000_000)?) / 1e6;
    let body = json!({ "parameters": { "padding": "x".repeat(padding) }, "inputs": [
        { "name": "input", "datatype": "FP32", "shape": [1, 576], "data": vec![value; 576] },
        { "name": "state", "datatype": "FP32", "shape": [2, 1, 128], "data": vec![0.0; 256] },
    ]});
    std::fs::write(&file, body.to_string())?;
    Ok(file.display().to_string())
}
