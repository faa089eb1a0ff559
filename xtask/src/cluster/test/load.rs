//! Clients that ask all the time, by HTTP and gRPC: they are started, something happens, they are stopped, and what failed is known.
//!
//! They are `forebay bench`: its connections see their end before they are used again, and so count no failure that is none.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::bed::{Bed, MODEL};
use crate::cluster::await_it::until;

/// Requests a second of each client, of all loads at once: a machine of two processors runs all of the cluster as well.
const RATE: usize = 40;
/// Connections of each.
const CONNECTIONS: &str = "6";

pub(super) struct Load {
    clients: Vec<Client>,
}

struct Client {
    encoding: &'static str,
    child: Child,
    report: PathBuf,
    log: PathBuf,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) answered: u64,
    /// How many, by what went wrong.
    pub(super) failed: BTreeMap<String, u64>,
}

impl Sent {
    /// One more.
    pub(super) fn count<T>(&mut self, outcome: Result<T, String>) {
        match outcome {
            Ok(_) => self.answered += 1,
            Err(why) => *self.failed.entry(why).or_default() += 1,
        }
    }

    /// Those of another client too.
    pub(super) fn add(&mut self, other: Self) {
        self.answered += other.answered;
        for (why, count) in other.failed {
            *self.failed.entry(why).or_default() += count;
        }
    }
}

impl Load {
    /// Starts them against the front, and waits until both have answers.
    ///
    /// # Errors
    /// A first request fails.
    pub(super) fn start(bed: &Bed<'_>) -> Result<Self> {
        let address = bed.service("front")?;
        let urls = [format!("http://{address}:8080"), format!("grpc://{address}:8080")];
        Self::sent_by(bed, &["json", "grpc"], || {
            let mut client = bed.client()?;
            client.args(["bench", MODEL, "--url", &urls[0], "--grpc-url", &urls[1]]);
            Ok(client)
        })
    }

    /// Starts one of each encoding by that command, and waits until all have answers.
    ///
    /// # Errors
    /// A first request fails.
    pub(super) fn sent_by(
        bed: &Bed<'_>,
        encodings: &[&'static str],
        client: impl Fn() -> Result<Command>,
    ) -> Result<Self> {
        let place = bed.place.as_ref().context("a client needs a node of ours")?;
        let mut clients = Vec::new();
        for encoding in encodings {
            let name = format!("load-{}-{encoding}", bed.namespace);
            let report = place.instance.folder.join(format!("{name}.json"));
            let log = place.instance.folder.join(format!("logs/{name}.log"));
            // None from an earlier load is taken for this one's.
            let _ = fs::remove_file(&report);
            let mut bench = client()?;
            bench.args(["--encoding", encoding, "--threads=1", "--warmup-secs=0"]);
            // None twice: each must be computed. For an hour: it is stopped.
            bench.args([
                "--repeats",
                "unique",
                "--rate",
                &(RATE / bed.beside).to_string(),
                "--concurrency",
                CONNECTIONS,
                "--duration-secs=3600",
            ]);
            bench.arg("--json").arg(&report);
            let out = fs::File::create(&log)?;
            bench.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
            let child = bench.spawn().context("can't start the load")?;
            clients.push(Client { encoding, child, report, log });
        }
        let mut load = Self { clients };
        for client in &mut load.clients {
            // Its first line says what it sends: the model was described and the first request is made.
            until("the load begins", Duration::from_secs(30), || {
                let ended = client.child.try_wait().ok().flatten().is_some();
                (ended || fs::read_to_string(&client.log).is_ok_and(|said| said.contains("seed")))
                    .then_some(())
            })?;
            if client.child.try_wait()?.is_some() {
                bail!(
                    "the load over {} does not begin: {}",
                    client.encoding,
                    fs::read_to_string(&client.log)?.trim()
                );
            }
        }
        Ok(load)
    }

    /// Stops them, and tells what was sent.
    ///
    /// # Errors
    /// One ended by itself, or wrote no report.
    pub(super) fn stop(mut self) -> Result<Vec<(&'static str, Sent)>> {
        let mut all = Vec::new();
        for client in &mut self.clients {
            // nsenter becomes the client: the signal is its own.
            kill_process(Pid::from_child(&client.child), Signal::INT)?;
            let ended =
                until("the load ends", Duration::from_secs(30), || client.child.try_wait().ok().flatten())?;
            let said = || fs::read_to_string(&client.log).unwrap_or_default();
            ensure!(ended.success(), "the load over {} ended: {}", client.encoding, said().trim());
            let report: Value = serde_json::from_slice(&fs::read(&client.report)?)?;
            let run = &report["runs"][0];
            let answered = run["answered"].as_u64().context("the load's report has no answers")?;
            let failed = run["failed"].as_object().context("the load's report says nothing of failures")?;
            let failed =
                failed.iter().map(|(why, count)| (why.clone(), count.as_u64().unwrap_or(1))).collect();
            all.push((client.encoding, Sent { answered, failed }));
        }
        Ok(all)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for client in &mut self.clients {
            // After a failure nobody wants its report.
            let _ = client.child.kill();
            let _ = client.child.wait();
        }
    }
}

/// Runs something under load.
///
/// # Errors
/// It fails, or the load can't be sent.
pub(super) fn under_load<T>(
    bed: &Bed<'_>,
    doing: impl FnOnce() -> Result<T>,
) -> Result<(T, Vec<(&'static str, Sent)>)> {
    let load = Load::start(bed)?;
    let done = doing()?;
    Ok((done, load.stop()?))
}

/// All answered, and how many.
///
/// # Errors
/// One failed; or so few were sent that nothing is shown.
pub(super) fn none_failed(sent: &[(&'static str, Sent)]) -> Result<String> {
    let text = told(sent);
    ensure!(sent.iter().all(|(_, sent)| sent.failed.is_empty()), "{text}");
    ensure!(sent.iter().all(|(_, sent)| sent.answered > 100), "too few to show anything: {text}");
    Ok(text)
}

/// In a few words.
pub(super) fn told(sent: &[(&'static str, Sent)]) -> String {
    let one = |(encoding, sent): &(&str, Sent)| {
        let failed: Vec<String> = sent.failed.iter().map(|(why, count)| format!("{count} x {why}")).collect();
        let failed = if failed.is_empty() { "0".to_owned() } else { failed.join(", ") };
        format!("{encoding} {} answered, {failed} failed", sent.answered)
    };
    sent.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(answered: u64, failed: &[(&str, u64)]) -> Vec<(&'static str, Sent)> {
        let failed = failed.iter().map(|(why, count)| ((*why).to_owned(), *count)).collect();
        vec![("json", Sent { answered, failed })]
    }

    #[test]
    fn one_that_fails_is_told_with_what_went_wrong() {
        assert_eq!(none_failed(&sent(500, &[])).unwrap(), "json 500 answered, 0 failed");
        let error = none_failed(&sent(500, &[("HTTP 503", 1)])).unwrap_err();
        assert_eq!(error.to_string(), "json 500 answered, 1 x HTTP 503 failed");
    }

    #[test]
    fn so_few_that_nothing_is_shown_are_no_success() {
        none_failed(&sent(3, &[])).unwrap_err();
    }
}
