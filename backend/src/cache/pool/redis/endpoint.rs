//! A URL -> where Redis is and what it is told at first: a connection that works, or why there is none. Next: `link` keeps it.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;

use ::redis::{
    ConnectionAddr, FromRedisValue as _, IntoConnectionInfo as _, RedisConnectionInfo, RedisError, Value,
};
use futures_util::StreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::cluster::Nodes;
use super::connection::{ConnectError, Connection, greet};
use super::sentinel::Sentinels;
use crate::cache::pool::dial::{CONNECT, Encrypts, Place};
use crate::observe::logs::Seldom;
use crate::settings::{PasswordFile, Reach, SettingsError};

/// Where the URL comes from.
pub(super) const FLAG: &str = "--redis-url";
const EXPECTED: &str = "expected redis://[user:password@]host[:port][/database], rediss:// for TLS, redis+sentinel:// or redis+cluster://";
/// Behind a scheme: the servers are sentinels.
const SENTINEL: &str = "+sentinel";
/// They are nodes of a cluster.
const CLUSTER: &str = "+cluster";
/// Schemes that are spoken, by the one that the client knows the rest of the URL by, and whether they ask for TLS.
const SCHEMES: [(&str, &str, bool); 11] = [
    ("redis", "redis", false),
    ("rediss", "redis", true),
    ("redis+cluster", "redis", false),
    ("rediss+cluster", "redis", true),
    ("redis+sentinel", "redis", false),
    ("rediss+sentinel", "redis", true),
    ("valkey", "valkey", false),
    ("valkeys", "valkey", true),
    ("unix", "unix", false),
    ("redis+unix", "redis+unix", false),
    ("valkey+unix", "valkey+unix", false),
];

/// How to reach the server.
pub(super) struct Endpoint {
    at: At,
    /// What it is told at first: the user, the database.
    greeting: RedisConnectionInfo,
    password_file: Option<PasswordFile>,
    /// Told when another server must be looked for under the same name.
    left: watch::Sender<Option<Arc<str>>>,
    /// What is said where there is no connection.
    without: String,
    lines: Seldom,
}

/// Where it listens.
enum At {
    Place(Place),
    Socket(PathBuf),
    /// Wherever they say that the master is now.
    Sentinels(Sentinels),
    /// These, and all that they know of.
    Cluster(Nodes),
    /// There, of another one's replication: that one itself, or a node of a cluster.
    Node(Place, bool),
}

impl Endpoint {
    /// The one that the settings name. Errors don't show the URL: there may be a password in it.
    pub(super) fn of(reach: &Reach) -> Result<Self, SettingsError> {
        let (scheme, rest) = reach.url.split_once("://").unwrap_or(("", &reach.url));
        let Some((_, known, is_encrypted)) = SCHEMES.iter().find(|(spoken, ..)| *spoken == scheme) else {
            return Err(wrong(format!("the scheme {scheme:?} is not spoken; {EXPECTED}")));
        };
        if rest.contains('#') {
            // The client's way to say that certificates are not to be checked.
            return Err(wrong(format!(
                "nothing is said behind a #, and certificates are checked; {EXPECTED}"
            )));
        }
        let encrypts = Encrypts::of(reach, *is_encrypted)?;
        let (at, greeting) = if scheme.ends_with(CLUSTER) {
            let (nodes, greeting) = Nodes::of(reach, rest, encrypts.as_ref())?;
            (At::Cluster(nodes), greeting)
        } else if scheme.ends_with(SENTINEL) {
            let (sentinels, greeting) = Sentinels::of(reach, rest, encrypts.as_ref())?;
            (At::Sentinels(sentinels), greeting)
        } else {
            let url = format!("{known}://{rest}");
            let info = url.into_connection_info().map_err(|error| wrong(format!("{error}; {EXPECTED}")))?;
            let at = match info.addr() {
                ConnectionAddr::Tcp(host, port) => {
                    At::Place(Place::new(reach, (host.clone(), *port), encrypts.as_ref())?)
                }
                ConnectionAddr::Unix(path) => At::Socket(path.clone()),
                _ => return Err(wrong(EXPECTED.to_owned())),
            };
            (at, info.redis_settings().clone())
        };
        if greeting.db() < 0 {
            return Err(wrong(format!("a database has a number from 0; {EXPECTED}")));
        }
        reach.check_passwords(greeting.password().is_some())?;
        let (left, _) = watch::channel(None);
        let password_file = reach.password_file.clone();
        let without = "the pool can't be used".to_owned();
        Ok(Self { at, greeting, password_file, left, without, lines: Seldom::new() })
    }

    /// A replica of this one, or a node of this cluster, by where it listens: it is told the same at first.
    ///
    /// # Errors
    /// When this one is reached by no network, or no certificate can have that host's name.
    pub(super) fn node(&self, (host, port): (String, u16)) -> Result<Self, ConnectError> {
        let without = format!("lookups don't go to {host}:{port}");
        let place = self.place().ok_or(ConnectError::NoNetwork)?.another(host, port)?;
        let (greeting, password_file) = (self.greeting.clone(), self.password_file.clone());
        let (left, _) = watch::channel(None);
        let at = At::Node(place, self.is_cluster());
        Ok(Self { at, greeting, password_file, left, without, lines: Seldom::new() })
    }

    /// One of the places that are reached as its replicas are.
    pub(super) fn place(&self) -> Option<&Place> {
        match &self.at {
            At::Place(place) | At::Node(place, _) => Some(place),
            At::Sentinels(sentinels) => sentinels.place(),
            At::Cluster(nodes) => nodes.place(),
            At::Socket(_) => None,
        }
    }

    /// A connection that works: names resolved, password taken, database there, no cluster.
    pub(super) async fn connect(&self) -> Result<Connection, ConnectError> {
        let connected = tokio::time::timeout(CONNECT, self.connect_slowly()).await;
        connected.unwrap_or(Err(ConnectError::Timeout(CONNECT)))
    }

    async fn connect_slowly(&self) -> Result<Connection, ConnectError> {
        let connection = match &self.at {
            At::Place(place) => self.greet(place.dial().await?).await?,
            At::Socket(path) => self.greet(UnixStream::connect(path).await?).await?,
            At::Sentinels(sentinels) => self.master(sentinels).await?,
            At::Cluster(nodes) => {
                return Ok(Connection::of_cluster(nodes.connect(&self.proven().await?).await?));
            }
            At::Node(place, is_of_cluster) => {
                let mut node = self.greet(place.dial().await?).await?;
                if *is_of_cluster {
                    // Else a replica sends who asks to its master.
                    ::redis::cmd("READONLY").query_async::<()>(&mut node.commands).await?;
                }
                return Ok(node);
            }
        };
        if connection.is_cluster().await? == Some(true) { Err(ConnectError::Cluster) } else { Ok(connection) }
    }

    /// A connection to the first that a sentinel names and that is a master. That none knows of one counts only if all say so.
    async fn master(&self, sentinels: &Sentinels) -> Result<Connection, ConnectError> {
        let mut named = sentinels.ask();
        let mut last = None;
        while let Some(place) = named.next().await {
            let connected = async { self.as_master(&place?).await };
            match connected.await {
                Ok(connection) => return Ok(connection),
                Err(ConnectError::UnknownMaster(_)) if last.is_some() => {}
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(ConnectError::Ended))
    }

    async fn as_master(&self, place: &Place) -> Result<Connection, ConnectError> {
        let mut connection = self.greet(place.dial().await?).await?;
        let role = ::redis::cmd("ROLE").query_async::<Vec<Value>>(&mut connection.commands).await;
        let role = role.map(|role| role.first().map(String::from_redis_value_ref).transpose());
        match role {
            Ok(Ok(Some(role))) if role != "master" => {
                Err(ConnectError::NoMaster(format!("{}:{}", place.host, place.port)))
            }
            Err(error) if error.code() != Some("NOPERM") => Err(error.into()),
            // Who may not ask finds out by the first write.
            _ => Ok(connection),
        }
    }

    async fn greet<S>(&self, stream: S) -> Result<Connection, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        greet(&self.proven().await?, stream).await
    }

    /// What is told at first. The password is the one that there is now.
    async fn proven(&self) -> Result<RedisConnectionInfo, ConnectError> {
        let greeting = self.greeting.clone();
        Ok(match &self.password_file {
            Some(file) => greeting.set_password(file.read().await?),
            None => greeting,
        })
    }

    /// Keys lie at several nodes.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.at, At::Cluster(_))
    }

    /// Whether another server may be found in its place, when it says that it isn't the one to ask.
    pub(super) fn is_to_be_left(&self) -> bool {
        !matches!(self.at, At::Cluster(_) | At::Node(..))
    }

    /// Has all connections made anew: this server isn't the one to ask.
    pub(super) fn leave(&self, error: &RedisError) {
        self.left.send_replace(Some(error.to_string().into()));
    }

    /// Told when that happens.
    pub(super) fn left(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.left.subscribe()
    }

    pub(super) fn say_down(&self, why: &impl Display) {
        self.complain(&format!("{}: {why}", self.without));
    }

    /// What is said of it next is news.
    pub(super) fn say_up(&self) {
        self.lines.forget();
    }

    pub(super) fn complain(&self, line: &str) {
        if let Some(left_out) = self.lines.due(line) {
            tracing::warn!(left_out, "{line}");
        }
    }
}

fn wrong(reason: String) -> SettingsError {
    SettingsError::Wrong { flag: FLAG, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_can_never_work_are_refused_and_passwords_not_shown() {
        for (url, named) in [
            ("rediss://:hidden@h:1/#insecure", "certificates are checked"),
            ("rediss://:hidden@h..i/", "no name that a certificate has"),
            ("http://h", "http"),
            ("h:6379", "scheme"),
            ("redis:///", "expected redis://"),
            ("redis://:hidden@h:1/main", "database"),
            ("redis://h/-1", "from 0"),
            ("redis://h:99999", "expected redis://"),
            ("redis://h/?protocol=9", "protocol"),
        ] {
            let line = Endpoint::of(&Reach::by_url(url)).err().unwrap().to_string();
            assert!(line.contains(named) && !line.contains("hidden"), "{url}: {line}");
        }
        for url in ["redis://h", "redis://user:p%40ss@h:1/3", "redis://[::1]:6379/", "unix:///run/redis.sock"]
        {
            assert!(Endpoint::of(&Reach::by_url(url)).is_ok(), "{url}");
        }
    }
}
