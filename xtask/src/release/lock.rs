//! One release at a time: a Lease's name enters; the lock, and what a killed holder left, leave. Renewed by a thread while it is held.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::holder::Holder;
use crate::deployment::Kubectl;

/// Not renewed for so long, by our own clock: its holder is gone.
const DURATION: Duration = Duration::from_secs(30);
const RENEWAL: Duration = Duration::from_secs(10);
const GLANCE: Duration = Duration::from_secs(1);
/// The number of what its holder makes.
const MAKES: &str = "forebay.dev/makes";

/// What a holder left that was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    /// It made revisions from this one on.
    pub(super) from: u64,
    /// Nothing that it started runs on.
    pub(super) ended: bool,
}

pub(super) struct Lock {
    held: Arc<Held>,
    end: Option<(Sender<()>, JoinHandle<()>)>,
}

struct Held {
    kubectl: Kubectl,
    holder: String,
    lease: Mutex<Value>,
    lost: Mutex<Option<String>>,
}

impl Lock {
    /// Takes it, from a holder that is gone too.
    ///
    /// # Errors
    /// Somebody holds it.
    pub(super) fn take(kubectl: &Kubectl, name: &str) -> Result<(Self, Option<Left>)> {
        let holder = Holder::here().to_string();
        loop {
            let Some(found) = kubectl.object(&format!("lease/{name}"))? else {
                let new = json!({
                    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": { "name": name, "labels": { "app.kubernetes.io/part-of": "forebay" } },
                    "spec": spec(&holder),
                });
                let said = kubectl.ask("create --output json --filename -", &new.to_string())?;
                if said.ok {
                    return Ok((Self::start(kubectl, holder, serde_json::from_str(&said.stdout)?), None));
                }
                if said.stderr.contains("AlreadyExists") {
                    continue;
                }
                bail!("the lock can't be made: {}", said.stderr.trim());
            };
            let left = freed(kubectl, name, &found)?;
            let mut ours = found;
            ours["spec"] = spec(&holder);
            let said = kubectl.ask("replace --output json --filename -", &ours.to_string())?;
            if said.ok {
                return Ok((Self::start(kubectl, holder, serde_json::from_str(&said.stdout)?), left));
            }
            if !said.stderr.contains("Conflict") && !said.stderr.contains("NotFound") {
                bail!("the lock can't be taken: {}", said.stderr.trim());
            }
        }
    }

    fn start(kubectl: &Kubectl, holder: String, lease: Value) -> Self {
        let held =
            Held { kubectl: kubectl.clone(), holder, lease: Mutex::new(lease), lost: Mutex::default() };
        let held = Arc::new(held);
        let (end, ends) = channel();
        let renewed = held.clone();
        let thread = std::thread::spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = ends.recv_timeout(RENEWAL) {
                if let Err(error) = renewed.write(|_| {}) {
                    *renewed.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{error:#}"));
                    return;
                }
            }
        });
        Self { held, end: Some((end, thread)) }
    }

    /// Notes what is made next, for whoever has to mend it.
    ///
    /// # Errors
    /// The lock is lost.
    pub(super) fn begin(&self, makes: u64) -> Result<()> {
        self.held.write(|lease| lease["metadata"]["annotations"][MAKES] = json!(makes.to_string()))
    }

    /// # Errors
    /// Somebody else has it now.
    pub(super) fn check(&self) -> Result<()> {
        match self.held.lost.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(why) => bail!("the lock is lost: {why}"),
            None => Ok(()),
        }
    }

    /// # Errors
    /// It was lost.
    pub(super) fn give_back(mut self) -> Result<()> {
        self.stop();
        self.check()?;
        self.held.write(|lease| {
            lease["spec"]["holderIdentity"] = json!("");
            if let Some(notes) = lease["metadata"]["annotations"].as_object_mut() {
                notes.remove(MAKES);
            }
        })
    }

    fn stop(&mut self) {
        if let Some((end, thread)) = self.end.take() {
            drop(end);
            // It renews and hears then.
            let _ = thread.join();
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Held {
    /// Writes it anew, if nobody else has since.
    fn write(&self, change: impl FnOnce(&mut Value)) -> Result<()> {
        let mut lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = lease.clone();
        new["spec"] = spec(&self.holder);
        change(&mut new);
        let said = self.kubectl.run("replace --output json --filename -", &new.to_string())?;
        *lease = serde_json::from_str(&said).context("kubectl wrote no JSON")?;
        Ok(())
    }
}

fn spec(holder: &str) -> Value {
    let now = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
    json!({
        "holderIdentity": holder, "leaseDurationSeconds": DURATION.as_secs(), "acquireTime": now, "renewTime": now,
    })
}

/// Waits until a Lease's holder is known to be gone.
fn freed(kubectl: &Kubectl, name: &str, lease: &Value) -> Result<Option<Left>> {
    let text = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    let holder = Holder::parse(text);
    let from = lease["metadata"]["annotations"][MAKES].as_str().and_then(|number| number.parse().ok());
    let ended = holder.as_ref().is_some_and(Holder::is_tied);
    let left = from.map(|from| Left { from, ended });
    if holder.is_some_and(|holder| holder.is_gone()) {
        println!("lock: its holder ended without giving it back");
        return Ok(left);
    }
    println!("lock: held by {text}; looking for {} s whether it still renews it", DURATION.as_secs());
    let since = Instant::now();
    while since.elapsed() < DURATION {
        std::thread::sleep(GLANCE);
        let now = kubectl.object(&format!("lease/{name}"))?;
        let Some(now) = now else { return Ok(left) };
        if now["spec"]["holderIdentity"] == "" {
            return Ok(None);
        }
        if now["spec"]["renewTime"] != lease["spec"]["renewTime"] {
            bail!("another release runs: {name} is held by {text}, and renewed");
        }
    }
    println!("lock: not renewed for {} s, so its holder is gone", DURATION.as_secs());
    Ok(left)
}
