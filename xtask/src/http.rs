//! Requests to servers on the loopback: a URL enters, an answer leaves.

use std::cell::RefCell;

use anyhow::{Context, Result};
use rig::http::{Answer, Connection, Headers, request};

/// A client that keeps its connection.
#[derive(Default)]
pub(crate) struct Client(RefCell<Option<(u16, Connection)>>);

impl Client {
    /// # Errors
    /// Nothing answers there.
    pub(crate) fn get(&self, url: &str) -> Result<Answer> {
        self.send("GET", url, &[], b"")
    }

    /// # Errors
    /// Nothing answers there.
    pub(crate) fn post(&self, url: &str, headers: Headers<'_>, body: &[u8]) -> Result<Answer> {
        self.send("POST", url, headers, body)
    }

    fn send(&self, method: &str, url: &str, headers: Headers<'_>, body: &[u8]) -> Result<Answer> {
        let (port, path) = parts(url).with_context(|| format!("{url} names no port of the loopback"))?;
        let request = request(method, path, headers, body);
        let kept = self.0.take().filter(|(of, _)| *of == port);
        // The server may have closed it.
        let answered = match kept.and_then(|(_, kept)| ask(kept, &request).ok()) {
            Some(answered) => Ok(answered),
            None => Connection::open(port).and_then(|new| ask(new, &request)),
        };
        let (connection, answer) = answered.with_context(|| format!("{method} {url}"))?;
        if answer.header("connection") != "close" {
            self.0.replace(Some((port, connection)));
        }
        Ok(answer)
    }
}

/// The port, and the rest of the URL.
fn parts(url: &str) -> Option<(u16, &str)> {
    let rest = url.strip_prefix("http://127.0.0.1:")?;
    let (port, path) = rest.split_at(rest.find('/')?);
    Some((port.parse().ok()?, path))
}

fn ask(mut connection: Connection, request: &[u8]) -> std::io::Result<(Connection, Answer)> {
    connection.write(request)?;
    let answer = connection.read()?;
    Ok((connection, answer))
}
