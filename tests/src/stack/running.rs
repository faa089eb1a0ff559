//! A stack that runs: what a test asks of it and does to it.

use super::clocks::Clocks;
use super::envoy;
use super::forebay::{self, Secrets};
use rig::forebay::Ports;
use rig::http::{self, Answer};
use rig::link::Link;
use rig::process::{Process, until};
use rig::sentinel::Sentinel;
use rig::tier::Server;
use std::iter::once;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// A clock is as it was set if no more than a test's time is between them.
const SHOWN_WITHIN_S: u64 = 600;

/// A backend and what it serves.
pub struct Backend {
    /// Its service.
    pub service: String,
    /// Its own copy of the models.
    pub repository: PathBuf,
    /// The process.
    pub process: Process,
    pub(super) ports: Ports,
    /// What it stands before, where it is a [front](super::Stack::fronted).
    pub upstream: Option<Upstream>,
}

/// A server behind a front.
pub struct Upstream {
    /// The process.
    pub process: Process,
    pub(super) ports: Ports,
}

/// An Envoy beside the first one.
pub(super) struct Proxy {
    pub(super) process: Process,
    pub(super) port: u16,
    pub(super) admin_port: u16,
}

/// Links that can fail.
pub struct Links {
    /// Of all backends to Redis.
    pub backends: Link,
    /// Of the gate to Redis.
    pub gate: Link,
    /// Of all Envoys to the gate.
    pub envoys: Link,
    /// Of all Envoys to the first backend, by HTTP and gRPC.
    pub first_backend: [Link; 2],
}

/// A running stack. Fields end in this order.
pub struct Running {
    /// Envoy.
    pub envoy: Process,
    pub(super) others: Vec<Proxy>,
    /// Where the stack [has them](super::Stack::links).
    pub links: Option<Links>,
    pub(super) clocks: Option<Clocks>,
    pub(super) gate: Option<(Process, Ports)>,
    /// The backends, as the services were named.
    pub backends: Vec<Backend>,
    /// Redis, its master first, or the Memcached's, where there are any.
    pub servers: Vec<Server>,
    /// Who watches over them.
    pub(super) _sentinels: Vec<Sentinel>,
    /// Of the shared pool.
    pub(super) url: Option<String>,
    /// Envoy's port.
    pub port: u16,
    pub(super) admin_port: u16,
    pub(super) secrets: Secrets,
    pub(super) arguments: Vec<String>,
    pub(super) folder: TempDir,
}

impl Running {
    /// Sends bytes to Envoy on a connection of its own.
    ///
    /// # Panics
    /// No whole answer comes.
    pub fn send(&self, request: &[u8]) -> Answer {
        http::send(self.port, request).expect("Envoy answers")
    }

    /// `POST` of a body to a model's infer path.
    pub fn infer(&self, model: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send(&http::post(&format!("/v2/models/{model}/infer"), headers, body))
    }

    /// Sum of a backend's counter over its labels, where the line names `with` (a model, for instance).
    ///
    /// # Panics
    /// The backend does not answer.
    pub fn backend_metric(&self, backend: usize, name: &str, with: &str) -> u64 {
        http::metric(self.backends[backend].ports.metrics, name, with).expect("the backend's metrics")
    }

    /// Inferences that the server behind the first front did for a model.
    ///
    /// # Panics
    /// There is none, or it does not answer.
    pub fn upstream_inferences(&self, model: &str) -> u64 {
        let upstream = self.backends[0].upstream.as_ref().expect("a server behind the front");
        let label = format!("model=\"{model}\"");
        http::metric(upstream.ports.metrics, "nv_inference_count", &label).expect("the server's metrics")
    }

    /// Inferences that all backends did for a model.
    pub fn inferences(&self, model: &str) -> u64 {
        let label = format!("model=\"{model}\"");
        (0..self.backends.len()).map(|index| self.backend_metric(index, "nv_inference_count", &label)).sum()
    }

    /// Envoy's statistics whose name contains `part`, as "name: value" lines.
    ///
    /// # Panics
    /// Envoy does not answer.
    pub fn stats(&self, part: &str) -> Vec<(String, u64)> {
        stats(self.admin_port, part)
    }

    /// The ports of all Envoys.
    pub fn all_ports(&self) -> Vec<u16> {
        once(self.port).chain(self.others.iter().map(|one| one.port)).collect()
    }

    pub(super) fn all_admin_ports(&self) -> Vec<u16> {
        once(self.admin_port).chain(self.others.iter().map(|one| one.admin_port)).collect()
    }

    /// Whether Envoy takes a cluster's host of that priority for one that answers; `None` while there is none.
    ///
    /// # Panics
    /// Envoy does not answer.
    pub fn is_healthy(&self, cluster: &str, priority: u64) -> Option<bool> {
        let clusters = self.admin("/clusters?format=json").json();
        let clusters = clusters["cluster_statuses"].as_array()?;
        let hosts = clusters.iter().find(|found| found["name"] == cluster)?["host_statuses"].as_array()?;
        let host = hosts.iter().find(|host| host["priority"].as_u64().unwrap_or(0) == priority)?;
        let has = |flag: &str| host["health_status"][flag].as_bool() == Some(true);
        Some(!has("failed_active_health_check") && !has("pending_active_hc"))
    }

    /// Asserts that no VM died: neither Envoy's log nor its statistics say so.
    ///
    /// # Panics
    /// One did.
    pub fn sound(&self) {
        for envoy in once(&self.envoy).chain(self.others.iter().map(|one| &one.process)) {
            let log = envoy.log();
            let trap =
                log.lines().find(|line| line.contains("panicked") || line.contains("Function: proxy_on"));
            assert_eq!(trap, None, "the filter trapped");
        }
        for port in self.all_admin_ports() {
            let reloads: Vec<_> =
                stats(port, "wasm").into_iter().filter(|(name, _)| name.contains("vm_reload")).collect();
            assert!(!reloads.is_empty() && reloads.iter().all(|(_, count)| *count == 0), "{reloads:?}");
        }
    }

    /// Starts a backend that was killed again, on the same ports.
    pub fn restart_backend(&mut self, index: usize) {
        let backend = &self.backends[index];
        let name = backend.process.name().to_owned();
        let model_source = (backend.repository.as_path(), backend.service.as_str());
        let Ports { http, grpc, metrics, .. } = backend.ports;
        let ports = (http, grpc.unwrap_or(0), metrics);
        let command =
            forebay::serve(model_source, ports, self.url.as_deref(), &self.secrets, &self.arguments);
        let (process, ports) = forebay::start(&name, command, self.clocks.as_ref());
        let backend = &mut self.backends[index];
        (backend.process, backend.ports) = (process, ports);
    }

    /// The process of an Envoy beside the first, counted from 1.
    pub fn proxy(&mut self, number: usize) -> &mut Process {
        &mut self.others[number - 1].process
    }

    /// The gate's process, where it is one of its own.
    pub fn gate(&mut self) -> Option<&mut Process> {
        self.gate.as_mut().map(|(process, _)| process)
    }

    /// Sets a process's clock so many seconds ahead of the machine's, where [each has its own](super::Stack::clocks): that of `envoy` or
    /// `proxy-1`, `gate`, `redis`, or of a backend by its service's name or as `replica-1`.
    ///
    /// # Panics
    /// There is no such clock.
    pub fn set_clock(&self, name: &str, ahead_s: i64) {
        self.clocks.as_ref().expect("clocks").set(name, ahead_s);
    }

    /// Waits until each process shows itself that it goes by its clock.
    ///
    /// # Panics
    /// One does not.
    pub fn until_clocks_are_shown(&self) {
        let clocks = self.clocks.as_ref().map(Clocks::all).unwrap_or_default();
        for (name, ahead_s) in clocks {
            until(&format!("{name} shows that its clock is {ahead_s} s ahead"), || {
                let shown_s = self.shown_ahead_s(&name)?;
                (shown_s.abs_diff(ahead_s) <= SHOWN_WITHIN_S).then_some(())
            });
        }
    }

    /// So many seconds is a process's clock ahead, as it shows itself.
    fn shown_ahead_s(&self, name: &str) -> Option<i64> {
        let others = self.others.iter().zip(1..);
        let others = others.map(|(proxy, number)| (format!("proxy-{number}"), proxy.admin_port));
        let mut proxies = once(("envoy".to_owned(), self.admin_port)).chain(others);
        if let Some((_, admin_port)) = proxies.find(|(proxy, _)| proxy == name) {
            // It started a moment ago, by a clock that was right.
            let info = http::send(admin_port, &http::get("/server_info")).ok()?.json();
            return info["uptime_current_epoch"].as_str()?.trim_end_matches('s').parse().ok();
        }
        if name == "redis" {
            let seconds: u64 = self.servers[0].ask("TIME").nth(2)?.parse().ok()?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
            return seconds.checked_signed_diff(now.as_secs());
        }
        let backend = self.backends.iter().find(|backend| backend.process.name() == name);
        let ports = backend.map(|backend| backend.ports).or(self.gate.as_ref().map(|(_, ports)| *ports))?;
        let metrics = http::send(ports.metrics, &http::get("/metrics")).ok()?;
        let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
        let skew = metrics.lines().find_map(|line| line.strip_prefix("forebay_pool_clock_skew_seconds "))?;
        // The pool's clock is Redis'.
        Some(self.shown_ahead_s("redis")? - skew.split('.').next()?.parse::<i64>().ok()?)
    }

    /// A figure of the gate's whose line begins so; 0 when there is none.
    ///
    /// # Panics
    /// There is no gate, or it does not answer.
    pub fn gate_metric(&self, start: &str) -> u64 {
        let (_, ports) = self.gate.as_ref().expect("a gate");
        let answer = http::send(ports.metrics, &http::get("/metrics")).expect("the gate's metrics");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let line = text.lines().find(|line| line.starts_with(start));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    }

    /// Starts the gate that was killed again, on the same port.
    ///
    /// # Panics
    /// It does not start.
    pub fn restart_gate(&mut self) {
        if let (Some(url), Some((process, ports))) = (&self.url, &mut self.gate) {
            let port = ports.gate.expect("a gate has its port");
            let command = forebay::gate(url, port, &self.secrets, None);
            (*process, *ports) = forebay::start("gate", command, self.clocks.as_ref());
        }
    }

    /// Waits until the live generations that the backends published have reached the filter's workers: until an answer
    /// stored before a poll is still given after it.
    ///
    /// # Panics
    /// They do not.
    pub fn until_polled(&self) {
        // With the table, or with nothing new.
        let polls = || -> u64 {
            let answers = ["200", "204"].map(|code| format!("cluster.forebay-gate.upstream_rq_{code}"));
            answers.iter().flat_map(|name| self.stats(name)).map(|(_, count)| count).sum()
        };
        let before = polls();
        until("the filter polls the gate twice", || (polls() >= before + 2).then_some(()));
    }

    /// Gives Envoy another credential to put on.
    pub fn replace_credential(&self, token: &str) {
        envoy::write_credential(self.folder(), token);
    }

    /// The port of the first backend, and that of the gate in it.
    ///
    /// # Panics
    /// It has none: its pool is shared.
    pub fn first_backend_ports(&self) -> (u16, u16) {
        (self.backends[0].ports.http, self.backends[0].ports.gate.expect("its pool is in memory"))
    }

    /// Ports of a backend's HTTP and of its metrics.
    pub fn backend_ports(&self, backend: usize) -> (u16, u16) {
        let ports = &self.backends[backend].ports;
        (ports.http, ports.metrics)
    }

    /// The port of the gate's metrics, where it is one of its own.
    pub fn gate_metrics_port(&self) -> Option<u16> {
        self.gate.as_ref().map(|(_, ports)| ports.metrics)
    }

    /// The port where that gate takes requests to hold, over HTTP.
    pub fn gate_hold_port(&self) -> Option<u16> {
        self.gate.as_ref().map(|(_, ports)| ports.http)
    }

    /// The port where that gate answers.
    pub fn gate_port(&self) -> Option<u16> {
        self.gate.as_ref().and_then(|(_, ports)| ports.gate)
    }

    /// The port of Envoy's admin interface.
    pub fn admin_port(&self) -> u16 {
        self.admin_port
    }

    /// The token that gate and backend ask for.
    pub fn token(&self) -> &str {
        &self.secrets.token
    }

    /// Envoy's admin interface.
    ///
    /// # Panics
    /// It does not answer.
    pub fn admin(&self, path: &str) -> Answer {
        http::send(self.admin_port, &http::get(path)).expect("Envoy's admin interface")
    }

    /// A folder of the stack's own.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

/// The statistics of an Envoy with that admin port.
fn stats(admin_port: u16, part: &str) -> Vec<(String, u64)> {
    let answer = http::send(admin_port, &http::get("/stats")).expect("Envoy's admin interface");
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let lines = text.lines().filter(|line| line.contains(part));
    lines
        .filter_map(|line| line.split_once(": "))
        .filter_map(|(n, v)| Some((n.into(), v.parse().ok()?)))
        .collect()
}

/// How many tables of live generations the gate has told the filter of the Envoy with that admin port.
pub(super) fn tables(admin_port: u16) -> u64 {
    stats(admin_port, "cluster.forebay-gate.upstream_rq_200").iter().map(|(_, count)| count).sum()
}
