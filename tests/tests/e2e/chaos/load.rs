//! Clients that ask all the time, over JSON and gRPC, for what was asked before and for what is new. Ports enter, what became of each
//! request leaves.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use e2e::grpc::{SERVICE, infer_request};
use e2e::http2;
use rig::frames::{CALL, framed};
use rig::http::{Answer, Connection, post};
use rig::process::until;
use rig::v2::{JSON, request};

pub(super) const MODEL: &str = "identity_fp32";
/// Clients of each Envoy, half of them over gRPC.
pub(super) const CLIENTS: usize = 4;
/// A client asks so often at most: the machine is to fail of the fault alone.
const PACE: Duration = Duration::from_millis(5);
/// Values that are asked for again and again; each other request is for a new one.
const HOT: usize = 40;

/// What became of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    Right {
        is_hit: bool,
    },
    /// The answer to another request.
    Wrong,
    Failed(String),
}

/// Clients at work.
pub(super) struct Load {
    ends: Arc<AtomicBool>,
    outcomes: Arc<Mutex<Vec<(Outcome, Duration)>>>,
    clients: Vec<JoinHandle<()>>,
}

/// New values of all clients.
static NEW: AtomicUsize = AtomicUsize::new(1_000_000);

impl Load {
    /// So many clients of each Envoy.
    pub(super) fn start(ports: &[u16], model: &'static str, clients: usize) -> Self {
        let (ends, outcomes) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut load = Self { ends, outcomes, clients: Vec::new() };
        for number in 0..clients * ports.len() {
            let (ends, outcomes) = (load.ends.clone(), load.outcomes.clone());
            let port = ports[number % ports.len()];
            let is_grpc = (number / ports.len()).is_multiple_of(2);
            load.clients.push(std::thread::spawn(move || work((port, is_grpc), model, &ends, &outcomes)));
        }
        load
    }

    fn answered(&self) -> usize {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Until so many more are answered.
    pub(super) fn until_answered(&self, more: usize) {
        let goal = self.answered() + more;
        until("requests are answered", || (self.answered() >= goal).then_some(()));
    }

    /// What became of all, and how long the longest took.
    pub(super) fn end(self) -> (Vec<Outcome>, Duration) {
        self.ends.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a client ends");
        }
        let all = std::mem::take(&mut *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner));
        let longest = all.iter().map(|(_, took)| *took).max().unwrap_or_default();
        (all.into_iter().map(|(outcome, _)| outcome).collect(), longest)
    }
}

/// A connection that is made anew when it fails.
enum Client {
    Http(Connection<std::net::TcpStream>),
    Grpc(http2::Connection),
}

impl Client {
    fn open(port: u16, is_grpc: bool) -> std::io::Result<Self> {
        if is_grpc {
            http2::Connection::open(port).map(Self::Grpc)
        } else {
            Connection::open(port).map(Self::Http)
        }
    }

    fn ask(&mut self, model: &str, value: f32) -> std::io::Result<Answer> {
        match self {
            Self::Http(connection) => {
                let body = request(&[value]).to_string();
                connection.write(&post(&format!("/v2/models/{model}/infer"), &JSON, body.as_bytes()))?;
                connection.read()
            }
            Self::Grpc(connection) => {
                let message = framed(&infer_request(model, value));
                connection.try_post(&format!("/{SERVICE}/ModelInfer"), &CALL, message)
            }
        }
    }
}

fn work(
    (port, is_grpc): (u16, bool),
    model: &str,
    ends: &AtomicBool,
    outcomes: &Mutex<Vec<(Outcome, Duration)>>,
) {
    let mut client = None;
    while !ends.load(Ordering::Relaxed) {
        let number = NEW.fetch_add(1, Ordering::Relaxed);
        let value = if number.is_multiple_of(2) { number } else { number / 2 % HOT } as f32;
        let began = Instant::now();
        let asked = match client.take() {
            Some(client) => Ok(client),
            None => Client::open(port, is_grpc),
        };
        let outcome = match asked.and_then(|mut open| Ok((open.ask(model, value)?, open))) {
            Ok((answer, open)) => {
                // An answer without keep-alive ends its connection.
                client = (answer.header("connection") != "close").then_some(open);
                judged(&answer, value)
            }
            Err(error) => Outcome::Failed(format!("connection: {}", error.kind())),
        };
        outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((outcome, began.elapsed()));
        std::thread::sleep(PACE.saturating_sub(began.elapsed()));
    }
}

fn judged(answer: &Answer, value: f32) -> Outcome {
    let status = answer.header("grpc-status");
    if answer.status != 200 || !matches!(status, "" | "0") {
        // A gRPC status' text has its spaces encoded.
        let said = if status.is_empty() {
            answer.error()
        } else {
            answer.header("grpc-message").replace("%20", " ")
        };
        return Outcome::Failed(format!("{} {status} {said}", answer.status));
    }
    let in_json = || answer.json()["outputs"][0]["data"][0] == f64::from(value);
    let is_right = if status.is_empty() { in_json() } else { answer.body.ends_with(&value.to_le_bytes()) };
    if !is_right {
        return Outcome::Wrong;
    }
    Outcome::Right { is_hit: answer.cache_status().contains("; hit") }
}
