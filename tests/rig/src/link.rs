//! A link of TCP to a port of the loopback that can fail: be cut, be slow, fall silent or be gone, as to a machine that loses its power: no
//! byte comes through any more, none is acknowledged, and nobody is told.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use socket2::{SockFilter, SockRef};

/// So often a connection that carries nothing looks whether it is cut.
const LOOKS: Duration = Duration::from_millis(20);
/// A filter of packets that lets none in (BPF's `ret #0`): the kernel would acknowledge what a silent end never reads, and answer probes.
const NOTHING: SockFilter = SockFilter::new(0x06, 0, 0, 0);

/// Forwards to a port.
pub struct Link {
    /// Where it listens.
    pub port: u16,
    listener: Arc<TcpListener>,
    state: Arc<State>,
}

struct State {
    target: AtomicU16,
    /// Connections from before carry nothing.
    generation: AtomicUsize,
    is_cut: AtomicBool,
    delay_ms: AtomicU64,
    /// Both ends of each connection, of those too that are over.
    ends: Mutex<Vec<Weak<TcpStream>>>,
}

impl Link {
    /// One that works.
    ///
    /// # Panics
    /// There is no free port.
    pub fn start(target: u16) -> Self {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let port = listener.local_addr().expect("its own").port();
        let state = State {
            target: target.into(),
            generation: AtomicUsize::new(0),
            is_cut: AtomicBool::new(false),
            delay_ms: AtomicU64::new(0),
            ends: Mutex::default(),
        };
        let state = Arc::new(state);
        let (listens, shared) = (listener.clone(), state.clone());
        thread::spawn(move || {
            for client in listens.incoming() {
                let Ok(client) = client else { return };
                connect(client, &shared);
            }
        });
        Self { port, listener, state }
    }

    /// All connections fall silent; new ones go to another port.
    pub fn move_to(&self, target: u16) {
        self.state.target.store(target, Ordering::SeqCst);
        self.silence();
    }

    /// All connections fall silent: no byte of theirs comes through any more, and whoever sends one hears nothing of it, as of a packet
    /// that is lost. New ones are carried.
    ///
    /// # Panics
    /// The kernel has no filters of packets.
    pub fn silence(&self) {
        let mut ends = self.state.ends.lock().unwrap_or_else(PoisonError::into_inner);
        self.state.generation.fetch_add(1, Ordering::SeqCst);
        for end in ends.drain(..).filter_map(|end| end.upgrade()) {
            SockRef::from(&*end).attach_filter(&[NOTHING]).expect("a filter of packets");
        }
    }

    /// All connections [fall silent](Self::silence), and who wants a new one hears nothing either.
    ///
    /// # Panics
    /// The kernel has no filters of packets.
    pub fn vanish(&self) {
        SockRef::from(&*self.listener).attach_filter(&[NOTHING]).expect("a filter of packets");
        self.silence();
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
fn connect(client: TcpStream, state: &Arc<State>) {
    if state.is_cut.load(Ordering::SeqCst) {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", state.target.load(Ordering::SeqCst))) else { return };
    let [client, server] = [client, server].map(Arc::new);
    let generation = {
        let mut ends = state.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.retain(|end| end.strong_count() > 0);
        ends.extend([&client, &server].map(Arc::downgrade));
        state.generation.load(Ordering::SeqCst)
    };
    for (from, to) in [(&client, &server), (&server, &client)] {
        let (from, to) = (from.clone(), to.clone());
        let _ = (from.set_nodelay(true), from.set_read_timeout(Some(LOOKS)));
        let state = state.clone();
        thread::spawn(move || forward(&from, &to, &state, generation));
    }
}

fn forward(mut from: &TcpStream, mut to: &TcpStream, state: &State, generation: usize) {
    let mut bytes = [0; 16 << 10];
    loop {
        let read = from.read(&mut bytes);
        if matches!(read, Ok(1..)) {
            thread::sleep(Duration::from_millis(state.delay_ms.load(Ordering::SeqCst)));
        }
        while state.generation.load(Ordering::SeqCst) != generation {
            // With the connection open, until the test ends.
            thread::park();
        }
        let is_over = match read {
            _ if state.is_cut.load(Ordering::SeqCst) => true,
            Ok(0) => true,
            Ok(count) => to.write_all(&bytes[..count]).is_err(),
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        if is_over {
            let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Link;
    use socket2::SockRef;
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    #[test]
    fn who_writes_on_a_silent_connection_hears_nothing_of_it_and_new_ones_are_carried_until_it_vanishes() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = Link::start(server.local_addr().unwrap().port());
        let open = || {
            let mut client = TcpStream::connect(("127.0.0.1", link.port)).unwrap();
            let (mut at_server, _) = server.accept().unwrap();
            client.write_all(b"a").unwrap();
            at_server.read_exact(&mut [0]).unwrap();
            (client, at_server)
        };
        let (mut client, _at_server) = open();
        link.silence();
        SockRef::from(&client).set_tcp_user_timeout(Some(Duration::from_millis(300))).unwrap();
        client.write_all(b"b").unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        open();
        link.vanish();
        let address = ([127, 0, 0, 1], link.port).into();
        let refused = TcpStream::connect_timeout(&address, Duration::from_millis(300)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TimedOut);
    }
}
