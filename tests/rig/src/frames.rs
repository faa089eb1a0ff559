//! gRPC's calls as frames of HTTP/2 (RFC 9113): calls are begun and cancelled, as many at once and as fast as no client's library
//! can, and frames come back as they are.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::http::connect;

/// What every call's headers say.
pub const CALL: [(&str, &str); 2] = [("content-type", "application/grpc"), ("te", "trailers")];

const DATA: u8 = 0;
/// A head or trailers.
pub const HEADERS: u8 = 1;
/// A stream ends here, unanswered.
pub const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
/// The connection ends.
pub const GOAWAY: u8 = 7;
/// A flag of what is the last of a stream; of SETTINGS and PING it is ACK.
pub const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The reason of a reset: the client wants the answer no more.
const CANCEL: u32 = 8;

/// A connection whose frames are written as they are, so many at a time as are wanted.
pub struct Connection {
    stream: TcpStream,
    unsent: Vec<u8>,
    next: u32,
}

/// What the other side sent.
#[derive(Debug)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Flags of that type.
    pub flags: u8,
    /// Whose it is; 0 of the connection.
    pub stream: u32,
    /// The rest.
    pub payload: Vec<u8>,
}

impl Connection {
    /// Connects to a port of the loopback.
    ///
    /// # Errors
    /// Nothing listens there.
    pub fn open(port: u16) -> std::io::Result<Self> {
        let unsent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let mut connection = Self { stream: connect(port)?, unsent, next: 1 };
        connection.put(SETTINGS, 0, 0, &[]);
        Ok(connection)
    }

    fn put(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.unsent.extend(&length(payload)[1..]);
        self.unsent.extend([kind, flags]);
        self.unsent.extend(stream.to_be_bytes());
        self.unsent.extend(payload);
    }

    /// The head of a call of `service/name`; its stream.
    pub fn put_call(&mut self, method: &str) -> u32 {
        let stream = self.next;
        self.next += 2;
        let path = format!("/{method}");
        let pseudo = [(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", &*path)];
        // Literals without indexing.
        let text = |text: &str| [&length(text.as_bytes())[3..], text.as_bytes()].concat();
        let block = pseudo.iter().chain(&CALL).flat_map(|(name, value)| [vec![0], text(name), text(value)]);
        self.put(HEADERS, END_HEADERS, stream, &block.collect::<Vec<_>>().concat());
        stream
    }

    /// The message of a call, its last.
    pub fn put_message(&mut self, stream: u32, message: &[u8]) {
        self.put(DATA, END_STREAM, stream, &framed(message));
    }

    /// Cancels a call.
    pub fn put_reset(&mut self, stream: u32) {
        self.put(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
    }

    /// Sends all that was put. What can't be sent shows in what is received: the other side says why it ended the connection.
    pub fn send(&mut self) {
        let _ = self.stream.write_all(&std::mem::take(&mut self.unsent));
    }

    /// The next frame.
    ///
    /// # Errors
    /// The other side has closed.
    pub fn receive(&mut self) -> std::io::Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload)?;
        let frame = Frame { kind, flags, stream: u32::from_be_bytes(stream), payload };
        if [SETTINGS, PING].contains(&kind) && flags & END_STREAM == 0 {
            let echo = if kind == PING { frame.payload.clone() } else { Vec::new() };
            self.put(kind, END_STREAM, 0, &echo);
            self.send();
        }
        Ok(frame)
    }

    /// Sends all that was put, and waits until the other side has read it.
    ///
    /// # Errors
    /// It has closed.
    pub fn until_read(&mut self) -> std::io::Result<()> {
        self.put(PING, 0, 0, &[0; 8]);
        self.send();
        loop {
            let frame = self.receive()?;
            if frame.kind == PING && frame.flags & END_STREAM > 0 {
                return Ok(());
            }
        }
    }
}

/// A message with gRPC's prefix: not compressed, and how long it is.
pub fn framed(message: &[u8]) -> Vec<u8> {
    [&[0][..], &length(message), message].concat()
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("few bytes").to_be_bytes()
}
