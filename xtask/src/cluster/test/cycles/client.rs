//! Clients in the first node's network, which reach Services as pods do: a model and a value enter; what became of the request leaves.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use rig::http::{Answer, Connection, get, request};
use rig::v2::{JSON, fp32};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::cluster::test::bed::Bed;

/// To connect; and for an answer, the longest that one may be held with what a busy machine adds.
const CONNECT: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(200);

/// Does that in the first node's network; so do the threads and programs that it starts.
///
/// # Errors
/// There is no such network, or what is done fails.
pub(super) fn inside<T: Send>(bed: &Bed<'_>, doing: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let place = bed.place.as_ref().context("clients need a node of ours")?;
    let network = format!("/run/netns/{}", place.instance.node(1));
    let network = File::open(&network).with_context(|| format!("can't open {network}"))?;
    let within = || {
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
            .context("can't join the node's network")?;
        doing()
    };
    std::thread::scope(|scope| scope.spawn(within).join()).map_err(|_| anyhow!("a client failed"))?
}

/// Values that nobody has asked yet, in an earlier check neither: floats hold them exactly.
pub(super) struct Values(AtomicU32);

impl Values {
    pub(super) fn new() -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        // Each second of twenty minutes has ten thousand of its own: floats have room for no more.
        Self(AtomicU32::new(u32::try_from(seconds % 1200).unwrap_or(0) * 10_000))
    }

    pub(super) fn next(&self) -> f32 {
        self.0.fetch_add(1, Ordering::Relaxed) as f32
    }
}

/// A connection to whoever answers there.
///
/// # Errors
/// Nobody listens.
pub(super) fn connect(to: SocketAddr) -> io::Result<Connection> {
    let stream = TcpStream::connect_timeout(&to, CONNECT)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(Connection::over(stream))
}

/// What is there at that path, as text.
///
/// # Errors
/// Nobody answers, or not with 200.
pub(super) fn read(from: SocketAddr, path: &str) -> Result<String> {
    let mut connection = connect(from)?;
    connection.write(&get(path))?;
    let answer = connection.read()?;
    anyhow::ensure!(answer.status == 200, "{path} is answered with {}", answer.status);
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}

/// What is asked: the model gives back the value.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) model: &'static str,
    pub(super) value: f32,
}

impl Asked {
    /// Sends it; the answer is read later.
    ///
    /// # Errors
    /// Nobody listens.
    pub(super) fn begin(self, to: SocketAddr) -> io::Result<Connection> {
        let mut connection = connect(to)?;
        self.write(&mut connection, &[])?;
        Ok(connection)
    }

    fn write(self, connection: &mut Connection, more: &[(&str, &str)]) -> io::Result<()> {
        let path = format!("/v2/models/{}/infer", self.model);
        let headers = [&JSON[..], more].concat();
        connection.write(&request("POST", &path, &headers, &fp32(&[self.value])))
    }

    /// Reads its answer; whether it was a hit, or what is wrong.
    ///
    /// # Errors
    /// What became of it.
    pub(super) fn end(self, connection: &mut Connection) -> Result<bool, String> {
        let answer = connection.read().map_err(|error| format!("lost: {}", error.kind()))?;
        if answer.status != 200 {
            return Err(format!("HTTP {}: {}", answer.status, answer.error()));
        }
        if self.is_right(&answer) { Ok(answer.is_hit()) } else { Err("a wrong answer".to_owned()) }
    }

    fn is_right(self, answer: &Answer) -> bool {
        answer.json()["outputs"][0]["data"] == serde_json::json!([self.value])
    }

    /// Asks on a connection that is kept.
    ///
    /// # Errors
    /// As [`Self::end`].
    pub(super) fn on(self, connection: &mut Connection) -> Result<bool, String> {
        self.write(connection, &[]).map_err(|error| format!("lost: {}", error.kind()))?;
        self.end(connection)
    }

    /// The same, of whoever has it already; how long it took.
    ///
    /// # Errors
    /// As [`Self::end`], and nobody has it.
    pub(super) fn hit_on(self, connection: &mut Connection) -> Result<Duration, String> {
        let began = Instant::now();
        self.write(connection, &[("cache-control", "only-if-cached")])
            .map_err(|error| format!("lost: {}", error.kind()))?;
        self.end(connection)?;
        Ok(began.elapsed())
    }
}
