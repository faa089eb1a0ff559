//! A client in the name of a certificate.

use rig::http::{Answer, Connection, connect};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::sync::Arc;

/// Sends one request on a connection of its own, over TLS.
///
/// # Errors
/// The other side refuses the certificate or the connection, or no whole answer comes.
///
/// # Panics
/// rustls refuses the settings.
pub fn send(client: &Arc<ClientConfig>, port: u16, request: &[u8]) -> std::io::Result<Answer> {
    let name = "localhost".try_into().expect("a name");
    let tls = ClientConnection::new(client.clone(), name).expect("a client");
    let mut connection = Connection::over(StreamOwned::new(tls, connect(port)?));
    connection.write(request)?;
    connection.read()
}
