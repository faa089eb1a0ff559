//! Memcached: entries by `mg` and `ms`, each on one of the servers, as its key says (`place`). `url` is the list of
//! servers, `connect` how one is reached, `link` a connection to it, `wire` the protocol. What a server that is lost has are misses.
//! What is live is kept by the first of them (the registry).

mod connect;
mod link;
mod place;
mod url;
pub(crate) mod wire;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay_protocol::digest::Key;
use futures_util::future::join_all;

use super::lease::{self, Slot};
use super::remote::{Sealed, Shelf};
use super::{Names, Otherwise, PoolError, dropped};
use crate::settings::{Reach, SettingsError};
use connect::{ConnectError, Endpoint};
use link::Link;
use wire::{If, Reply};

/// What a server says of a value that is larger than it takes.
const TOO_LARGE: &str = "too large";

/// The servers and the connections to them.
#[derive(Clone)]
pub(crate) struct Memcached {
    servers: Arc<[Server]>,
    pub(in crate::cache) names: Names,
    /// To the first server: what is live, said and heard.
    pub(crate) home: Home,
}

/// One of the servers.
struct Server {
    endpoint: Arc<Endpoint>,
    /// Of its name.
    seed: u64,
    lookups: Link,
    writes: Link,
}

/// A connection by which single values are read and written.
#[derive(Clone)]
pub(crate) struct Home {
    endpoint: Arc<Endpoint>,
    link: Link,
}

/// What a server says that is no reply to the command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MemcachedError {
    #[error("it refused a write: {0}")]
    Refused(String),
    #[error("its reply is to another command: {0:?}")]
    Astray(Reply),
}

impl Memcached {
    /// Connects to the servers of that URL. One that can't be reached is tried again for ever. Must be called inside a runtime.
    ///
    /// # Errors
    /// For a URL or a file that can't be used, and for what a server says of it when it is there: a wrong password, a version without the
    /// commands.
    pub(crate) async fn open(reach: &Reach) -> Result<Self, SettingsError> {
        let (names, endpoints) = (Names::new(&reach.prefix), url::endpoints(reach)?);
        if let Some(credentials) = endpoints.first().and_then(|endpoint| endpoint.credentials.as_ref()) {
            credentials.password().await?;
        }
        let servers: Vec<Server> = endpoints.into_iter().map(Server::start).collect();
        let Some(endpoint) = servers.first().map(|server| server.endpoint.clone()) else {
            unreachable!("a list that is read has one server at least")
        };
        let link = Link::start(endpoint.clone(), "generations");
        let memcached = Self { servers: servers.into(), names, home: Home { endpoint, link } };
        for server in &*memcached.servers {
            if let Err(error) = server.lookups.first().await
                && error.is_setting()
            {
                let is_by_file = reach.password_file.is_some() && matches!(*error, ConnectError::Refused(_));
                let flag = if is_by_file { reach.flags.password_file } else { reach.flags.url };
                let reason = format!("{}: {error}", server.endpoint.name());
                return Err(SettingsError::Wrong { flag, reason });
            }
        }
        Ok(memcached)
    }

    fn server(&self, key: &Key) -> Option<&Server> {
        self.servers.get(place::of(key, self.servers.iter().map(|server| server.seed)))
    }

    /// What is asked of each server, with the positions.
    fn by_server<'a, T>(&'a self, of: &'a [T], key: impl Fn(&T) -> &Key) -> Vec<Share<'a, T>> {
        let mut shares: Vec<Share<'a, T>> = Vec::new();
        for (at, one) in of.iter().enumerate() {
            let Some(server) = self.server(key(one)) else { continue };
            match shares.iter_mut().find(|share| std::ptr::eq(share.server, server)) {
                Some(share) => share.of.push((at, one)),
                None => shares.push(Share { names: &self.names, server, of: vec![(at, one)] }),
            }
        }
        shares
    }
}

/// What is asked of one server.
struct Share<'a, T> {
    names: &'a Names,
    server: &'a Server,
    of: Vec<(usize, &'a T)>,
}

impl Server {
    fn start(endpoint: Endpoint) -> Self {
        let endpoint = Arc::new(endpoint);
        let seed = place::seed(&endpoint.name());
        let link = |name| Link::start(endpoint.clone(), name);
        let (lookups, writes) = (link("lookups"), link("writes"));
        Self { endpoint, seed, lookups, writes }
    }
}

impl Share<'_, Key> {
    /// What the server has of these keys, with their positions.
    async fn get(&self, patience: Duration) -> Result<Vec<(usize, Bytes)>, PoolError> {
        let mut commands = Vec::new();
        for (at, key) in &self.of {
            wire::get(&mut commands, &self.names.entry_text(key), *at as u64);
        }
        let (replies, _) = self.server.lookups.ask(commands, self.of.len(), patience, None).await?;
        let mut found = Vec::new();
        for ((at, _), reply) in self.of.iter().zip(replies) {
            match reply {
                Reply::Value { bytes, opaque, .. } if opaque == Some(*at as u64) => found.push((*at, bytes)),
                Reply::Missing => {}
                other => return Err(astray(other)),
            }
        }
        Ok(found)
    }
}

impl Share<'_, Sealed> {
    async fn put(&self, patience: Duration) -> Result<(), PoolError> {
        let mut commands = Vec::new();
        for (_, Sealed { key, bytes, lifetime }) in &self.of {
            wire::set(&mut commands, &self.names.entry_text(key), bytes, *lifetime, If::Always);
        }
        let (replies, _) = self.server.writes.ask(commands, self.of.len(), patience, None).await?;
        let mut refused = Ok(());
        for reply in replies {
            match reply {
                Reply::Done => {}
                // Its bound is lower than it said when it was connected to.
                Reply::Refused(why) if why.contains(TOO_LARGE) => dropped(Memcached::TIER, "too_large", 1),
                other => refused = Err(astray(other)),
            }
        }
        refused
    }
}

impl Shelf for Memcached {
    const TIER: &'static str = "memcached";

    fn max_bytes(&self, key: &Key) -> usize {
        self.server(key).map_or(0, |server| server.endpoint.max_bytes())
    }

    /// A server that is lost has nothing; it is an error when none answers of those that are asked.
    async fn get(
        &self,
        keys: &[Key],
        patience: Duration,
        _: Otherwise,
    ) -> Result<Vec<Option<Bytes>>, PoolError> {
        let shares = self.by_server(keys, |key| key);
        let (mut found, mut answered, mut failed) = (vec![None; keys.len()], false, None);
        for of_one in join_all(shares.iter().map(|share| share.get(patience))).await {
            match of_one {
                Err(error) => failed = Some(error),
                Ok(entries) => {
                    answered = true;
                    for (at, bytes) in entries {
                        if let Some(slot) = found.get_mut(at) {
                            *slot = Some(bytes);
                        }
                    }
                }
            }
        }
        match failed {
            Some(error) if !answered => Err(error),
            _ => Ok(found),
        }
    }

    async fn slot(&self, key: &Key, patience: Duration) -> Result<Slot, PoolError> {
        let Some(server) = self.server(key) else { return Ok(Slot::Free) };
        let mut commands = Vec::new();
        wire::get_or_mark(&mut commands, &self.names.entry_text(key), lease::STAYS);
        match one(&server.lookups, commands, patience).await? {
            Reply::Value { unique, marked: true, .. } => Ok(Slot::Marked(unique)),
            Reply::Value { bytes, .. } => Ok(Slot::of(bytes)),
            // It has no memory for the mark.
            Reply::Refused(_) => Ok(Slot::Free),
            other => Err(astray(other)),
        }
    }

    async fn stay(&self, key: &Key, patience: Duration) -> Result<(), PoolError> {
        let Some(server) = self.server(key) else { return Ok(()) };
        let mut commands = Vec::new();
        // Of an entry that came meanwhile it would cut the time, which costs hits of it and is all.
        wire::touch(&mut commands, &self.names.entry_text(key), lease::STAYS);
        one(&server.writes, commands, patience).await.map(drop)
    }

    async fn unmark(&self, key: &Key, mark: u64, unkept: bool, patience: Duration) -> Result<(), PoolError> {
        let Some(server) = self.server(key) else { return Ok(()) };
        let (mut commands, name) = (Vec::new(), self.names.entry_text(key));
        if unkept {
            wire::set(&mut commands, &name, lease::UNKEPT, lease::REMEMBERED, If::Unique(mark));
        } else {
            wire::delete(&mut commands, &name, mark);
        }
        one(&server.writes, commands, patience).await.map(drop)
    }

    async fn put(&self, entries: &[Sealed], patience: Duration) -> Result<(), PoolError> {
        let shares = self.by_server(entries, |entry| &entry.key);
        let written = join_all(shares.iter().map(|share| share.put(patience))).await;
        for (share, written) in shares.iter().zip(&written) {
            if let Err(error) = written
                && !matches!(error, PoolError::Down(_))
            {
                share.server.endpoint.complain(&format!("results are not written: {error}"));
            }
        }
        written.into_iter().collect()
    }

    fn takes_writes(&self, key: &Key) -> bool {
        self.server(key).is_some_and(|server| server.writes.trouble().is_none())
    }

    /// A gate can do without an entry, not without what is live.
    fn trouble(&self) -> Option<String> {
        let Home { endpoint, link } = &self.home;
        Some(format!("the pool (generations, {}): {}", endpoint.name(), link.trouble()?))
    }
}

impl Home {
    /// Sends commands that get so many replies, by that connection if one is given; with which connection it was.
    pub(crate) async fn ask(
        &self,
        commands: Vec<u8>,
        replies: usize,
        patience: Duration,
        by: Option<u64>,
    ) -> Result<(Vec<Reply>, u64), PoolError> {
        self.link.ask(commands, replies, patience, by).await
    }

    /// Logs what went wrong; one line a second at most.
    pub(crate) fn complain(&self, line: &str) {
        self.endpoint.complain(line);
    }

    /// The largest value that it takes.
    pub(crate) fn max_bytes(&self) -> usize {
        self.endpoint.max_bytes()
    }
}

/// The reply to a command.
async fn one(link: &Link, command: Vec<u8>, patience: Duration) -> Result<Reply, PoolError> {
    let (replies, _) = link.ask(command, 1, patience, None).await?;
    // A link gives as many as are asked for.
    Ok(replies.into_iter().next().unwrap_or(Reply::Missing))
}

impl From<MemcachedError> for PoolError {
    fn from(error: MemcachedError) -> Self {
        Self::Failed(Arc::new(error))
    }
}

/// That is no reply to what was asked.
pub(crate) fn astray(reply: Reply) -> PoolError {
    match reply {
        Reply::Refused(why) => MemcachedError::Refused(why).into(),
        other => MemcachedError::Astray(other).into(),
    }
}
