//! Whoever releases is killed: before and after each call of `cargo xtask release` that writes, of an install, an upgrade and a way back.
//! The same command once more must bring a good release, and no client may notice.

mod proxy;

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Pid;

use super::bed::{Bed, RELEASE};
use super::images::SERVE;
use super::install::TWO;
use super::load::{none_failed, under_load};
use crate::cluster::await_it::until;
use crate::command::last_lines;
use proxy::{Cut, Proxy, Side};

/// How long a whole release may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(8);

/// # Errors
/// One command does not mend what a cut left, or a request fails.
pub(super) fn install(bed: &Bed<'_>) -> Result<String> {
    let client = Client::new(bed)?;
    let fresh = || -> Result<()> {
        if bed.helm(&format!("status {RELEASE} --namespace {RELEASE}")).is_ok() {
            bed.helm(&format!("uninstall {RELEASE} --namespace {RELEASE}"))?;
        }
        Ok(())
    };
    fresh()?;
    let writes = client.whole(&[])?;
    client.rehearse("install", &writes, |_| fresh(), &|_| Vec::new())
}

/// # Errors
/// As [`install`].
pub(super) fn upgrade(bed: &Bed<'_>) -> Result<String> {
    let client = Client::new(bed)?;
    client.whole(&turn(0))?;
    let (found, sent) = under_load(bed, || {
        let writes = client.whole(&turn(1))?;
        client.rehearse("upgrade", &writes, |_| Ok(()), &|case| turn(case + 2))
    })?;
    Ok(format!("{found}; {}", none_failed(&sent)?))
}

/// # Errors
/// As [`install`].
pub(super) fn back(bed: &Bed<'_>) -> Result<String> {
    let client = Client::new(bed)?;
    client.whole(&turn(1000))?;
    client.whole(&turn(1001))?;
    let way_back = || vec!["--back".to_owned()];
    let (found, sent) = under_load(bed, || {
        let writes = client.whole(&way_back())?;
        // A way back that was gone is not gone again: each begins at a newer release.
        let newer = |case| client.whole(&turn(1002 + case)).map(drop);
        client.rehearse("way back", &writes, newer, &|_| way_back())
    })?;
    Ok(format!("{found}; {}", none_failed(&sent)?))
}

/// A release of two of each whose backends and gates are made anew.
fn turn(number: usize) -> Vec<String> {
    let mut words: Vec<String> = TWO.split_whitespace().map(str::to_owned).collect();
    for component in ["backend", "gate"] {
        words.extend(["--set".to_owned(), format!("{component}.podAnnotations.turn=t{number}")]);
    }
    words
}

/// Numbers of the writes: helm's own notes first, for what state they leave is the question; then those that every other resembles.
fn in_order(writes: &[String]) -> Vec<usize> {
    let is_note = |at: &usize| writes[at - 1].contains("/secrets");
    let (mut notes, others): (Vec<usize>, Vec<usize>) = (1..=writes.len()).partition(is_note);
    notes.extend(others);
    notes
}

/// Who releases, by way of a proxy.
struct Client<'a> {
    bed: &'a Bed<'a>,
    proxy: Proxy,
    kubeconfig: PathBuf,
    log: PathBuf,
}

impl<'a> Client<'a> {
    fn new(bed: &'a Bed<'a>) -> Result<Self> {
        let place = bed.place.as_ref().context("the load needs a node of ours")?;
        let proxy = Proxy::start(bed.kube.command("proxy --port 0"))?;
        let kubeconfig = place.instance.folder.join("rehearsal.kubeconfig");
        fs::write(&kubeconfig, proxy.kubeconfig())?;
        Ok(Self { bed, proxy, kubeconfig, log: place.instance.folder.join("logs/rehearsal.log") })
    }

    /// A release that nobody disturbs; its writes.
    fn whole(&self, more: &[String]) -> Result<Vec<String>> {
        let (status, writes) = self.release(more, None)?;
        ensure!(status.success(), "a release that nobody disturbs fails:\n{}", self.said());
        Ok(writes)
    }

    /// Cuts it before and after each write, and has one command mend it.
    fn rehearse(
        &self,
        what: &str,
        writes: &[String],
        before: impl Fn(usize) -> Result<()>,
        more: &dyn Fn(usize) -> Vec<String>,
    ) -> Result<String> {
        let since = Instant::now();
        let (mut cuts, mut whole, mut unreached) = (0, 0, 0);
        for at in in_order(writes) {
            if self.bed.rehearsal.is_some_and(|longest| since.elapsed() > longest) {
                break;
            }
            for side in [Side::Before, Side::After] {
                let case = cuts + unreached;
                let at_what = || format!("{what} cut {side} write {at}, {}", writes[at - 1]);
                before(case).with_context(at_what)?;
                let (_, sent) = self.release(&more(case), Some((at, side))).with_context(at_what)?;
                if sent.len() < at {
                    unreached += 1;
                    continue;
                }
                let (status, _) = self.release(&more(case), None).with_context(at_what)?;
                ensure!(status.success(), "{}: the same command again fails:\n{}", at_what(), self.said());
                self.is_good().with_context(at_what)?;
                cuts += 1;
                println!("           {}: mended after {:.0} s", at_what(), since.elapsed().as_secs_f64());
            }
            whole += 1;
        }
        let unreached = if unreached > 0 { format!(", {unreached} not reached") } else { String::new() };
        let all = writes.len();
        Ok(format!("killed at {whole} of {all} writes, {cuts} times, each mended by one command{unreached}"))
    }

    /// Runs it until its end or its cut; what it wrote.
    fn release(&self, more: &[String], cut: Option<(usize, Side)>) -> Result<(ExitStatus, Vec<String>)> {
        self.proxy.expect(cut.map(|(at, side)| Cut { at, side }));
        let mut release = Command::new(std::env::current_exe()?);
        release.args([
            "release",
            "dev",
            "--verified",
            "--timeout",
            "240s",
            "--namespace",
            RELEASE,
            "--release",
            RELEASE,
        ]);
        release.arg("--kubeconfig").arg(&self.kubeconfig).arg("--helm").arg(self.bed.helm_program());
        release.args(["--set", &format!("backend.image.repository={SERVE}")]).args(more);
        release
            .env("CARGO_MANIFEST_DIR", self.bed.layout.root.join("xtask"))
            .env("FOREBAY_DIR", &self.bed.layout.dir);
        let log = File::create(&self.log)?;
        release.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let mut child = release.spawn().context("can't run the release")?;
        self.proxy.kills(Pid::from_child(&child));
        let ended = until("the release ends", PATIENCE, || child.try_wait().ok().flatten());
        if ended.is_err() {
            let _ =
                rustix::process::kill_process_group(Pid::from_child(&child), rustix::process::Signal::KILL);
            let _ = child.wait();
        }
        Ok((ended.with_context(|| self.said())?, self.proxy.writes()))
    }

    fn is_good(&self) -> Result<()> {
        let status = self.bed.helm(&format!("status {RELEASE} --namespace {RELEASE} --output json"))?;
        let status: serde_json::Value = serde_json::from_str(&status)?;
        if status["info"]["status"] != "deployed" {
            bail!("the release is {}", status["info"]["status"]);
        }
        let lease = self.bed.json(&format!("get lease {RELEASE}-release"))?;
        ensure!(
            lease["spec"]["holderIdentity"].as_str().unwrap_or_default().is_empty(),
            "the lock is still held"
        );
        Ok(())
    }

    fn said(&self) -> String {
        last_lines(&fs::read_to_string(&self.log).unwrap_or_default())
    }
}
