//! One connection to Redis, made anew when it fails. Commands enter, answers leave, at once an error while there is no connection:
//! nobody waits for one that is being made, but who comes first.
//!
//! A connection can be dead without an error: the other side is frozen, or gone without a word. So whenever an answer is late the
//! connection is asked for a sign of life on the side, and replaced when there is none. Names are resolved anew each time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisResult};
use metrics::{Counter, counter};
use tokio::sync::watch;

use super::commands::Commands;
use super::connection::{ConnectError, Connection};
use super::endpoint::Endpoint;
use super::{Redis, Shelf as _, why};
use crate::cache::pool::PoolError;
use crate::time::backoff::backoff;

/// A connection that is late with an answer gets so long for a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_millis(500);
/// The shortest and longest pause before another attempt.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A connection that lasted so long is replaced at once.
const LASTED: Duration = Duration::from_secs(5);

/// A handle to the connection; the last one that goes closes it.
#[derive(Clone)]
pub(crate) struct Link {
    state: watch::Receiver<State>,
    doubts: Arc<watch::Sender<Doubt>>,
    endpoint: Arc<Endpoint>,
}

#[derive(Clone)]
enum State {
    /// Nothing is known yet.
    Starting,
    Up(Numbered),
    Down(Arc<ConnectError>),
}

/// A connection, and which one it is in the order in which they were made.
#[derive(Clone)]
struct Numbered {
    connection: Connection,
    number: u64,
}

/// What makes connections up to `number` doubtful.
#[derive(Clone)]
struct Doubt {
    number: u64,
    /// It must be replaced: why. `None` when an answer was late.
    lost: Option<Arc<str>>,
}

impl Link {
    /// Connects, and goes on trying. `name` says in metrics what it is for. Must be called inside a runtime.
    pub(super) fn start(endpoint: Arc<Endpoint>, name: &'static str) -> Self {
        let (said, state) = watch::channel(State::Starting);
        let (doubts, heard) = watch::channel(Doubt { number: 0, lost: None });
        let labels = [("tier", Redis::TIER), ("connection", name)];
        let losses = counter!("forebay_pool_lost_connections", &labels);
        let left = endpoint.left();
        let keeper = Keeper { endpoint: endpoint.clone(), said, doubts: heard, left, losses };
        tokio::spawn(keeper.keep());
        Self { state, doubts: Arc::new(doubts), endpoint }
    }

    /// Sends commands in one round trip and reads their answers.
    ///
    /// # Errors
    /// `Down` at once while there is no connection; `Timeout`; and what Redis says.
    pub(crate) async fn query<T: FromRedisValue>(
        &self,
        commands: &Pipeline,
        patience: Duration,
    ) -> Result<T, PoolError> {
        self.sent(patience, async |connection| commands.query_async(connection).await).await
    }

    /// Sends one command, of a cluster to the node that has its key.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub(crate) async fn ask<T: FromRedisValue>(
        &self,
        command: &Cmd,
        patience: Duration,
    ) -> Result<T, PoolError> {
        self.sent(patience, async |connection| command.query_async(connection).await).await
    }

    async fn sent<T>(
        &self,
        patience: Duration,
        send: impl AsyncFnOnce(&mut Commands) -> RedisResult<T>,
    ) -> Result<T, PoolError> {
        let mut number = None;
        let answer = async {
            let mut up = self.connection().await.map_err(|error| PoolError::Down(error))?;
            number = Some(up.number);
            let asked = send(&mut up.connection.commands).await.map_err(why::first);
            asked.map_err(|error| {
                self.failed(&error, up.number);
                PoolError::from(error)
            })
        };
        if let Ok(answered) = tokio::time::timeout(patience, answer).await {
            return answered;
        }
        if let Some(number) = number {
            self.doubt(Doubt { number, lost: None });
        }
        Err(PoolError::Timeout(patience))
    }

    /// Why there is no connection, if there is none.
    pub(crate) fn trouble(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Starting => Some("it is being connected to".to_owned()),
            State::Up(_) => None,
            State::Down(error) => Some(error.to_string()),
        }
    }

    /// The outcome of the first attempt.
    pub(super) async fn first(&self) -> Result<(), Arc<ConnectError>> {
        match self.connection().await {
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    async fn connection(&self) -> Result<Numbered, Arc<ConnectError>> {
        let mut state = self.state.clone();
        // The keeper lives as long as its handles do.
        let known = state.wait_for(|state| !matches!(state, State::Starting)).await;
        match known.as_deref() {
            Ok(State::Up(up)) => Ok(up.clone()),
            Ok(State::Down(error)) => Err(error.clone()),
            Ok(State::Starting) | Err(_) => Err(Arc::new(ConnectError::Ended)),
        }
    }

    /// What follows from an error: nothing, a new connection, or new ones for all that speak to this server.
    fn failed(&self, error: &RedisError, number: u64) {
        let is_cluster = self.endpoint.is_cluster();
        // A node of a cluster that is lost is no loss of the others, and the client looks for it.
        let is_lost = if is_cluster { why::is_proof } else { why::is_connection_lost };
        if self.endpoint.is_to_be_left() && why::is_other_server_needed(error) {
            self.endpoint.leave(error);
        } else if is_lost(error) {
            self.doubt(Doubt { number, lost: Some(error.to_string().into()) });
        }
    }

    fn doubt(&self, doubt: Doubt) {
        self.doubts.send_if_modified(|known| {
            let is_news =
                doubt.number > known.number || (doubt.number == known.number && known.lost.is_none());
            if is_news {
                *known = doubt;
            }
            is_news
        });
    }
}

/// The task behind a link.
struct Keeper {
    endpoint: Arc<Endpoint>,
    said: watch::Sender<State>,
    doubts: watch::Receiver<Doubt>,
    /// Told, with the reason, when it is the wrong server.
    left: watch::Receiver<Option<Arc<str>>>,
    losses: Counter,
}

impl Keeper {
    /// Keeps a connection until nobody has a handle any more.
    async fn keep(mut self) {
        let (mut number, mut pauses) = (0, backoff(PAUSES));
        loop {
            // What was found out before is no reason to leave the next one.
            self.left.mark_unchanged();
            let error = match self.endpoint.connect().await {
                Ok(connection) => {
                    number += 1;
                    let (began, up) = (Instant::now(), Numbered { connection, number });
                    self.said.send_replace(State::Up(up.clone()));
                    self.endpoint.say_up();
                    let Some(why) = self.until_lost(up).await else { return };
                    self.losses.increment(1);
                    if began.elapsed() > LASTED {
                        pauses = backoff(PAUSES);
                    }
                    ConnectError::Lost(why)
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

    /// Waits until the connection has to be replaced, and says why; `None` when nobody needs it any more.
    async fn until_lost(&mut self, mut up: Numbered) -> Option<Arc<str>> {
        loop {
            tokio::select! {
                // All handles are gone when this fails.
                doubted = self.doubts.changed() => doubted.ok()?,
                left = self.left.changed() => {
                    left.ok()?;
                    return self.left.borrow().clone();
                }
            }
            let doubt = self.doubts.borrow_and_update().clone();
            if doubt.number < up.number {
                continue;
            }
            if let Some(why) = doubt.lost {
                return Some(why);
            }
            let mut ping = ::redis::pipe();
            ping.cmd("PING").ignore();
            let answered = ping.query_async::<()>(&mut up.connection.commands);
            match tokio::time::timeout(SIGN_OF_LIFE, answered).await {
                Err(_) => return Some(format!("no answer within {SIGN_OF_LIFE:?}").into()),
                Ok(Err(error)) if why::is_connection_lost(&error) => return Some(error.to_string().into()),
                Ok(_) => {}
            }
        }
    }
}
