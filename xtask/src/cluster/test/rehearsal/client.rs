//! Who releases, and is killed for it: words for `cargo xtask release` and a cut enter; its end, and what it wrote, leave.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

use super::super::bed::{Bed, RELEASE};
use super::super::images::SERVE;
use super::proxy::{Cut, Proxy};
use crate::cluster::await_it::until;
use crate::command::last_lines;

/// How long a whole release may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(8);

pub(super) struct Client<'a> {
    pub(super) bed: &'a Bed<'a>,
    proxy: Proxy,
    kubeconfig: PathBuf,
    log: PathBuf,
}

impl<'a> Client<'a> {
    /// # Errors
    /// The cluster is not ours, or the proxy does not start.
    pub(super) fn new(bed: &'a Bed<'a>) -> Result<Self> {
        let place = bed.place.as_ref().context("the load needs a node of ours")?;
        let proxy = Proxy::start(bed.kube.command("proxy --port 0"))?;
        let kubeconfig = place.instance.folder.join(format!("{}.kubeconfig", bed.namespace));
        fs::write(&kubeconfig, proxy.kubeconfig())?;
        let log = place.instance.folder.join(format!("logs/{}.log", bed.namespace));
        Ok(Self { bed, proxy, kubeconfig, log })
    }

    /// A release that nobody disturbs; its writes.
    ///
    /// # Errors
    /// It fails.
    pub(super) fn whole(&self, more: &[String]) -> Result<Vec<String>> {
        let (status, writes) = self.release(more, None)?;
        ensure!(status.success(), "a release that nobody disturbs fails:\n{}", self.said());
        Ok(writes)
    }

    /// Cuts it there, and has the same command mend it. Whether it came so far.
    ///
    /// # Errors
    /// It is not mended.
    pub(super) fn cut_and_mended(&self, more: &[String], cut: Cut) -> Result<bool> {
        let (_, sent) = self.release(more, Some(cut))?;
        if sent.len() < cut.at {
            return Ok(false);
        }
        let (status, _) = self.release(more, None)?;
        ensure!(status.success(), "the same command again fails:\n{}", self.said());
        self.is_good()?;
        Ok(true)
    }

    /// Takes the release away, if there is one.
    ///
    /// # Errors
    /// helm can't.
    pub(super) fn uninstall(&self) -> Result<()> {
        let own = &self.bed.namespace;
        if self.bed.helm(&format!("status {RELEASE} --namespace {own}")).is_ok() {
            self.bed.helm(&format!("uninstall {RELEASE} --namespace {own}"))?;
        }
        Ok(())
    }

    /// Runs it until its end or its cut; what it wrote.
    fn release(&self, more: &[String], cut: Option<Cut>) -> Result<(ExitStatus, Vec<String>)> {
        self.proxy.expect(cut);
        let mut release = self.bed.xtask()?;
        release.args(["release", "dev", "--verified", "--timeout", "240s"]);
        release.args(["--namespace", &self.bed.namespace, "--release", RELEASE]);
        release.arg("--kubeconfig").arg(&self.kubeconfig).arg("--helm").arg(self.bed.helm_program());
        release.args(["--set", &format!("backend.image.repository={SERVE}")]).args(more);
        let log = File::create(&self.log)?;
        release.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let mut child = release.spawn().context("can't run the release")?;
        self.proxy.kills(Pid::from_child(&child));
        let ended = until("the release ends", PATIENCE, || child.try_wait().ok().flatten());
        if ended.is_err() {
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            let _ = child.wait();
        }
        Ok((ended.with_context(|| self.said())?, self.proxy.writes()))
    }

    fn is_good(&self) -> Result<()> {
        let own = &self.bed.namespace;
        let status = self.bed.helm(&format!("status {RELEASE} --namespace {own} --output json"))?;
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
