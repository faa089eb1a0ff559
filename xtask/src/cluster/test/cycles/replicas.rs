//! How many backends are wanted, there and ready: what Kubernetes says enters, each change once; who waits for one hears of it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::await_it::until;
use crate::cluster::test::bed::{Bed, RELEASE};

/// What was heard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) wanted: u32,
    pub(super) there: u32,
    pub(super) ready: u32,
}

pub(super) struct Replicas {
    watch: Child,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Replicas {
    /// Listens from now on.
    ///
    /// # Errors
    /// kubectl can't be started.
    pub(super) fn watch(bed: &Bed<'_>) -> Result<Self> {
        let words =
            format!("--namespace {} get deployment {RELEASE}-backend --watch --output", bed.namespace);
        let mut watch = bed.kube.command(&words);
        watch.arg("jsonpath={.spec.replicas} {.status.replicas} {.status.readyReplicas};");
        watch.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut watch = watch.spawn().context("can't watch the Deployment")?;
        let said = BufReader::new(watch.stdout.take().context("kubectl says nothing")?);
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let heard = seen.clone();
        // It ends with kubectl.
        std::thread::spawn(move || {
            for said in said.split(b';').map_while(Result::ok) {
                let seen = Seen::of(&String::from_utf8_lossy(&said));
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
            }
        });
        Ok(Self { watch, seen })
    }

    /// Waits until they are so, now.
    ///
    /// # Errors
    /// Time is up.
    pub(super) fn until(
        &self,
        what: &str,
        patience: Duration,
        is_so: impl Fn(&Seen) -> bool,
    ) -> Result<Seen> {
        until(what, patience, || self.all().last().copied().filter(&is_so))
            .with_context(|| format!("{:?}", self.all().last()))
    }

    /// How often none was wanted and then one.
    pub(super) fn wakes(&self) -> usize {
        self.all().windows(2).filter(|pair| pair[0].wanted == 0 && pair[1].wanted > 0).count()
    }

    fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Seen {
    /// A number that isn't said is 0.
    fn of(said: &str) -> Self {
        let mut numbers = said.split(' ').map(|number| number.trim().parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self { wanted: next(), there: next(), ready: next() }
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.watch.kill();
        let _ = self.watch.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_not_said_is_none() {
        let told = |said| {
            let Seen { wanted, there, ready } = Seen::of(said);
            (wanted, there, ready)
        };
        assert_eq!(told("3 2 1"), (3, 2, 1));
        assert_eq!(told("1 1 "), (1, 1, 0));
        assert_eq!(told("0  "), (0, 0, 0));
    }
}
