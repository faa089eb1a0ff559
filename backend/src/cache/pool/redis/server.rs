//! The Redis that the settings name -> three connections to it: lookups don't wait for writes, nor heartbeats for either.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::endpoint::{Endpoint, FLAG};
use super::link::Link;
use super::replicas::Replicas;
use crate::cache::pool::Names;
use crate::settings::{Reach, SettingsError};

/// The server and the connections to it.
#[derive(Clone)]
pub(crate) struct Server {
    endpoint: Arc<Endpoint>,
    pub(in crate::cache) names: Names,
    pub(crate) lookups: Link,
    /// Who is asked before the master.
    pub(super) replicas: Option<Arc<Replicas>>,
    /// Entries, and what proxies report.
    pub(crate) writes: Link,
    /// What is live, said and heard.
    pub(crate) generations: Link,
    /// It is older than the command by which marks are put.
    pub(super) is_old: Arc<AtomicBool>,
}

impl Server {
    /// Connects to the server of that URL. One that can't be reached is tried again for ever. Must be called inside a runtime.
    ///
    /// # Errors
    /// For a URL or a file that can't be used, and for what the server says of it when it is there: a wrong password, a database that it
    /// doesn't have, a cluster.
    pub(crate) async fn open(reach: &Reach) -> Result<Self, SettingsError> {
        if let Some(file) = &reach.password_file {
            file.read().await?;
        }
        let server = Self::start(reach)?;
        for link in [&server.lookups, &server.writes, &server.generations] {
            match link.first().await {
                Err(error) if error.is_setting() => {
                    let is_by_file = reach.password_file.is_some() && error.is_proof();
                    let flag = if is_by_file { reach.flags.password_file } else { FLAG };
                    return Err(SettingsError::Wrong { flag, reason: error.to_string() });
                }
                _ => {}
            }
        }
        Ok(server)
    }

    fn start(reach: &Reach) -> Result<Self, SettingsError> {
        let (names, endpoint) = (Names::new(&reach.prefix), Arc::new(Endpoint::of(reach)?));
        let link = |name| Link::start(endpoint.clone(), name);
        let (lookups, writes, generations) = (link("lookups"), link("writes"), link("generations"));
        let replicas = Replicas::start(reach, &endpoint, &lookups)?.map(Arc::new);
        Ok(Self { endpoint, names, lookups, replicas, writes, generations, is_old: Arc::default() })
    }

    /// Why the pool can't be used, if so.
    pub(crate) fn trouble(&self) -> Option<String> {
        let links = [("lookups", &self.lookups), ("generations", &self.generations)];
        links.iter().find_map(|(name, link)| Some(format!("the pool ({name}): {}", link.trouble()?)))
    }

    /// Keys lie at several nodes.
    pub(crate) fn is_cluster(&self) -> bool {
        self.endpoint.is_cluster()
    }

    /// Logs what went wrong with the server though it answers; one line a second at most.
    pub(crate) fn complain(&self, line: &str) {
        self.endpoint.complain(line);
    }
}
