//! Signals to end: SIGTERM, SIGINT and SIGHUP (a terminal that is gone).

use std::io;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Signals that come so soon after the first are the same wish: a terminal says it to all who are in it, and a parent passes it on.
const ECHO: Duration = Duration::from_millis(500);

/// They are received from the moment this exists.
pub(super) struct Signals {
    came: mpsc::UnboundedReceiver<&'static str>,
}

impl Signals {
    /// Listens on a thread of its own: those of the runtime may compute, and one of them would have to tell.
    ///
    /// # Errors
    /// When the system gives no handler or no thread.
    pub(super) fn listen() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let (tell, came) = mpsc::unbounded_channel();
        let (mut terminate, mut interrupt, mut hangup) = {
            let _inside = runtime.enter();
            (
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::hangup())?,
            )
        };
        let listen = async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                    _ = hangup.recv() => "SIGHUP",
                };
                if tell.send(name).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(listen))?;
        Ok(Self { came })
    }

    /// Waits for one of them.
    pub(super) async fn wait(&mut self) {
        match self.came.recv().await {
            Some(name) => tracing::info!("{name}"),
            // Nobody listens any more.
            None => std::future::pending().await,
        }
    }

    /// Waits for one that means it again.
    pub(super) async fn wait_again(&mut self, first: Instant) {
        loop {
            self.wait().await;
            if first.elapsed() >= ECHO {
                return;
            }
        }
    }
}
