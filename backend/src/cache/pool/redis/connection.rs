//! A connection to Redis, and why there is none. A stream enters, and what is told over it first; what commands go by leaves.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::cluster_async::ClusterConnection;
use ::redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use super::commands::Commands;
use super::why;
use crate::settings::SettingsError;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0}")]
    Redis(#[from] RedisError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Password(#[from] SettingsError),
    #[error("it did not answer within {0:?}")]
    Timeout(Duration),
    #[error("it is in cluster mode: name its nodes by redis+cluster://")]
    Cluster,
    #[error("it is not in cluster mode: name it by redis://")]
    NoCluster,
    #[error("no sentinel knows a master {0:?}")]
    UnknownMaster(String),
    #[error("{0} is no master, though a sentinel says so")]
    NoMaster(String),
    #[error("the connection was lost: {0}")]
    Lost(Arc<str>),
    #[error("the master is reached by a socket of this machine, and its replicas are not")]
    NoNetwork,
    #[error("this program ends")]
    Ended,
}

impl ConnectError {
    pub(super) fn is_proof(&self) -> bool {
        matches!(self, Self::Redis(error) if why::is_proof(error))
    }

    /// Whether trying again is of no use until settings change.
    pub(super) fn is_setting(&self) -> bool {
        match self {
            Self::Redis(error) => why::is_setting(error),
            Self::Cluster | Self::NoCluster | Self::UnknownMaster(_) | Self::NoNetwork => true,
            // A password that is rotated, a certificate too, may be right a moment later.
            Self::Io(_)
            | Self::Password(_)
            | Self::Timeout(_)
            | Self::NoMaster(_)
            | Self::Lost(_)
            | Self::Ended => false,
        }
    }
}

/// A connection. It is closed when the last handle goes.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) commands: Commands,
    /// One server's; a cluster's drives itself.
    _driver: Option<Arc<AbortOnDropHandle<()>>>,
}

impl Connection {
    pub(super) fn of_cluster(nodes: ClusterConnection) -> Self {
        Self { commands: Commands::Cluster(nodes), _driver: None }
    }

    /// Whether it is in cluster mode; nothing if the user may not know: the first command will tell.
    pub(super) async fn is_cluster(&self) -> Result<Option<bool>, ConnectError> {
        let mut ask = ::redis::cmd("INFO");
        match ask.arg("cluster").query_async::<String>(&mut self.commands.clone()).await {
            Ok(info) => Ok(Some(info.contains("cluster_enabled:1"))),
            Err(error) if error.code() == Some("NOPERM") => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// A connection over that stream, to whom that is told first.
pub(super) async fn greet<S>(greeting: &RedisConnectionInfo, stream: S) -> Result<Connection, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Deadlines are the callers', each its own.
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let (commands, driver) = MultiplexedConnection::new_with_config(greeting, stream, config).await?;
    let driver = Some(Arc::new(AbortOnDropHandle::new(tokio::spawn(driver))));
    Ok(Connection { commands: Commands::One(commands), _driver: driver })
}
