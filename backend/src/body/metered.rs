//! A body, or the messages of a call, on its way in: its bytes pass through, are counted against the budget as they come, and end
//! with an error when the client is too slow or there is no room. Next: `body` collects them, or tonic decodes them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use metrics::counter;
use tokio::time::Sleep;

use super::budget::{Charge, Spent};
use super::pace::{Least, Pace, Slow};
use crate::class::Class;

/// Why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    #[error(transparent)]
    Slow(#[from] Slow),
    #[error(transparent)]
    Spent(#[from] Spent),
    #[error("more than one message of {limit} bytes at most came (--max-body-bytes)")]
    TooLarge { limit: usize },
    #[error(transparent)]
    Broken(axum::Error),
}

impl Unread {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Slow(_) => Class::Slow,
            Self::Spent(_) => Class::Full,
            Self::TooLarge { .. } => Class::TooLarge,
            Self::Broken(_) => Class::Left,
        }
    }
}

/// The body. Plain for HTTP's bodies, whose reader charges what it keeps of them.
pub(crate) struct Metered {
    body: Body,
    least: Least,
    pace: Pace,
    timer: Option<Pin<Box<Sleep>>>,
    charge: Option<Arc<Charge>>,
    messages: Came,
}

/// What comes over gRPC.
#[derive(Debug)]
enum Came {
    /// One message, so large at most, of which so much is left; and HTTP's bodies.
    One { limit: usize, left: usize },
    /// Messages: between two of them the client has all the time.
    Stream(Messages),
}

impl Metered {
    pub(crate) fn new(body: Body, least: Least) -> Self {
        let messages = Came::One { limit: usize::MAX, left: usize::MAX };
        Self { body, least, pace: Pace::new(least), timer: None, charge: None, messages }
    }

    /// It is one message of gRPC, so large at most. What comes is charged.
    pub(crate) fn of_message(self, limit: usize, charge: Arc<Charge>) -> Self {
        let messages = Came::One { limit, left: limit.saturating_add(HEAD_BYTES) };
        Self { messages, charge: Some(charge), ..self }
    }

    /// It is messages of gRPC, which come when they come; each that has begun must come in time. What comes is charged.
    pub(crate) fn of_messages(self, charge: Arc<Charge>) -> Self {
        Self { messages: Came::Stream(Messages::default()), charge: Some(charge), ..self }
    }

    fn came(&mut self, data: &Bytes) -> Result<(), Unread> {
        self.pace.came(Instant::now(), data.len());
        match &mut self.messages {
            Came::One { limit, left } => {
                *left = left.checked_sub(data.len()).ok_or(Unread::TooLarge { limit: *limit })?;
            }
            Came::Stream(messages) => {
                if messages.pass(data) {
                    self.pace = Pace::new(self.least);
                }
            }
        }
        Ok(self.charge.as_ref().map_or(Ok(()), |charge| charge.grow(data.len()))?)
    }

    /// Ready when the client is too slow.
    fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<Slow> {
        if matches!(&self.messages, Came::Stream(messages) if !messages.is_within()) {
            return Poll::Pending;
        }
        loop {
            let look = self.pace.wait(Instant::now()).into();
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(look)));
            if timer.deadline() != look {
                timer.as_mut().reset(look);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if let Err(slow) = self.pace.judge(Instant::now().max(look.into())) {
                counter!("forebay_bodies_refused", "reason" => "slow").increment(1);
                return Poll::Ready(slow);
            }
        }
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = Unread;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Unread>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let came = frame.data_ref().map_or(Ok(()), |data| self.came(data));
                Poll::Ready(Some(came.map(|()| frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(Unread::Broken(error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self.poll_slow(cx).map(|slow| Some(Err(Unread::Slow(slow)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes before each message of gRPC: a flag, and the message's length.
pub(crate) const HEAD_BYTES: usize = 5;

/// Where in a stream of messages it is.
#[derive(Debug, Default)]
struct Messages {
    head: [u8; HEAD_BYTES],
    /// Of the head.
    known: usize,
    /// Of the message.
    left: usize,
}

impl Messages {
    fn is_within(&self) -> bool {
        self.known > 0
    }

    /// Goes on by what came; whether a message ended in it.
    fn pass(&mut self, mut data: &[u8]) -> bool {
        let mut ended = false;
        while !data.is_empty() {
            let head = (HEAD_BYTES - self.known).min(data.len());
            self.head[self.known..self.known + head].copy_from_slice(&data[..head]);
            self.known += head;
            data = &data[head..];
            if self.known < HEAD_BYTES {
                break;
            }
            if head > 0 {
                let [_, length @ ..] = self.head;
                self.left = u32::from_be_bytes(length) as usize;
            }
            let passed = self.left.min(data.len());
            self.left -= passed;
            data = &data[passed..];
            if self.left == 0 {
                (self.known, ended) = (0, true);
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_end_where_they_end_however_they_are_cut(
            sizes in prop::collection::vec(0_usize..40, 1..6),
            cut in 1_usize..20,
        ) {
            let mut bytes = Vec::new();
            let mut ends = Vec::new();
            for size in sizes {
                bytes.push(0);
                bytes.extend(u32::try_from(size).unwrap().to_be_bytes());
                bytes.resize(bytes.len() + size, 7);
                ends.push(bytes.len());
            }
            let (mut messages, mut passed) = (Messages::default(), 0);
            for piece in bytes.chunks(cut) {
                let ended = messages.pass(piece);
                let before = passed;
                passed += piece.len();
                prop_assert_eq!(ended, ends.iter().any(|end| (before + 1..=passed).contains(end)));
                prop_assert_eq!(messages.is_within(), !ends.contains(&passed));
            }
        }
    }
}
