//! A tier's server by name -> a stream to it, encrypted where that is asked for. What is spoken over it is each tier's own.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::select_ok;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::settings::{Reach, SettingsError, wrong};
use crate::trust::{Watched, roots};

/// Resolving the name, connecting and proving oneself may take so long.
pub(super) const CONNECT: Duration = Duration::from_secs(1);
/// After so long without a packet the other side is asked whether it is there, so often, and so many times.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(5), Duration::from_secs(2), 3);
/// The kernel gives up on what was sent and not acknowledged for so long.
pub(super) const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// A connection, encrypted or not.
pub(super) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// How a server is reached.
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    tls: Option<(Arc<Encrypts>, ServerName<'static>)>,
    /// The flag that says which CAs are believed.
    ca_flag: &'static str,
}

/// What encrypts connections. The file of the CAs that are believed is read again when it has changed since the last one was made.
pub(super) struct Encrypts {
    ca_file: Option<PathBuf>,
    believes: Mutex<(Watched, TlsConnector)>,
}

impl Place {
    /// # Errors
    /// When the connection is encrypted and no certificate can have that host's name.
    pub(super) fn new(
        reach: &Reach,
        (host, port): (String, u16),
        encrypts: Option<&Arc<Encrypts>>,
    ) -> Result<Self, SettingsError> {
        let named = |encrypts: &Arc<Encrypts>| match ServerName::try_from(host.clone()) {
            Ok(name) => Ok((encrypts.clone(), name)),
            Err(_) => Err(wrong(reach.flags.url, format!("{host:?} is no name that a certificate has"))),
        };
        Ok(Self { tls: encrypts.map(named).transpose()?, host, port, ca_flag: reach.flags.ca_file })
    }

    /// Another server that is reached as this one is.
    ///
    /// # Errors
    /// When the connection is encrypted and no certificate can have that host's name.
    pub(super) fn another(&self, host: String, port: u16) -> io::Result<Self> {
        let named =
            |(encrypts, _): &(Arc<Encrypts>, ServerName<'static>)| match ServerName::try_from(host.clone()) {
                Ok(name) => Ok((encrypts.clone(), name)),
                Err(error) => Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
            };
        Ok(Self { tls: self.tls.as_ref().map(named).transpose()?, host, port, ca_flag: self.ca_flag })
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
        let Some((encrypts, name)) = &self.tls else { return Ok(Either::Left(stream)) };
        let encrypted = encrypts.now().connect(name.clone(), stream).await;
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

/// A host, and a port where one stands behind it. `None`: it is none.
pub(super) fn address(text: &str, default_port: u16) -> Option<(String, u16)> {
    // An address of version 6 has colons of its own, in brackets.
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, port.strip_prefix(':').or_else(|| port.is_empty().then_some(""))?)
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(is_host) {
        return None;
    }
    let port = if port.is_empty() { default_port } else { port.parse().ok()? };
    Some((host.to_owned(), port))
}

impl Encrypts {
    /// By a URL whose scheme says so. A file of CAs that nothing reads is a mistake.
    ///
    /// # Errors
    /// When it can't be used.
    pub(super) fn of(reach: &Reach, is_encrypted: bool) -> Result<Option<Arc<Self>>, SettingsError> {
        let (flag, ca_file) = (reach.flags.ca_file, reach.ca_file.clone());
        if !is_encrypted {
            let of_no_use = format!("is of no use: {} asks for no encryption", reach.flags.url);
            return ca_file.map_or(Ok(None), |_| Err(wrong(flag, of_no_use)));
        }
        let watched = Watched::new(&ca_file);
        let connector = roots::connector(ca_file.as_deref(), None);
        let connector = connector.map_err(|error| wrong(flag, error.to_string()))?;
        Ok(Some(Arc::new(Self { ca_file, believes: Mutex::new((watched, connector)) })))
    }

    /// What can't be used leaves what there was.
    fn now(&self) -> TlsConnector {
        let mut believes = self.believes.lock().unwrap_or_else(PoisonError::into_inner);
        let (watched, connector) = &mut *believes;
        if watched.look() {
            match roots::connector(self.ca_file.as_deref(), None) {
                Ok(another) => *connector = another,
                Err(error) => {
                    tracing::error!("the file of the pool's CAs changed and can't be used: {error}");
                }
            }
        }
        connector.clone()
    }
}
