//! A service whose backends come and go, and its gate.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use rig::http::{Answer, Connection, request};
use rig::installed::onnxruntime;
use rig::process::{free_port, until};
use rig::v2::{JSON, fp32};
use tempfile::TempDir;

use crate::client::begun;
use crate::mesh::Mesh;
use crate::process::{
    Forebay, can_have_its_own_files, command, gate_command, repository_with, test_repository, with_file,
};

pub(crate) const PATH: &str = "/v2/models/identity_fp32/infer";
/// The name that stands for all backends, where there are several.
const NAME: &str = "backends.test";

/// The service.
pub(crate) struct Elastic {
    pub(crate) mesh: Mesh,
    pub(crate) gate: Forebay,
    pub(crate) place: Place,
}

/// Where its backends are, once they are.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) http: u16,
    pub(crate) grpc: u16,
    pub(crate) metrics: u16,
}

impl Place {
    pub(crate) fn free() -> Self {
        Self { http: free_port(), grpc: free_port(), metrics: free_port() }
    }

    /// A gate's arguments, where backends are found by that name.
    fn held_for(self, name: &str) -> Vec<String> {
        let (grpc, metrics) = (self.grpc.to_string(), self.metrics.to_string());
        [
            ("--hold-for", format!("http://{name}:{}", self.http)),
            ("--hold-for-grpc-port", grpc),
            ("--hold-for-metrics-port", metrics),
            ("--hold-ports", "0,0".to_owned()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect()
    }

    /// A backend there.
    pub(crate) fn serve(self, address: Ipv4Addr, repository: &Path, more: &[&str]) -> Command {
        let address = address.to_string();
        let mut serve = command(&["serve", "--http-address", &address, "--grpc-address", &address]);
        for (flag, port) in
            [("--http-port", self.http), ("--grpc-port", self.grpc), ("--metrics-port", self.metrics)]
        {
            serve.args([flag, &port.to_string()]);
        }
        serve.args(["--metrics-address", &address, "--instances", "1"]).args(more);
        serve.arg("--model-repository").arg(repository).arg("--onnxruntime").arg(onnxruntime());
        serve
    }
}

/// Names of this machine's, as one process has them.
pub(crate) struct Names(TempDir);

impl Names {
    /// Three addresses of the loopback have one name; `None` where a process may not have names of its own.
    pub(crate) fn of_three() -> Option<Self> {
        can_have_its_own_files().then(|| {
            let names = Self(tempfile::tempdir().unwrap());
            names.stand_for(&ADDRESSES);
            names
        })
    }

    /// From now on the name stands for those.
    pub(crate) fn stand_for(&self, addresses: &[Ipv4Addr]) {
        let lines: Vec<String> = addresses.iter().map(|address| format!("{address} {NAME}\n")).collect();
        std::fs::write(self.0.path().join("hosts"), lines.concat()).unwrap();
    }
}

/// Where backends are, the first first.
pub(crate) const ADDRESSES: [Ipv4Addr; 3] =
    [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];

impl Elastic {
    pub(crate) fn asleep(mesh: Mesh, more: &[&str]) -> Self {
        Self::named(mesh, None, more)
    }

    /// One whose backends have those names, or one at the loopback alone.
    pub(crate) fn named(mesh: Mesh, names: Option<&Names>, more: &[&str]) -> Self {
        let place = Place::free();
        let gate = Forebay::start(gate_of(&mesh, place, names, more));
        Self { mesh, gate, place }
    }

    /// Another gate of the same service.
    pub(crate) fn another_gate(&self, more: &[&str]) -> Forebay {
        Forebay::start(gate_of(&self.mesh, self.place, None, more))
    }

    /// A backend wakes.
    pub(crate) fn wakes(&self) -> Forebay {
        self.wakes_with(&test_repository(), &[])
    }

    pub(crate) fn wakes_with(&self, repository: &Path, more: &[&str]) -> Forebay {
        Forebay::start(self.place.serve(ADDRESSES[0], repository, &self.mesh.arguments(more)))
    }

    pub(crate) fn ask(&self, value: f32) -> Connection {
        asks(&self.gate, value)
    }

    pub(crate) fn asked(&self, value: f32) -> Answer {
        self.ask(value).read().unwrap()
    }

    pub(crate) fn until_held(&self, count: u64) {
        until_held(&self.gate, count);
    }
}

fn gate_of(mesh: &Mesh, place: Place, names: Option<&Names>, more: &[&str]) -> Command {
    let held_for = place.held_for(if names.is_some() { NAME } else { "127.0.0.1" });
    let held_for: Vec<&str> = held_for.iter().map(String::as_str).collect();
    let gate = gate_command(&mesh.arguments(&[&held_for, more].concat()));
    match names {
        None => gate,
        Some(Names(folder)) => with_file("/etc/hosts", &folder.path().join("hosts"), &gate),
    }
}

/// A request at that gate.
pub(crate) fn asks(gate: &Forebay, value: f32) -> Connection {
    begun(gate.http_port, &request("POST", PATH, &JSON, &fp32(&[value])))
}

pub(crate) fn until_held(gate: &Forebay, count: u64) {
    until("they are held", || (gate.metric_line("forebay_held_requests") == count).then_some(()));
}

/// What the model gives for that is that.
pub(crate) fn is_right(answer: &Answer, value: f32) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["outputs"][0]["data"][0], value, "{answer:?}");
}

/// A repository whose model takes up to six at a time, and waits so long for the sixth.
pub(crate) fn patient(microseconds: u32) -> TempDir {
    let config = format!(
        "max_batch_size: 8 dynamic_batching {{ preferred_batch_size: [ 6 ] max_queue_delay_microseconds: {microseconds} }} \
         response_cache {{ enable: true }}"
    );
    repository_with("identity_fp32", &config)
}
