//! One connection over HTTP/1.1. A request's bytes go out as they are; of the answer the parts that count are found in the buffer
//! that it came into, so that a request costs three system calls and no allocation.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Waker};

use bytes::BytesMut;
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};

use super::{Answer, ConnectionError, Status, Stream};

/// Headers of an answer that are taken.
const MAX_HEADERS: usize = 128;
/// Bytes that a read has room for at least.
const READ: usize = 16 << 10;

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Framing {
    Length(usize),
    Chunked,
    #[default]
    UntilClosed,
}

/// What counts of an answer's head; positions are in the buffer.
#[derive(Debug, Default)]
struct Head {
    status: u16,
    end: usize,
    framing: Framing,
    is_last: bool,
    header_length: Option<usize>,
    age: Range<usize>,
}

pub(in crate::client) struct Http1 {
    stream: Stream,
    buffer: BytesMut,
    /// A chunked body without its framing.
    joined: Vec<u8>,
    cache_status: Vec<u8>,
    max_bytes: usize,
    is_open: bool,
}

impl Http1 {
    pub(super) fn new(stream: Stream, max_bytes: usize) -> Self {
        let buffer = BytesMut::with_capacity(READ);
        Self { stream, buffer, joined: Vec::new(), cache_status: Vec::new(), max_bytes, is_open: true }
    }

    /// Not so when the server said that it closes, or has closed; what it sends unasked is no answer of the next request.
    pub(super) fn is_open(&mut self) -> bool {
        let (mut byte, mut nobody) = ([0], Context::from_waker(Waker::noop()));
        self.is_open
            && Pin::new(&mut self.stream).poll_read(&mut nobody, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// # Errors
    /// [`ConnectionError::Closed`], [`ConnectionError::NotHttp`], [`ConnectionError::TooLarge`].
    pub(super) async fn ask(&mut self, request: &[u8]) -> Result<Answer<'_>, ConnectionError> {
        self.is_open = false;
        self.buffer.clear();
        // A server may refuse a body before it is sent whole; its answer counts.
        let sent = self.stream.write_all(request).await;
        let head = match self.head().await {
            Err(ConnectionError::Closed(closed)) => {
                return Err(ConnectionError::Closed(sent.err().unwrap_or(closed)));
            }
            head => head?,
        };
        let body = self.body(&head).await?;
        self.is_open = !head.is_last && head.framing != Framing::UntilClosed && sent.is_ok();
        Ok(Answer {
            status: Status::Http(head.status),
            cache_status: &self.cache_status,
            age: &self.buffer[head.age.clone()],
            header_length: head.header_length,
            body: if head.framing == Framing::Chunked { &self.joined } else { &self.buffer[body] },
        })
    }

    /// Reads until there is a head that isn't an interim one.
    async fn head(&mut self) -> Result<Head, ConnectionError> {
        loop {
            self.read().await?;
            while !self.buffer.is_empty()
                && let Some(head) = parse(&self.buffer, &mut self.cache_status)?
            {
                if head.status >= 200 {
                    return Ok(head);
                }
                let _interim = self.buffer.split_to(head.end);
            }
        }
    }

    async fn body(&mut self, head: &Head) -> Result<Range<usize>, ConnectionError> {
        match head.framing {
            Framing::Length(length) => {
                if length > self.max_bytes {
                    return Err(ConnectionError::TooLarge(self.max_bytes));
                }
                let end = head.end + length;
                self.buffer.reserve(end.saturating_sub(self.buffer.len()));
                while self.buffer.len() < end {
                    self.read().await?;
                }
                Ok(head.end..end)
            }
            Framing::Chunked => {
                self.joined.clear();
                let mut at = head.end;
                while self.chunk(&mut at).await? {}
                Ok(0..0)
            }
            Framing::UntilClosed => loop {
                match self.read().await {
                    Ok(()) => {}
                    Err(ConnectionError::Closed(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        return Ok(head.end..self.buffer.len());
                    }
                    Err(error) => return Err(error),
                }
            },
        }
    }

    /// Takes a chunk that begins at `at`; false when it was the last.
    async fn chunk(&mut self, at: &mut usize) -> Result<bool, ConnectionError> {
        let (begin, size) = loop {
            match httparse::parse_chunk_size(&self.buffer[*at..]) {
                Ok(httparse::Status::Complete((begin, size))) => break (*at + begin, size),
                Ok(httparse::Status::Partial) => self.read().await?,
                Err(_) => return Err(ConnectionError::NotHttp("a chunk without its size".to_owned())),
            }
        };
        if size == 0 {
            return self.trailers(begin).await.map(|()| false);
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > self.max_bytes.saturating_sub(self.joined.len()) {
            return Err(ConnectionError::TooLarge(self.max_bytes));
        }
        while self.buffer.len() < begin + size + 2 {
            self.read().await?;
        }
        self.joined.extend_from_slice(&self.buffer[begin..begin + size]);
        *at = begin + size + 2;
        Ok(true)
    }

    /// Reads to the empty line that ends them.
    async fn trailers(&mut self, mut at: usize) -> Result<(), ConnectionError> {
        loop {
            match self.buffer[at..].iter().position(|byte| *byte == b'\n') {
                Some(0) => return Ok(()),
                Some(1) if self.buffer[at] == b'\r' => return Ok(()),
                Some(end) => at += end + 1,
                None => self.read().await?,
            }
        }
    }

    async fn read(&mut self) -> Result<(), ConnectionError> {
        if self.buffer.len() > self.max_bytes.saturating_mul(2).saturating_add(READ) {
            return Err(ConnectionError::TooLarge(self.max_bytes));
        }
        if self.buffer.capacity() - self.buffer.len() < READ / 2 {
            self.buffer.reserve(READ);
        }
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(ConnectionError::Closed(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(ConnectionError::Closed(error)),
        }
    }
}

/// Reads a head; `None` when more of it is to come.
fn parse(buffer: &[u8], cache_status: &mut Vec<u8>) -> Result<Option<Head>, ConnectionError> {
    let wrong = |what: String| ConnectionError::NotHttp(what);
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(buffer).map_err(|error| wrong(error.to_string()))?;
    let httparse::Status::Complete(end) = parsed else { return Ok(None) };
    cache_status.clear();
    let mut head = Head { status: response.code.unwrap_or(0), end, ..Head::default() };
    head.is_last = response.version != Some(1);
    let mut length = None;
    for header in response.headers.iter() {
        let (name, value) = (header.name, header.value);
        if name.eq_ignore_ascii_case("content-length") {
            length =
                Some(number(value).ok_or_else(|| wrong("a Content-Length that is no number".to_owned()))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("connection") {
            head.is_last |= value.eq_ignore_ascii_case(b"close");
        } else if name.eq_ignore_ascii_case("cache-status") {
            if !cache_status.is_empty() {
                cache_status.extend_from_slice(b", ");
            }
            cache_status.extend_from_slice(value);
        } else if name.eq_ignore_ascii_case("age") {
            let begin = value.as_ptr() as usize - buffer.as_ptr() as usize;
            head.age = begin..begin + value.len();
        } else if name.eq_ignore_ascii_case("inference-header-content-length") {
            head.header_length = number(value);
        }
    }
    if head.framing != Framing::Chunked {
        let empty = matches!(head.status, 100..=199 | 204 | 304).then_some(0);
        head.framing = empty.or(length).map_or(Framing::UntilClosed, Framing::Length);
    }
    Ok(Some(head))
}

fn number(value: &[u8]) -> Option<usize> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
