//! The Redis that the settings name -> three connections to it: lookups don't wait for writes, nor heartbeats for either.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::io::tcp::TcpSettings;
use ::redis::io::tcp::socket2::TcpKeepalive;
use ::redis::{AsyncConnectionConfig, Client, IntoConnectionInfo as _, RedisError};
use tokio::sync::watch;

use super::link::Link;
use super::why;
use crate::observe::logs::Seldom;
use crate::settings::SettingsError;

/// Where the URL comes from.
const FLAG: &str = "--redis-url";
/// Without TLS: a mesh or a tunnel does it.
const SCHEMES: [&str; 5] = ["redis", "valkey", "unix", "redis+unix", "valkey+unix"];
/// Resolving the name, connecting and proving oneself may take so long.
const CONNECT: Duration = Duration::from_secs(1);
/// After so long without a packet the other side is asked whether it is there, so often, and so many times.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(5), Duration::from_secs(2), 3);
/// The kernel gives up on what was sent and not acknowledged for so long.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0}")]
    Redis(#[from] RedisError),
    #[error("it did not answer within {0:?}")]
    Timeout(Duration),
    #[error("it is in cluster mode, which is not supported: name a server with cluster-enabled no")]
    Cluster,
    #[error("the connection was lost: {0}")]
    Lost(Arc<str>),
    #[error("this program ends")]
    Ended,
}

impl ConnectError {
    /// Whether trying again is of no use until settings change.
    fn is_setting(&self) -> bool {
        match self {
            Self::Redis(error) => why::is_setting(error),
            Self::Cluster => true,
            Self::Timeout(_) | Self::Lost(_) | Self::Ended => false,
        }
    }
}

/// The server and the connections to it.
#[derive(Clone)]
pub(crate) struct Server {
    endpoint: Arc<Endpoint>,
    pub(crate) lookups: Link,
    /// Entries, and what proxies report.
    pub(crate) writes: Link,
    /// What is live, said and heard.
    pub(crate) generations: Link,
}

/// How to reach the server.
pub(super) struct Endpoint {
    client: Client,
    /// Told when another server must be looked for under the same name.
    left: watch::Sender<Option<Arc<str>>>,
    lines: Seldom,
}

impl Server {
    /// Connects to the server of that URL. One that can't be reached is tried again for ever. Must be called inside a runtime.
    ///
    /// # Errors
    /// For a URL that can't be used, and for what the server says of it when it is there: a wrong password, a database that it
    /// doesn't have, a cluster.
    pub(crate) async fn open(url: &str) -> Result<Self, SettingsError> {
        let server = Self::start(url)?;
        for link in [&server.lookups, &server.writes, &server.generations] {
            match link.first().await {
                Err(error) if error.is_setting() => return Err(wrong(error.to_string())),
                _ => {}
            }
        }
        Ok(server)
    }

    fn start(url: &str) -> Result<Self, SettingsError> {
        let (left, _) = watch::channel(None);
        let endpoint = Arc::new(Endpoint { client: client(url)?, left, lines: Seldom::new() });
        let link = |name| Link::start(endpoint.clone(), name);
        let (lookups, writes, generations) = (link("lookups"), link("writes"), link("generations"));
        Ok(Self { endpoint, lookups, writes, generations })
    }

    /// Why the pool can't be used, if so.
    pub(crate) fn trouble(&self) -> Option<String> {
        let links = [("lookups", &self.lookups), ("generations", &self.generations)];
        links.iter().find_map(|(name, link)| Some(format!("the pool ({name}): {}", link.trouble()?)))
    }

    /// Logs what went wrong with the server though it answers; one line a second at most.
    pub(crate) fn complain(&self, line: &str) {
        self.endpoint.complain(line);
    }
}

impl Endpoint {
    /// A connection that works: names resolved, password taken, database there, no cluster.
    pub(super) async fn connect(&self) -> Result<MultiplexedConnection, ConnectError> {
        let connected = tokio::time::timeout(CONNECT, self.connect_slowly()).await;
        connected.unwrap_or(Err(ConnectError::Timeout(CONNECT)))
    }

    async fn connect_slowly(&self) -> Result<MultiplexedConnection, ConnectError> {
        // Deadlines are the callers', each its own.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        match ::redis::cmd("INFO").arg("cluster").query_async::<String>(&mut connection).await {
            Ok(info) if info.contains("cluster_enabled:1") => Err(ConnectError::Cluster),
            // Who may not ask finds out by the first command.
            Err(error) if error.code() != Some("NOPERM") => Err(error.into()),
            _ => Ok(connection),
        }
    }

    /// Has all connections made anew: this server isn't the one to ask.
    pub(super) fn leave(&self, error: &RedisError) {
        self.left.send_replace(Some(error.to_string().into()));
    }

    /// Told when that happens.
    pub(super) fn left(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.left.subscribe()
    }

    pub(super) fn say_down(&self, error: &ConnectError) {
        self.complain(&format!("the pool can't be used: {error}"));
    }

    /// What is said of it next is news.
    pub(super) fn say_up(&self) {
        self.lines.forget();
    }

    fn complain(&self, line: &str) {
        if let Some(left_out) = self.lines.due(line) {
            tracing::warn!(left_out, "{line}");
        }
    }
}

fn client(url: &str) -> Result<Client, SettingsError> {
    // The URL isn't shown: there may be a password in it.
    let expected = "expected redis://[user:password@]host[:port][/database]";
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    if !SCHEMES.contains(&scheme) {
        return Err(wrong(format!("the scheme {scheme:?} is not spoken; {expected}")));
    }
    let info = url.into_connection_info().map_err(|error| wrong(format!("{error}; {expected}")))?;
    if info.redis_settings().db() < 0 {
        return Err(wrong(format!("a database has a number from 0; {expected}")));
    }
    let (time, interval, retries) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(retries);
    let tcp =
        TcpSettings::default().set_nodelay(true).set_keepalive(keepalive).set_user_timeout(UNACKNOWLEDGED);
    Client::open(info.set_tcp_settings(tcp)).map_err(|error| wrong(error.to_string()))
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
            ("rediss://:hidden@h:1", "rediss"),
            ("http://h", "http"),
            ("h:6379", "scheme"),
            ("redis:///", "expected redis://"),
            ("redis://:hidden@h:1/main", "database"),
            ("redis://h/-1", "from 0"),
            ("redis://h:99999", "expected redis://"),
            ("redis://h/?protocol=9", "protocol"),
        ] {
            let line = client(url).unwrap_err().to_string();
            assert!(line.contains(named) && !line.contains("hidden"), "{url}: {line}");
        }
        for url in ["redis://h", "redis://user:p%40ss@h:1/3", "redis://[::1]:6379/", "unix:///run/redis.sock"]
        {
            assert!(client(url).is_ok(), "{url}");
        }
    }
}
