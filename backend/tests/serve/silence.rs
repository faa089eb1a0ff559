//! `serve` speaks to nobody whom it was not told of. ONNX Runtime would: it calls its maker some seconds after it was loaded.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{read_dir, read_link, read_to_string};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::Command;

use rig::process::{not_tested, until};
use tempfile::TempDir;

use crate::client::fp32;
use crate::process::{Forebay, can_have_its_own_files, repository_with, serve_command, with_file};

const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
/// Where one of these is set, ONNX Runtime takes its machine for one that only builds and tests, and reports nothing (their names
/// stand in its library).
const MACHINES_THAT_BUILD: [&str; 12] = [
    "CI",
    "TF_BUILD",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "CIRCLECI",
    "TRAVIS",
    "JENKINS_URL",
    "CODEBUILD_BUILD_ID",
    "BUILDKITE",
    "TEAMCITY_VERSION",
    "APPVEYOR",
    "BITBUCKET_BUILD_NUMBER",
];
/// What names are asked of.
const DNS_PORT: u16 = 53;
/// An answer's flags: there is no such name.
const NO_SUCH_NAME: [u8; 2] = [0x81, 0x83];
/// Names are asked for once for each kind of address, again when that failed: with three queries it has tried twice.
const TWICE: usize = 3;

/// A server of names that a process believes to be its machine's, and that knows none.
struct Names {
    socket: UdpSocket,
    folder: TempDir,
}

impl Names {
    /// At an address of the loopback, which a test has for itself; `None` where ports such as this one are not for everybody.
    fn at(last: u8) -> Option<Self> {
        let process = std::process::id().to_le_bytes();
        let address = Ipv4Addr::new(127, process[0].max(1), process[1], last);
        let socket = UdpSocket::bind((address, DNS_PORT)).ok()?;
        socket.set_nonblocking(true).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("resolv.conf"), format!("nameserver {address}\n")).unwrap();
        Some(Self { socket, folder })
    }

    /// The same command, whose resolver asks here. Nobody else's does.
    fn for_command(&self, command: &Command) -> Command {
        with_file("/etc/resolv.conf", &self.folder.path().join("resolv.conf"), command)
    }

    /// The names that were asked for since it was looked at last. There is none of them.
    fn asked(&self) -> Vec<String> {
        let (mut query, mut names) = ([0; 512], Vec::new());
        while let Ok((bytes, who)) = self.socket.recv_from(&mut query) {
            names.push(name(&query[..bytes]));
            query[2..4].copy_from_slice(&NO_SUCH_NAME);
            let _ = self.socket.send_to(&query[..bytes], who);
        }
        names
    }
}

/// The name in a query: after the head, labels with their lengths.
fn name(query: &[u8]) -> String {
    let (mut labels, mut rest) = (Vec::new(), query.get(12..).unwrap_or_default());
    while let Some((&length, after)) = rest.split_first().filter(|(length, _)| **length > 0) {
        let (label, others) = after.split_at(after.len().min(usize::from(length)));
        labels.push(String::from_utf8_lossy(label).into_owned());
        rest = others;
    }
    labels.join(".")
}

/// `serve`, with that said of telemetry by its user.
fn serve(repository: &Path, said: Option<&str>) -> Command {
    let mut command = serve_command(repository, &["--instances", "1"]);
    // The tests' own environment says it too.
    for name in MACHINES_THAT_BUILD {
        command.env_remove(name);
    }
    command.env_remove(VARIABLE).envs(said.map(|said| (VARIABLE, said)));
    command
}

/// Threads that have the program's name or that of the thread which loads ONNX Runtime: its first, and those of a library that gives its
/// own none.
fn unnamed_threads(forebay: &Forebay) -> usize {
    let tasks = read_dir(format!("/proc/{}/task", forebay.id())).unwrap();
    let names = tasks.filter_map(|task| read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| ["forebay", "onnxruntime"].contains(&name.trim())).count()
}

/// Sockets of the process that neither listen, nor were accepted at one of its ports.
fn connections_of_its_own(forebay: &Forebay) -> Vec<String> {
    let files = read_dir(format!("/proc/{}/fd", forebay.id())).unwrap();
    let own: BTreeSet<OsString> =
        files.filter_map(|file| Some(read_link(file.ok()?.path()).ok()?.into_os_string())).collect();
    let mut strange = Vec::new();
    for protocol in ["tcp", "tcp6", "udp", "udp6"] {
        let table = read_to_string(format!("/proc/{}/net/{protocol}", forebay.id())).unwrap_or_default();
        for line in table.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (local, remote, state, inode) = (words[1], words[2], words[3], words[9]);
            let port = u16::from_str_radix(local.rsplit(':').next().unwrap(), 16).unwrap();
            let is_told = protocol.starts_with("tcp") && (state == "0A" || forebay.ports().contains(&port));
            if own.contains(&OsString::from(format!("socket:[{inode}]"))) && !is_told {
                strange.push(format!("{protocol} {local} {remote}"));
            }
        }
    }
    strange
}

#[test]
fn onnx_runtime_has_no_thread_that_reports_unless_its_user_says_so() {
    let repository = repository_with("identity_fp32", "");
    for (said, threads) in [(None, 1), (Some(""), 1), (Some("1"), 1), (Some("0"), 2)] {
        let forebay = Forebay::start(serve(repository.path(), said));
        // One of our own that was just made has the program's name until it gives itself another; one that reports stays.
        until(&format!("{threads} threads, where {VARIABLE} is {said:?}"), || {
            (unnamed_threads(&forebay) == threads).then_some(())
        });
    }
}

#[test]
fn serve_asks_for_no_name_and_opens_no_connection_that_it_was_not_told_of() {
    let names = can_have_its_own_files().then(|| Names::at(1).zip(Names::at(2))).flatten();
    let Some((silent, loud)) = names else {
        return not_tested("which names serve asks for; that needs root: a mount of its own, and port 53");
    };
    let repository = repository_with("identity_fp32", "");
    let ours = Forebay::start(silent.for_command(&serve(repository.path(), None)));
    // A user who lets it: so that it is known what would be seen, and when.
    let theirs = Forebay::start(loud.for_command(&serve(repository.path(), Some("0"))));
    for forebay in [&ours, &theirs] {
        assert_eq!(forebay.infer("identity_fp32", &[], &fp32(&[1.0])).status, 200);
    }
    let (mut heard, mut called) = (Vec::new(), Vec::new());
    until("ONNX Runtime has called twice where it may", || {
        heard.extend(silent.asked());
        called.extend(loud.asked());
        (called.len() >= TWICE).then_some(())
    });
    assert!(called.iter().all(|name| name.ends_with(".microsoft.com")), "{called:?}");
    assert_eq!(heard, [""; 0]);
    assert_eq!(connections_of_its_own(&ours), [""; 0]);
}
