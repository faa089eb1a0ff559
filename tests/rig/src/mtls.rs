//! A client by TLS, in the name of a certificate where it has one.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::http::{Answer, Connection, connect};

/// Sends one request on a connection of its own, over TLS.
///
/// # Errors
/// The other side refuses the certificate or the connection, or no whole answer comes.
///
/// # Panics
/// rustls refuses the settings.
pub fn send(client: &Arc<ClientConfig>, port: u16, request: &[u8]) -> std::io::Result<Answer> {
    let mut connection = Connection::over(StreamOwned::new(tls(client), connect(port)?));
    connection.write(request)?;
    connection.read()
}

/// The certificate that is shown to who connects now, if it is one that the client believes.
pub fn shown(client: &Arc<ClientConfig>, port: u16) -> Option<CertificateDer<'static>> {
    let (mut tls, mut stream) = (tls(client), connect(port).ok()?);
    tls.complete_io(&mut stream).ok()?;
    Some(tls.peer_certificates()?.first()?.clone().into_owned())
}

fn tls(client: &Arc<ClientConfig>) -> ClientConnection {
    let name = "localhost".try_into().expect("a name");
    ClientConnection::new(client.clone(), name).expect("a client")
}
