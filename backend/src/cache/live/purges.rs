//! Purge numbers: what was purged, and by which number, enters; the generation under which results are kept since leaves. A number is
//! part of that, so what was kept before is under another key at once, however much of it there is.
//!
//! Numbers are kept in the registry, and whoever takes steps there remembers them: what the registry lacks is said again, and gets a
//! higher number. They only grow. Next: a gate's `table` and the keys of `infer` go by them.

mod name;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use forebay_protocol::digest::{Digest, Generation};
use forebay_protocol::generations::{Dropped, LiveModel};
use forebay_protocol::tenant::Tenant;

use super::proxies::LEASE;
pub(crate) use name::Name;

/// Most names that have a number. Who purges one more purges all of its service.
pub(super) const MOST: usize = 1024;

/// There are [`MOST`] names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// The numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Purges {
    by_name: BTreeMap<Name, u64>,
    /// The highest that there ever was: who knows of it knows of all.
    mark: u64,
}

impl Purges {
    pub(super) fn of(mark: u64, numbers: impl IntoIterator<Item = (String, u64)>) -> Self {
        let by_name = numbers.into_iter().filter_map(|(text, number)| Some((Name::read(&text)?, number)));
        Self { by_name: by_name.collect(), mark }
    }

    pub(super) fn mark(&self) -> u64 {
        self.mark
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = (String, u64)> {
        self.by_name.iter().map(|(name, number)| (name.text(), *number))
    }

    /// The number for a request: 0 where nothing that it could be answered from was purged.
    pub(crate) fn number(&self, service: &str, model: &str, tenant: Option<&Tenant>) -> u64 {
        let tenant = tenant.map_or("", Tenant::as_str);
        self.highest(|name| name.is_of(service, model, tenant))
    }

    /// The number of one request's own purge.
    fn number_of(&self, digest: &Digest) -> u64 {
        if self.by_name.is_empty() {
            0
        } else {
            self.by_name.get(&Name::request(digest)).copied().unwrap_or(0)
        }
    }

    /// Requests that were purged one by one.
    pub(super) fn dropped(&self) -> Vec<Dropped> {
        let dropped =
            |(name, number): (&Name, &u64)| Some(Dropped { digest: name.digest()?, number: *number });
        self.by_name.iter().filter_map(dropped).collect()
    }

    /// The highest number of those names; 0 for none.
    fn highest(&self, of: impl Fn(&Name) -> bool) -> u64 {
        self.by_name.iter().filter(|(name, _)| of(name)).map(|(_, number)| *number).max().unwrap_or(0)
    }

    /// Gives a name a higher number, at `us` microseconds of the registry's clock, unless it has more than `known` by now; what it
    /// covers needs none any more.
    pub(super) fn raise(&mut self, name: &Name, known: Option<u64>, us: u64) -> Result<(), Full> {
        let has = self.by_name.get(name).copied().unwrap_or(0);
        if known.is_some_and(|known| has >= known) {
            return Ok(());
        }
        if has == 0 && !self.by_name.keys().any(|of| name.covers(of)) && self.by_name.len() >= MOST {
            return Err(Full);
        }
        self.mark = (self.mark + 1).max(us).max(known.unwrap_or(0) + 1);
        self.by_name.retain(|of, _| !name.covers(of));
        self.by_name.insert(name.clone(), self.mark);
        Ok(())
    }

    /// What is known here and that one lacks: it has lost it.
    fn lacking(&self, in_registry: &Self) -> Vec<(Name, u64)> {
        let has = |name: &Name| in_registry.highest(|of| of.covers(name));
        let lacks = |(name, number): &(&Name, &u64)| has(name) < **number;
        self.by_name.iter().filter(lacks).map(|(name, number)| (name.clone(), *number)).collect()
    }

    /// The rows of a table, of what was kept since the purges. What of a tenant's was purged by itself is in a row of its own.
    pub(super) fn fold(&self, models: Vec<LiveModel>) -> Vec<LiveModel> {
        if self.by_name.is_empty() {
            return models;
        }
        models.iter().flat_map(|row| self.rows(row)).collect()
    }

    fn rows(&self, row: &LiveModel) -> Vec<LiveModel> {
        let of_all = self.highest(|name| name.is_of(&row.service, &row.model, ""));
        let tenants = self.by_name.iter().filter(|(name, number)| {
            !name.tenant.is_empty() && **number > of_all && name.is_of(&row.service, &row.model, &name.tenant)
        });
        let mut by_tenant: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, number) in tenants {
            let highest = by_tenant.entry(&name.tenant).or_default();
            *highest = (*highest).max(*number);
        }
        let purged = |number: u64, tenant: Option<&str>| LiveModel {
            tenant: tenant.map(str::to_owned),
            generations: row.generations.iter().map(|generation| generation.purged(number)).collect(),
            ..row.clone()
        };
        let of_tenants = by_tenant.into_iter().map(|(tenant, number)| purged(number, Some(tenant)));
        std::iter::once(purged(of_all, None)).chain(of_tenants).collect()
    }
}

/// The numbers as one process knows them.
pub(crate) struct Purged {
    known: ArcSwap<Purges>,
    /// What was asked then was answered by the registry; `None` where the registry is this process's own, which can't be silent.
    heard: Option<Mutex<Option<Instant>>>,
}

impl Purged {
    /// Of this process alone.
    pub(crate) fn own() -> Self {
        Self { known: ArcSwap::default(), heard: None }
    }

    /// Of a registry that others share.
    pub(super) fn shared() -> Self {
        Self { known: ArcSwap::default(), heard: Some(Mutex::default()) }
    }

    /// Under which generation a request's result is kept, and whether what is kept under it may be given: not if there may be a purge
    /// that isn't known here.
    pub(crate) fn generation(
        &self,
        generation: &Generation,
        (service, model): (&str, &str),
        tenant: Option<&Tenant>,
    ) -> (Generation, bool) {
        // Before the number is looked at: it may be one of after a silence, and the number must not be of before it.
        let is_known = self.is_known();
        (generation.purged(self.known.load().number(service, model, tenant)), is_known)
    }

    /// The digest by which a request's result is kept, since it was purged by itself.
    pub(crate) fn digest(&self, digest: &Digest) -> Digest {
        digest.purged(self.known.load().number_of(digest))
    }

    /// Whether what is known can be all there is. Who has not heard the registry for [`LEASE`] is not waited for by who purges.
    fn is_known(&self) -> bool {
        let lately = |heard: &Mutex<Option<Instant>>| {
            let heard = *heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.is_some_and(|heard| heard.elapsed() < LEASE)
        };
        self.heard.as_ref().is_none_or(lately)
    }

    /// The highest number that is known here.
    pub(crate) fn mark(&self) -> u64 {
        self.known.load().mark()
    }

    pub(super) fn now(&self) -> arc_swap::Guard<std::sync::Arc<Purges>> {
        self.known.load()
    }

    pub(super) fn set(&self, purges: Purges) {
        self.known.store(purges.into());
    }

    /// Takes over what the registry has, where it told it, to what was asked then. What it has lost leaves: it is to be said again.
    pub(super) fn heard(&self, in_registry: Option<Purges>, asked: Instant) -> Vec<(Name, u64)> {
        let mut lost = Vec::new();
        if let Some(mut purges) = in_registry {
            lost = self.known.load().lacking(&purges);
            if !lost.is_empty() {
                // Until it is said again it counts here as it did, and it is asked whether it was.
                purges.by_name.extend(lost.iter().cloned());
                purges.mark = 0;
            }
            self.set(purges);
        }
        if let Some(heard) = &self.heard {
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        }
        lost
    }
}

#[cfg(test)]
mod tests;
