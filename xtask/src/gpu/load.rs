//! A load without a program from outside, which a machine that reaches no registry may lack: a request enters, sent again and
//! again over some connections; how many were answered and how long each took leaves. HTTP/1.1, answers with a Content-Length.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

/// Requests of a connection before the clock starts.
const WARM_UP: usize = 20;

/// Longer than any answer takes; a server that hangs is an error.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is sent, and for how long.
pub(super) struct Load<'a> {
    pub(super) port: u16,
    pub(super) request: &'a [u8],
    pub(super) connections: u32,
    pub(super) time: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

/// One connection's requests.
struct Times {
    took: Vec<Duration>,
    elapsed: Duration,
}

impl Load<'_> {
    /// Sends it.
    ///
    /// # Errors
    /// A connection fails, or an answer is another than 200.
    pub(super) fn run(&self) -> Result<Sample> {
        let all: Result<Vec<Times>> = std::thread::scope(|scope| {
            let connections: Vec<_> =
                (0..self.connections).map(|_| scope.spawn(|| self.connection())).collect();
            let ended = connections.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| Err(anyhow!("a connection's thread panicked")))
            });
            ended.collect()
        });
        let all = all?;
        let rates = all.iter().map(|times| times.took.len() as f64 / times.elapsed.as_secs_f64());
        let per_second = rates.sum();
        let mut took: Vec<Duration> = all.into_iter().flat_map(|times| times.took).collect();
        took.sort_unstable();
        let at =
            |share: usize| took.get(took.len() * share / 100).map_or(0.0, |time| time.as_secs_f64() * 1e6);
        Ok(Sample { per_second, p50_us: at(50), p99_us: at(99) })
    }

    /// One connection's requests, each sent when the one before is answered.
    fn connection(&self) -> Result<Times> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut answers = BufReader::with_capacity(1 << 16, stream.try_clone()?);
        let mut requests = stream;
        let mut body = Vec::new();
        for _ in 0..WARM_UP {
            requests.write_all(self.request)?;
            answer(&mut answers, &mut body)?;
        }
        let (since, mut took) = (Instant::now(), Vec::new());
        while since.elapsed() < self.time {
            let began = Instant::now();
            requests.write_all(self.request)?;
            answer(&mut answers, &mut body)?;
            took.push(began.elapsed());
        }
        Ok(Times { took, elapsed: since.elapsed() })
    }
}

fn answer(answers: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> Result<()> {
    let mut line = String::new();
    answers.read_line(&mut line)?;
    let ok = line.starts_with("HTTP/1.1 200");
    let status = line.trim().to_owned();
    let mut length = None;
    while line != "\r\n" {
        line.clear();
        ensure!(answers.read_line(&mut line)? > 0, "the server ended an answer early: {status}");
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        }
    }
    body.resize(length.context("an answer without a length")?, 0);
    answers.read_exact(body)?;
    ensure!(ok, "{status}: {}", String::from_utf8_lossy(body));
    Ok(())
}
