//! What a connection writes in one turn of its task -> one write to the socket. HTTP/2 flushes after each large frame, so an
//! answer over gRPC would be two system calls, and those of several streams many; each of them wakes the client.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// More than this is written at once, without a copy: so much costs less than a system call to copy.
const HELD_BYTES: usize = 16 << 10;
/// Pieces that are handed to the kernel together.
const PIECES: usize = 16;

/// A stream that holds back what is written to it, until the turn ends ([`run`]) or it is too much. Both ends of it are one
/// task's, so the lock is always free.
pub(super) struct Corked<S>(Arc<Mutex<Held<S>>>);

struct Held<S> {
    stream: S,
    bytes: BytesMut,
    /// Something was written since the last flush.
    is_dirty: bool,
    /// The connection waits for the client to take what it wrote; it will write again.
    is_blocked: bool,
}

impl<S> Corked<S> {
    pub(super) fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(Held {
            stream,
            bytes: BytesMut::new(),
            is_dirty: false,
            is_blocked: false,
        })))
    }

    /// The other end, for [`run`].
    pub(super) fn uncork(&self) -> Self {
        Self(self.0.clone())
    }

    fn held(&self) -> MutexGuard<'_, Held<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a connection over a corked stream; what it wrote is sent after each of its turns.
///
/// # Errors
/// The connection's, or that of a write which it didn't wait for.
pub(super) async fn run<S, E>(
    connection: impl Future<Output = Result<(), E>>,
    uncork: Corked<S>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncWrite + Unpin,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connection = std::pin::pin!(connection);
    let mut ended = None;
    poll_fn(|cx| {
        if ended.is_none()
            && let Poll::Ready(outcome) = connection.as_mut().poll(cx)
        {
            ended = Some(outcome);
        }
        let sent = uncork.held().send(cx);
        match (ended.take(), sent) {
            (Some(Err(error)), _) => Poll::Ready(Err(error.into())),
            (_, Poll::Ready(Err(error))) => Poll::Ready(Err(error.into())),
            (Some(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            (still, _) => {
                ended = still;
                Poll::Pending
            }
        }
    })
    .await
}

impl<S: AsyncWrite + Unpin> Held<S> {
    /// Sends what is held.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.bytes.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.bytes))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.bytes.advance(sent);
            self.is_dirty = true;
        }
        // Not while the connection waits: a flush that succeeds ends the time that a client has to take what it is sent.
        if self.is_dirty && !self.is_blocked {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.is_dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what is held and as much of `pieces` as goes along; how much of `pieces` that was.
    fn send_with(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let mut all = [IoSlice::new(&[]); PIECES];
            all[0] = IoSlice::new(&self.bytes);
            for (place, piece) in all[1..].iter_mut().zip(pieces) {
                *place = IoSlice::new(piece);
            }
            let count = PIECES.min(1 + pieces.len());
            let sent = Pin::new(&mut self.stream).poll_write_vectored(cx, &all[..count]);
            self.is_blocked = sent.is_pending();
            let sent = ready!(sent)?;
            let held = self.bytes.len();
            self.bytes.advance(sent.min(held));
            self.is_dirty = true;
            if sent == 0 || sent > held {
                return Poll::Ready(Ok(sent.saturating_sub(held)));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.held().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let size = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let mut held = self.held();
        if held.bytes.len() + size > HELD_BYTES {
            return held.send_with(cx, pieces);
        }
        for piece in pieces {
            held.bytes.extend_from_slice(piece);
        }
        Poll::Ready(Ok(size))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The turn's end does it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = self.held();
        ready!(held.send(cx))?;
        Pin::new(&mut held.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Counts writes and flushes; takes at most so much at a time.
    struct Counting {
        most: usize,
        written: Vec<u8>,
        writes: usize,
        flushes: usize,
    }

    impl AsyncWrite for Counting {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.most == 0 {
                return Poll::Pending;
            }
            let taken = bytes.len().min(self.most);
            self.written.extend_from_slice(&bytes[..taken]);
            self.writes += 1;
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncRead for Counting {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    fn counting(most: usize) -> Corked<Counting> {
        Corked::new(Counting { most, written: Vec::new(), writes: 0, flushes: 0 })
    }

    #[tokio::test]
    async fn what_is_written_and_flushed_in_one_turn_is_one_write() {
        let mut stream = counting(usize::MAX);
        let uncork = stream.uncork();
        let seen = stream.uncork();
        let connection = async move {
            for part in [&b"head"[..], b"body", b"trailers"] {
                stream.write_all(part).await.unwrap();
                stream.flush().await.unwrap();
            }
            Ok::<_, Infallible>(())
        };
        run(connection, uncork).await.unwrap();
        let held = seen.held();
        assert_eq!((&held.stream.written[..], held.stream.writes), (&b"headbodytrailers"[..], 1));
        assert_eq!(held.stream.flushes, 1);
    }

    #[test]
    fn nothing_is_flushed_while_the_client_takes_nothing() {
        let stream = counting(1);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let large = vec![0; HELD_BYTES + 1];
        let mut held = stream.held();
        assert!(held.send_with(&mut cx, &[IoSlice::new(&large)]).is_ready());
        held.stream.most = 0;
        assert!(held.send_with(&mut cx, &[IoSlice::new(&large)]).is_pending());
        assert!(held.send(&mut cx).is_ready());
        assert_eq!(held.stream.flushes, 0, "it would end the client's time");
        held.stream.most = 1;
        assert!(held.send_with(&mut cx, &[IoSlice::new(&large)]).is_ready());
        assert!(held.send(&mut cx).is_ready());
        assert_eq!(held.stream.flushes, 1);
    }

    proptest! {
        #[test]
        fn bytes_arrive_as_they_were_written_whatever_their_sizes(
            sizes in prop::collection::vec(0_usize..3 * HELD_BYTES, 0..12),
            room in 1_usize..2 * HELD_BYTES,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let parts: Vec<Vec<u8>> =
                sizes.iter().zip(0_u8..).map(|(size, part)| vec![part; *size]).collect();
            let whole = parts.concat();
            let (near, mut far) = tokio::io::duplex(room);
            let mut stream = Corked::new(near);
            let uncork = stream.uncork();
            let connection = async move {
                for part in parts {
                    stream.write_all(&part).await?;
                }
                stream.shutdown().await
            };
            let mut arrived = Vec::new();
            runtime.block_on(async {
                let (written, read) = tokio::join!(run(connection, uncork), far.read_to_end(&mut arrived));
                written.unwrap();
                read.unwrap();
            });
            prop_assert_eq!(arrived, whole);
        }
    }
}
