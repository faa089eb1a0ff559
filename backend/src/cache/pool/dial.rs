//! A tier's server by name -> a stream to it, encrypted where that is asked for. What is spoken over it is each tier's own.

use std::io;
use std::time::Duration;

use futures_util::future::select_ok;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::settings::{Reach, SettingsError, wrong};
use crate::trust::roots;

/// Resolving the name, connecting and proving oneself may take so long.
pub(super) const CONNECT: Duration = Duration::from_secs(1);
/// After so long without a packet the other side is asked whether it is there, so often, and so many times.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(5), Duration::from_secs(2), 3);
/// The kernel gives up on what was sent and not acknowledged for so long.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// A connection, encrypted or not.
pub(super) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// How a server is reached.
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// The flag that says which CAs are believed.
    ca_flag: &'static str,
}

impl Place {
    /// # Errors
    /// When the connection is encrypted and no certificate can have that host's name.
    pub(super) fn new(
        reach: &Reach,
        (host, port): (String, u16),
        connector: Option<&TlsConnector>,
    ) -> Result<Self, SettingsError> {
        let named = |connector: &TlsConnector| match ServerName::try_from(host.clone()) {
            Ok(name) => Ok((connector.clone(), name)),
            Err(_) => Err(wrong(reach.flags.url, format!("{host:?} is no name that a certificate has"))),
        };
        Ok(Self { tls: connector.map(named).transpose()?, host, port, ca_flag: reach.flags.ca_file })
    }

    /// A stream to whichever of the name's addresses answers first; the name is resolved now.
    pub(super) async fn dial(&self) -> io::Result<Stream> {
        let addresses = tokio::net::lookup_host((self.host.as_str(), self.port)).await?;
        let mut attempts = addresses.map(|address| Box::pin(TcpStream::connect(address))).peekable();
        if attempts.peek().is_none() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        let (stream, _) = select_ok(attempts).await?;
        stream.set_nodelay(true)?;
        let (time, interval, retries) = KEEPALIVE;
        let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(retries);
        let socket = SockRef::from(&stream);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
        let Some((connector, name)) = &self.tls else { return Ok(Either::Left(stream)) };
        let encrypted = connector.connect(name.clone(), stream).await;
        Ok(Either::Right(Box::new(encrypted.map_err(|error| self.explained(error))?)))
    }

    /// Of a certificate that is refused: by which setting.
    fn explained(&self, error: io::Error) -> io::Error {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::InvalidCertificate(_)) => {
                let Self { host, ca_flag, .. } = self;
                let message = format!("{error} (for {host}; {ca_flag} says which CAs are believed)");
                io::Error::new(error.kind(), message)
            }
            _ => error,
        }
    }
}

/// What encrypts connections by a URL whose scheme says so. A file of CAs that nothing reads is a mistake.
///
/// # Errors
/// When it can't be used.
pub(super) fn connector(reach: &Reach, is_encrypted: bool) -> Result<Option<TlsConnector>, SettingsError> {
    let flag = reach.flags.ca_file;
    match (is_encrypted, &reach.ca_file) {
        (true, ca_file) => {
            let connector = roots::connector(ca_file.as_deref(), None);
            Ok(Some(connector.map_err(|error| wrong(flag, error.to_string()))?))
        }
        (false, None) => Ok(None),
        (false, Some(_)) => {
            Err(wrong(flag, format!("is of no use: {} asks for no encryption", reach.flags.url)))
        }
    }
}
