//! A link of TCP to a port of the loopback that can fail: be cut, be slow, or fall silent, as to a machine that loses its power: no byte
//! comes through any more, and nobody is told.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// So often a connection that carries nothing looks whether it is cut.
const LOOKS: Duration = Duration::from_millis(20);

/// Forwards to a port.
pub struct Link {
    /// Where it listens.
    pub port: u16,
    state: Arc<State>,
}

struct State {
    target: AtomicU16,
    /// Connections from before carry nothing.
    generation: AtomicUsize,
    is_cut: AtomicBool,
    delay_ms: AtomicU64,
}

impl Link {
    /// One that works.
    ///
    /// # Panics
    /// There is no free port.
    pub fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its own").port();
        let state = State {
            target: target.into(),
            generation: AtomicUsize::new(0),
            is_cut: AtomicBool::new(false),
            delay_ms: AtomicU64::new(0),
        };
        let state = Arc::new(state);
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                connect(&client, &shared);
            }
        });
        Self { port, state }
    }

    /// All connections fall silent; new ones go to another port.
    pub fn move_to(&self, target: u16) {
        self.state.target.store(target, Ordering::SeqCst);
        self.silence();
    }

    /// All connections fall silent, and no byte of theirs comes through any more; new ones are carried.
    pub fn silence(&self) {
        self.state.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// All connections end, and so do new ones, until it is [mended](Self::mend).
    pub fn cut(&self) {
        self.state.is_cut.store(true, Ordering::SeqCst);
    }

    /// What comes in one piece takes so long, each way.
    pub fn slow(&self, delay: Duration) {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.state.delay_ms.store(delay_ms, Ordering::SeqCst);
    }

    /// It works again, but for connections that fell silent.
    pub fn mend(&self) {
        self.slow(Duration::ZERO);
        self.state.is_cut.store(false, Ordering::SeqCst);
    }
}

/// Carries a connection, if there is somebody at the other end.
fn connect(client: &TcpStream, state: &Arc<State>) {
    if state.is_cut.load(Ordering::SeqCst) {
        return;
    }
    let generation = state.generation.load(Ordering::SeqCst);
    let Ok(server) = TcpStream::connect(("127.0.0.1", state.target.load(Ordering::SeqCst))) else { return };
    for (from, to) in [(client, &server), (&server, client)] {
        let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
        let _ = (from.set_nodelay(true), from.set_read_timeout(Some(LOOKS)));
        let state = state.clone();
        thread::spawn(move || forward(from, to, &state, generation));
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, state: &State, generation: usize) {
    let mut bytes = [0; 16 << 10];
    loop {
        let read = from.read(&mut bytes);
        while state.generation.load(Ordering::SeqCst) != generation {
            // With the connection open, until the test ends.
            thread::park();
        }
        let is_over = match read {
            _ if state.is_cut.load(Ordering::SeqCst) => true,
            Ok(0) => true,
            Ok(count) => {
                thread::sleep(Duration::from_millis(state.delay_ms.load(Ordering::SeqCst)));
                to.write_all(&bytes[..count]).is_err()
            }
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        if is_over {
            let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
            return;
        }
    }
}
