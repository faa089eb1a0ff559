//! A proxy before the API server that kills its client: requests enter and are passed on; at the n-th that writes, before or after it is
//! passed on, the client's whole group of processes gets SIGKILL, and no answer.
//!
//! Behind it `kubectl proxy` speaks TLS. One request a connection, which is all that a test needs.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if *self == Self::Before { "before" } else { "after" })
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    /// Of the writes, counted from 1.
    pub(super) at: usize,
    pub(super) side: Side,
}

pub(super) struct Proxy {
    port: u16,
    behind: Child,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    cut: Option<Cut>,
    client: Option<Pid>,
    writes: Vec<String>,
}

impl Proxy {
    /// Starts it, and `kubectl proxy` as given.
    ///
    /// # Errors
    /// One does not start.
    pub(super) fn start(mut kubectl: Command) -> Result<Self> {
        let mut behind =
            kubectl.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("can't run kubectl proxy")?;
        let mut line = String::new();
        BufReader::new(behind.stdout.take().context("no stdout")?).read_line(&mut line)?;
        let api = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        let api: u16 = api.with_context(|| format!("kubectl proxy says {line:?}"))?;
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let (port, state) = (listener.local_addr()?.port(), Arc::<Mutex<State>>::default());
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(io::Result::ok) {
                let state = shared.clone();
                // What breaks here breaks at the client too, which says so.
                std::thread::spawn(move || pass(client, api, &state));
            }
        });
        Ok(Self { port, behind, state })
    }

    pub(super) fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: rehearsal\nclusters:\n- name: rehearsal\n  cluster:\n    \
             server: http://127.0.0.1:{}\ncontexts:\n- name: rehearsal\n  context:\n    cluster: rehearsal\n    user: nobody\n\
             users:\n- name: nobody\n  user: {{}}\n",
            self.port
        )
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts from here on, and cuts there.
    pub(super) fn expect(&self, cut: Option<Cut>) {
        *self.state() = State { cut, ..State::default() };
    }

    /// Whom a cut kills.
    pub(super) fn kills(&self, client: Pid) {
        self.state().client = Some(client);
    }

    /// What was written since.
    pub(super) fn writes(&self) -> Vec<String> {
        self.state().writes.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.behind.kill();
        let _ = self.behind.wait();
    }
}

fn pass(client: TcpStream, api: u16, state: &Mutex<State>) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let (mut head, mut length, mut first) = (String::new(), 0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if first.is_empty() {
            first.clone_from(&line);
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if line == "\r\n" {
            break;
        }
        if !lower.starts_with("connection:") {
            head += &line;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let cut = counted(&first, state);
    if cut == Some(Side::Before) {
        return kill(state);
    }
    let mut server = TcpStream::connect(("127.0.0.1", api))?;
    server.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
    server.write_all(&body)?;
    if cut == Some(Side::After) {
        io::copy(&mut server, &mut io::sink())?;
        return kill(state);
    }
    let mut client = client;
    io::copy(&mut server, &mut client)?;
    client.shutdown(std::net::Shutdown::Both)
}

/// Where to cut, if this request is the one.
fn counted(first: &str, state: &Mutex<State>) -> Option<Side> {
    let mut words = first.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    if !writes(method, target) {
        return None;
    }
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let path = target.split('?').next().unwrap_or_default();
    state.writes.push(format!("{method} {path}"));
    state.cut.filter(|cut| cut.at == state.writes.len()).map(|cut| cut.side)
}

/// A dry run writes nothing, nor does a question about rights.
fn writes(method: &str, target: &str) -> bool {
    ["POST", "PUT", "PATCH", "DELETE"].contains(&method)
        && !target.contains("dryRun=All")
        && !target.starts_with("/apis/authorization.k8s.io")
}

fn kill(state: &Mutex<State>) -> io::Result<()> {
    let client = state.lock().unwrap_or_else(PoisonError::into_inner).client;
    // Nobody else's: the group is the client's own, and it is not waited for before it ends.
    client.map_or(Ok(()), |client| Ok(kill_process_group(client, Signal::KILL)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_counted_and_what_changes_nothing_is_not() {
        let state = Mutex::new(State { cut: Some(Cut { at: 2, side: Side::After }), ..State::default() });
        let asked = |line: &str| counted(line, &state);
        assert_eq!(asked("GET /api/v1/pods HTTP/1.1"), None);
        assert_eq!(asked("PATCH /api/v1/namespaces/a/services/b?dryRun=All HTTP/1.1"), None);
        assert_eq!(asked("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews HTTP/1.1"), None);
        assert_eq!(asked("POST /api/v1/namespaces/a/secrets HTTP/1.1"), None);
        assert_eq!(
            asked("PATCH /api/v1/namespaces/a/services/b?fieldManager=helm HTTP/1.1"),
            Some(Side::After)
        );
        assert_eq!(asked("DELETE /api/v1/namespaces/a/pods/c HTTP/1.1"), None);
        let written = state.into_inner().unwrap().writes;
        assert_eq!(written[1], "PATCH /api/v1/namespaces/a/services/b");
        assert_eq!(written.len(), 3);
    }
}
