//! One connection over HTTP/2, one unary call at a time. A message with its prefix enters, the answer's message leaves.

use std::future::poll_fn;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use tokio::task::JoinHandle;

use super::{Answer, ConnectionError, Status, Stream};

/// What a server may send before it is read: more than most answers, so that none waits for a window.
const WINDOW: u32 = 4 << 20;
/// A message's flag and length.
const PREFIX: usize = 5;

pub(in crate::client) struct Grpc {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<()>,
    message: Vec<u8>,
    cache_status: Vec<u8>,
    age: Vec<u8>,
    max_bytes: usize,
}

impl Drop for Grpc {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Grpc {
    /// # Errors
    /// [`ConnectionError::Http2`].
    pub(super) async fn start(stream: Stream, max_bytes: usize) -> Result<Self, ConnectionError> {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(4 * WINDOW).enable_push(false);
        let (requests, connection) = builder.handshake(stream).await.map_err(broken)?;
        let connection = tokio::spawn(async move {
            // What ends it is told to the call that waits.
            let _ = connection.await;
        });
        let (message, cache_status, age) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { requests, connection, message, cache_status, age, max_bytes })
    }

    /// Not so when the server said that it goes away, or is gone.
    pub(super) fn is_open(&self) -> bool {
        !self.connection.is_finished()
    }

    /// # Errors
    /// [`ConnectionError::Http2`], [`ConnectionError::NotGrpc`], [`ConnectionError::TooLarge`].
    pub(super) async fn ask(
        &mut self,
        call: &Request<()>,
        message: Bytes,
    ) -> Result<Answer<'_>, ConnectionError> {
        poll_fn(|context| self.requests.poll_ready(context)).await.map_err(broken)?;
        let (response, mut body) = self.requests.send_request(call.clone(), false).map_err(broken)?;
        body.send_data(message, true).map_err(broken)?;
        let (head, mut stream) = response.await.map_err(broken)?.into_parts();
        self.keep(&head.headers);
        if !head.status.is_success() {
            self.message.clear();
            return Ok(self.answer(Status::Http(head.status.as_u16())));
        }
        self.read(&mut stream).await?;
        let trailers = stream.trailers().await.map_err(broken)?;
        // A call that fails at once has its status in the headers.
        let trailers = trailers.as_ref().unwrap_or(&head.headers);
        let Some(code) = trailers.get("grpc-status").and_then(|code| code.to_str().ok()?.parse().ok()) else {
            return Err(ConnectionError::NotGrpc("it has no grpc-status"));
        };
        if code != 0 {
            let said = trailers.get("grpc-message").map(|said| unescaped(said.as_bytes()));
            self.message = said.unwrap_or_default();
            return Ok(self.answer(Status::Grpc(code)));
        }
        match self.message.first_chunk() {
            Some([0, a, b, c, d])
                if u32::from_be_bytes([*a, *b, *c, *d]) as usize + PREFIX == self.message.len() => {}
            Some([1, ..]) => {
                return Err(ConnectionError::NotGrpc(
                    "its message is compressed, though nobody asked for it",
                ));
            }
            _ => return Err(ConnectionError::NotGrpc("its message is not as long as it says")),
        }
        let mut answer = self.answer(Status::Grpc(code));
        answer.body = &answer.body[PREFIX..];
        Ok(answer)
    }

    async fn read(&mut self, stream: &mut RecvStream) -> Result<(), ConnectionError> {
        self.message.clear();
        while let Some(part) = stream.data().await {
            let part = part.map_err(broken)?;
            if part.len() > self.max_bytes.saturating_sub(self.message.len()) {
                return Err(ConnectionError::TooLarge(self.max_bytes));
            }
            stream.flow_control().release_capacity(part.len()).map_err(broken)?;
            self.message.extend_from_slice(&part);
        }
        Ok(())
    }

    fn keep(&mut self, headers: &HeaderMap) {
        self.cache_status.clear();
        for value in headers.get_all("cache-status") {
            if !self.cache_status.is_empty() {
                self.cache_status.extend_from_slice(b", ");
            }
            self.cache_status.extend_from_slice(value.as_bytes());
        }
        self.age.clear();
        self.age.extend_from_slice(headers.get("age").map_or(b"", |value| value.as_bytes()));
    }

    fn answer(&self, status: Status) -> Answer<'_> {
        let (cache_status, age, body) = (&self.cache_status[..], &self.age[..], &self.message[..]);
        Answer { status, cache_status, age, header_length: None, body }
    }
}

/// A connection that ended is told as over HTTP/1.1.
fn broken(error: h2::Error) -> ConnectionError {
    if error.is_io() {
        ConnectionError::Closed(error.into_io().unwrap_or_else(|| std::io::ErrorKind::BrokenPipe.into()))
    } else {
        ConnectionError::Http2(error)
    }
}

/// gRPC's messages of a status have %-escapes.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().filter(|_| *byte == b'%');
        let escaped =
            digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        plain.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_it_says_without_escapes() {
        assert_eq!(unescaped(b"50%25 of %C3%A4 % %g1"), "50% of ä % %g1".as_bytes());
    }
}
