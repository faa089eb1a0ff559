//! Redis in cluster mode: some of its nodes enter, from a URL; a connection that finds the others and follows keys as they move leaves. Each
//! key is at the node that has its slot, so commands of several keys go to several nodes; what scripts touch together has a tag
//! and lies at one. Next: `link` keeps the connection.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::redis::cluster::ClusterClient;
use ::redis::cluster_async::ClusterConnection;
use ::redis::io::tcp::TcpSettings;
use ::redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo, TlsCertificates, TlsMode,
};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::connection::{ConnectError, greet};
use super::listed::Listed;
use crate::cache::pool::dial::{CONNECT, Encrypts, Place, UNACKNOWLEDGED};
use crate::settings::{Reach, SettingsError};

const DEFAULT_PORT: u16 = 6379;
const EXPECTED: &str =
    "expected redis+cluster://[user:password@]host[:port][,host[:port]...], or rediss+cluster:// for TLS";
/// A node that takes longer is asked no more, and the others for who has its slots.
const ANSWER: Duration = Duration::from_secs(1);

/// Nodes by which the others are found.
pub(super) struct Nodes {
    places: Vec<Place>,
    is_encrypted: bool,
    ca_file: Option<PathBuf>,
}

impl Nodes {
    /// By what follows the scheme. Beside them what each node is told at first.
    ///
    /// # Errors
    /// For what can never work; no password is shown.
    pub(super) fn of(
        reach: &Reach,
        rest: &str,
        encrypts: Option<&Arc<Encrypts>>,
    ) -> Result<(Self, RedisConnectionInfo), SettingsError> {
        let listed = Listed::read(reach, rest, DEFAULT_PORT, EXPECTED)?;
        if !listed.path.is_empty() {
            return Err(listed.refused("a cluster has one database, which has no name"));
        }
        let greeting = listed.greeting("")?;
        let places = listed.places(encrypts)?;
        Ok((Self { places, is_encrypted: encrypts.is_some(), ca_file: reach.ca_file.clone() }, greeting))
    }

    /// One of them.
    pub(super) fn place(&self) -> Option<&Place> {
        self.places.first()
    }

    /// A connection to all nodes that there are. One is greeted before: the client tells errors of connecting by their words alone.
    pub(super) async fn connect(
        &self,
        greeting: &RedisConnectionInfo,
    ) -> Result<ClusterConnection, ConnectError> {
        self.greet_one(greeting).await?;
        let nodes = self.places.iter().map(|place| self.node(place)).collect::<Result<Vec<_>, _>>()?;
        let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(UNACKNOWLEDGED);
        let mut builder = ClusterClient::builder(nodes)
            .connection_timeout(CONNECT)
            .response_timeout(ANSWER)
            .use_protocol(greeting.protocol())
            .tcp_settings(tcp);
        if let Some(user) = greeting.username() {
            builder = builder.username(user);
        }
        if let Some(password) = greeting.password() {
            builder = builder.password(password);
        }
        if self.is_encrypted {
            builder = builder.tls(TlsMode::Secure);
        }
        if let Some(file) = &self.ca_file {
            let root_cert = Some(tokio::fs::read(file).await?);
            builder = builder.certs(TlsCertificates { client_tls: None, root_cert });
        }
        Ok(builder.build()?.get_async_connection().await?)
    }

    async fn greet_one(&self, greeting: &RedisConnectionInfo) -> Result<(), ConnectError> {
        let mut greeted: FuturesUnordered<_> =
            self.places.iter().map(|place| async { greet(greeting, place.dial().await?).await }).collect();
        let mut last = Err(ConnectError::Ended);
        while let Some(connection) = greeted.next().await {
            last = match connection {
                Ok(connection) => match connection.is_cluster().await {
                    Ok(Some(false)) => Err(ConnectError::NoCluster),
                    Ok(_) => return Ok(()),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
        }
        last
    }

    fn node(&self, place: &Place) -> Result<ConnectionInfo, ConnectError> {
        let (host, port) = (place.host.clone(), place.port);
        let address = if self.is_encrypted {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        Ok(address.into_connection_info()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rest: &str) -> Result<(Nodes, RedisConnectionInfo), String> {
        let reach = Reach::by_url(&format!("redis+cluster://{rest}"));
        Nodes::of(&reach, rest, None).map_err(|error| error.to_string())
    }

    #[test]
    fn a_url_names_nodes_and_what_they_are_told() {
        let (nodes, greeting) = read("app:p%40ss@a,b:1").unwrap();
        let places: Vec<_> = nodes.places.iter().map(|place| (place.host.as_str(), place.port)).collect();
        assert_eq!(places, [("a", 6379), ("b", 1)]);
        assert_eq!((greeting.username(), greeting.password()), (Some("app"), Some("p@ss")));
        for (rest, named) in [(":hidden@a/1", "one database"), (":hidden@a,,b", "is no server")] {
            let line = read(rest).err().unwrap();
            assert!(line.contains(named) && !line.contains("hidden"), "{rest}: {line}");
        }
    }
}
