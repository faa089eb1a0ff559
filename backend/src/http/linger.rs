//! The end of a connection whose client still sends. It is closed in stages (RFC 9112, section 9.6): nothing more is written, what
//! comes is read for nothing until the client closes too, and then the rest is closed. Closing at once would have the kernel send a
//! reset, by which clients lose the answer that they haven't read yet.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// How long a client that was refused may go on sending.
pub(super) const LINGER: Duration = Duration::from_secs(10);
/// Read at once.
const STEP_BYTES: usize = 64 << 10;

/// Closes a stream; `most` bytes are read for nothing.
pub(super) async fn close(mut stream: impl AsyncRead + AsyncWrite + Unpin, most: usize) {
    let closing = async {
        stream.shutdown().await?;
        let mut buffer = vec![0; STEP_BYTES];
        let mut left = most;
        while left > 0 {
            let step = left.min(STEP_BYTES);
            match stream.read(&mut buffer[..step]).await? {
                0 => break,
                read => left -= read,
            }
        }
        Ok::<_, std::io::Error>(())
    };
    // A client that is gone needs no answer.
    let _ = tokio::time::timeout(LINGER, closing).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_is_read_until_the_client_closes_or_it_is_enough() {
        for (sent, most) in [(200_000, 1 << 20), (1 << 20, 100_000)] {
            let (near, mut far) = tokio::io::duplex(STEP_BYTES);
            let client = async move {
                let written = far.write_all(&vec![0; sent]).await;
                let mut answer = Vec::new();
                let _ = far.read_to_end(&mut answer).await;
                written.is_ok()
            };
            let (written, ()) = tokio::join!(client, close(near, most));
            assert_eq!(written, sent < most);
        }
    }
}
