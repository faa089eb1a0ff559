//! One connection to a Memcached, made anew when it fails. Commands of many enter, replies leave in the same order, at once an error
//! while there is no connection. Who has no patience any more leaves; the reply to him is read and dropped.
//!
//! A server that owes a reply and sends nothing for a while is taken for gone: the connection is closed and another is made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use metrics::{Counter, counter};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};

use super::connect::{ConnectError, Endpoint};
use super::wire::{self, Reply, WireError};
use crate::cache::pool::dial::Stream;
use crate::cache::pool::remote::Shelf as _;
use crate::cache::pool::{Memcached, PoolError};
use crate::time::backoff::backoff;

/// A server that owes a reply has so long to send anything, or as long as who asks is patient.
const SILENCE: Duration = Duration::from_millis(500);
/// The shortest and longest pause before another attempt.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A connection that lasted so long is replaced at once.
const LASTED: Duration = Duration::from_secs(5);
/// Requests that wait to be sent, and as many that wait for replies; one more is refused.
const WAITING: usize = 1024;
/// Lines of `stats` that are read at most.
const MAX_STATS: usize = 1000;

/// A handle to the connection; the last one that goes closes it.
#[derive(Clone)]
pub(crate) struct Link {
    state: watch::Receiver<State>,
}

#[derive(Clone)]
enum State {
    /// Nothing is known yet.
    Starting,
    /// What is sent here is answered by the connection of that number.
    Up(mpsc::Sender<Request>, u64),
    Down(Arc<ConnectError>),
}

/// Commands, and how many replies they get.
struct Request {
    commands: Vec<u8>,
    owed: Owed,
}

struct Owed {
    replies: usize,
    patience: Duration,
    done: oneshot::Sender<Vec<Reply>>,
}

/// What keeps a request from being answered though there is a connection.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("{WAITING} requests wait already")]
    Full,
    #[error("the connection was lost")]
    Lost,
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Over {
    #[error("it closed the connection")]
    Closed,
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("it sent what nobody asked for")]
    Unasked,
    #[error("it sent more lines of statistics than {MAX_STATS}")]
    Stats,
}

impl Link {
    /// Connects, and goes on trying. `name` says in metrics what it is for. Must be called inside a runtime.
    pub(super) fn start(endpoint: Arc<Endpoint>, name: &'static str) -> Self {
        let (said, state) = watch::channel(State::Starting);
        let labels = [("tier", Memcached::TIER), ("connection", name)];
        let losses = counter!("forebay_pool_lost_connections", &labels);
        tokio::spawn(Keeper { endpoint, said, losses }.keep());
        Self { state }
    }

    /// Sends commands that get so many replies, and reads these; with which connection it was. They go by no other connection than
    /// `by`, where that is given: behind another one may be a server that started again, and counts values anew.
    ///
    /// # Errors
    /// `Down` at once while there is no connection; `Timeout`; `Failed` when the connection is lost meanwhile.
    pub(super) async fn ask(
        &self,
        commands: Vec<u8>,
        replies: usize,
        patience: Duration,
        by: Option<u64>,
    ) -> Result<(Vec<Reply>, u64), PoolError> {
        let answer = async {
            let (requests, number) = self.connection().await.map_err(|error| PoolError::Down(error))?;
            if by.is_some_and(|by| by != number) {
                return Err(PoolError::Failed(Arc::new(LinkError::Lost)));
            }
            let (done, answered) = oneshot::channel();
            let request = Request { commands, owed: Owed { replies, patience, done } };
            requests.try_send(request).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => PoolError::Failed(Arc::new(LinkError::Full)),
                mpsc::error::TrySendError::Closed(_) => PoolError::Failed(Arc::new(LinkError::Lost)),
            })?;
            let replies = answered.await.map_err(|_| PoolError::Failed(Arc::new(LinkError::Lost)))?;
            Ok((replies, number))
        };
        tokio::time::timeout(patience, answer).await.unwrap_or(Err(PoolError::Timeout(patience)))
    }

    /// Why there is no connection, if there is none.
    pub(super) fn trouble(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Starting => Some("it is being connected to".to_owned()),
            State::Up(..) => None,
            State::Down(error) => Some(error.to_string()),
        }
    }

    /// The outcome of the first attempt.
    pub(super) async fn first(&self) -> Result<(), Arc<ConnectError>> {
        self.connection().await.map(drop)
    }

    async fn connection(&self) -> Result<(mpsc::Sender<Request>, u64), Arc<ConnectError>> {
        let mut state = self.state.clone();
        let known = state.wait_for(|state| !matches!(state, State::Starting)).await;
        match known.as_deref() {
            Ok(State::Up(requests, number)) => Ok((requests.clone(), *number)),
            Ok(State::Down(error)) => Err(error.clone()),
            Ok(State::Starting) | Err(_) => Err(Arc::new(ConnectError::Ended)),
        }
    }
}

/// The task behind a link.
struct Keeper {
    endpoint: Arc<Endpoint>,
    said: watch::Sender<State>,
    losses: Counter,
}

impl Keeper {
    /// Keeps a connection until nobody has a handle any more.
    async fn keep(self) {
        let (mut number, mut pauses) = (0, backoff(PAUSES));
        loop {
            let error = match self.endpoint.connect().await {
                Ok(stream) => {
                    number += 1;
                    let (requests, taken) = mpsc::channel(WAITING);
                    self.said.send_replace(State::Up(requests, number));
                    self.endpoint.say_up();
                    let began = Instant::now();
                    let over = tokio::select! {
                        over = speak(stream, taken, self.endpoint.max_bytes()) => over,
                        () = self.said.closed() => return,
                    };
                    self.losses.increment(1);
                    if began.elapsed() > LASTED {
                        pauses = backoff(PAUSES);
                    }
                    ConnectError::Lost(over)
                }
                Err(error) => error,
            };
            self.endpoint.say_down(&error);
            self.said.send_replace(State::Down(Arc::new(error)));
            tokio::select! {
                () = pauses.pause() => {}
                () = self.said.closed() => return,
            }
        }
    }
}

/// Sends and reads until the connection is over. Who waits for a reply then is told by the end of his channel.
async fn speak(stream: Stream, requests: mpsc::Receiver<Request>, most: usize) -> Over {
    let (read, write) = tokio::io::split(stream);
    let (sent, owed) = mpsc::channel(WAITING);
    tokio::select! {
        over = send(write, requests, sent) => over,
        over = receive(read, owed, most) => over,
    }
}

async fn send(
    mut write: WriteHalf<Stream>,
    mut requests: mpsc::Receiver<Request>,
    sent: mpsc::Sender<Owed>,
) -> Over {
    while let Some(Request { commands, owed }) = requests.recv().await {
        // Nobody is asked for who has left before.
        if owed.done.is_closed() {
            continue;
        }
        if sent.send(owed).await.is_err() {
            return Over::Closed;
        }
        let written = async {
            write.write_all(&commands).await?;
            write.flush().await
        };
        if let Err(error) = written.await {
            return error.into();
        }
    }
    Over::Closed
}

async fn receive(mut read: ReadHalf<Stream>, mut owed: mpsc::Receiver<Owed>, most: usize) -> Over {
    let mut came = BytesMut::new();
    while let Some(Owed { replies, patience, done }) = owed.recv().await {
        let mut had = Vec::with_capacity(replies.min(WAITING));
        let silence = patience.max(SILENCE);
        let (mut missing, mut lines) = (replies, 0);
        while missing > 0 {
            match wire::reply(&mut came, most) {
                Ok(Some(reply)) => {
                    lines += 1;
                    if lines > replies.saturating_add(MAX_STATS) {
                        return Over::Stats;
                    }
                    missing -= usize::from(!matches!(reply, Reply::Stat { .. }));
                    had.push(reply);
                }
                Ok(None) => match tokio::time::timeout(silence, read.read_buf(&mut came)).await {
                    Ok(Ok(0)) => return Over::Closed,
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return error.into(),
                    Err(_) => return Over::Silent(silence),
                },
                Err(error) => return error.into(),
            }
        }
        // Who asks is known before anything is sent, so this is no reply; what comes next would be taken for another's.
        if owed.is_empty() && !came.is_empty() {
            return Over::Unasked;
        }
        // Whoever asked may have left.
        let _ = done.send(had);
    }
    Over::Closed
}
