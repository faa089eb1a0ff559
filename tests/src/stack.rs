//! A whole Forebay: Envoy with the filter, one backend a service, and, with Redis or Memcached, a gate. What a test wants of it enters
//! by [`Stack`]; a [`Running`] one leaves, and is gone when it is dropped.

mod envoy;
mod forebay;
mod memcached;
mod redis;

use crate::http::{self, Answer};
use envoy::{Changes, Wiring};
use forebay::{Bound, Secrets};
pub use memcached::Memcached;
pub use redis::Redis;
use rig::process::{Process, until};
use serde_json::Value;
use std::path::PathBuf;
use tempfile::TempDir;

/// Where results are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// In the backend, which then has the gate's port too.
    Memory,
    /// In Redis, with a gate of its own.
    Redis,
    /// In two Memcached's, with a gate of its own.
    Memcached,
}

/// What is to run.
pub struct Stack {
    pool: Pool,
    services: Vec<String>,
    models: Vec<String>,
    changes: Changes,
    injects: bool,
    arguments: Vec<String>,
    gate_port: Option<u16>,
}

impl Default for Stack {
    fn default() -> Self {
        Self::new()
    }
}

impl Stack {
    /// One service with the FP32 identity, its pool in memory, one worker.
    pub fn new() -> Self {
        Self {
            pool: Pool::Memory,
            services: vec!["demo".into()],
            models: vec!["identity_fp32".into()],
            changes: Changes { settings: patient(), workers: 1, texts: Vec::new(), filter: None },
            injects: false,
            arguments: Vec::new(),
            gate_port: None,
        }
    }

    /// Where results are kept.
    #[must_use]
    pub fn pool(mut self, pool: Pool) -> Self {
        self.pool = pool;
        self
    }

    /// The services, each with a backend. The first answers by default, another where `x-test-service` names it.
    #[must_use]
    pub fn services(mut self, services: &[&str]) -> Self {
        self.services = services.iter().map(ToString::to_string).collect();
        self
    }

    /// The models that every backend has, of the generated ones and the real ones.
    #[must_use]
    pub fn models(mut self, models: &[&str]) -> Self {
        self.models = models.iter().map(ToString::to_string).collect();
        self
    }

    /// Envoy's worker threads.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.changes.workers = workers;
        self
    }

    /// Settings of the filter, over those of envoy/forebay.yaml.
    #[must_use]
    pub fn filter(mut self, settings: Value) -> Self {
        envoy::merge(&mut self.changes.settings, settings);
        self
    }

    /// Something in envoy/forebay.yaml that is otherwise.
    #[must_use]
    pub fn with(mut self, text: &str, instead: &str) -> Self {
        self.changes.texts.push((text.to_owned(), instead.to_owned()));
        self
    }

    /// Another filter than ours, which runs with our settings.
    #[must_use]
    pub fn module(mut self, path: PathBuf) -> Self {
        self.changes.filter = Some(path);
        self
    }

    /// The lines for several tenants hold: Envoy puts the token on, and the filter has none.
    #[must_use]
    pub fn injects(mut self) -> Self {
        self.injects = true;
        self
    }

    /// More arguments of `serve`.
    #[must_use]
    pub fn serve(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(ToString::to_string).collect();
        self
    }

    /// The filter's gate is what listens on that port, not ours.
    #[must_use]
    pub fn gate_at(mut self, port: u16) -> Self {
        self.gate_port = Some(port);
        self
    }

    /// Starts it; ready when this returns.
    ///
    /// # Panics
    /// Something does not start.
    pub fn start(self) -> Running {
        let folder = TempDir::new().expect("a temporary folder");
        let secrets = Secrets::create(folder.path(), &self.services, self.injects);
        let redis = (self.pool == Pool::Redis).then(Redis::start);
        let servers = if self.pool == Pool::Memcached { 2 } else { 0 };
        let memcached: Vec<Memcached> = (0..servers).map(|_| Memcached::start()).collect();
        let url = match self.pool {
            Pool::Memory => None,
            Pool::Redis => redis.as_ref().map(Redis::url),
            Pool::Memcached => Some(Memcached::url(&memcached)),
        };
        let mut backends = Vec::new();
        for service in &self.services {
            let repository = forebay::repository(&folder.path().join(service), &self.models);
            let command =
                forebay::serve((&repository, service), 0, url.as_deref(), &secrets, &self.arguments);
            let (process, bound) = forebay::start(service, command);
            backends.push(Backend { service: service.clone(), repository, process, bound });
        }
        let gate = url.as_deref().map(|url| forebay::start("gate", forebay::gate(url, 0, &secrets)));
        let gate_port = gate.as_ref().map_or(backends[0].bound.gate, |(_, bound)| bound.gate);
        let wiring = Wiring {
            backends: backends.iter().map(|b| (b.service.clone(), b.bound.http)).collect(),
            backend_grpc_port: backends[0].bound.grpc.expect("a backend serves gRPC"),
            gate_port: self.gate_port.unwrap_or(gate_port),
            token: secrets.token.clone(),
            injects: self.injects,
            changes: self.changes,
        };
        // What a backend with the gate in it serves, that gate knows before it listens.
        if gate.is_some() && self.gate_port.is_none() {
            for service in &self.services {
                forebay::until_told(gate_port, &secrets, service, &self.models);
            }
        }
        let polls = self.gate_port.is_none() && wiring.changes.poll_the_gate();
        let (envoy, port, admin_port) = envoy::start(folder.path(), &wiring);
        let arguments = self.arguments;
        let running = Running {
            envoy,
            gate,
            backends,
            redis,
            memcached,
            url,
            port,
            admin_port,
            secrets,
            arguments,
            folder,
        };
        if polls {
            until("the filter has a table", || (running.tables() > 0).then_some(()));
        }
        running
    }
}

/// A backend and what it serves.
pub struct Backend {
    /// Its service.
    pub service: String,
    /// Its own copy of the models.
    pub repository: PathBuf,
    /// The process.
    pub process: Process,
    bound: Bound,
}

/// A machine that is busy with tests lets a lookup wait longer than the few milliseconds that a mesh does.
fn patient() -> Value {
    serde_json::json!({"gate": {"timeout_ms": 1000}})
}

/// A running stack. Fields end in this order.
pub struct Running {
    /// Envoy.
    pub envoy: Process,
    gate: Option<(Process, Bound)>,
    /// The backends, as the services were named.
    pub backends: Vec<Backend>,
    /// Redis, where there is one.
    pub redis: Option<Redis>,
    /// The Memcached's, where there are any.
    pub memcached: Vec<Memcached>,
    /// Of the shared pool.
    url: Option<String>,
    /// Envoy's port.
    pub port: u16,
    admin_port: u16,
    secrets: Secrets,
    arguments: Vec<String>,
    folder: TempDir,
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
        let port = self.backends[backend].bound.metrics;
        let answer = http::send(port, &http::get("/metrics")).expect("the backend's metrics");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(with));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
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
        let answer = self.admin("/stats");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let lines = text.lines().filter(|line| line.contains(part));
        lines
            .filter_map(|line| line.split_once(": "))
            .filter_map(|(n, v)| Some((n.into(), v.parse().ok()?)))
            .collect()
    }

    /// Asserts that no VM died: neither Envoy's log nor its statistics say so.
    ///
    /// # Panics
    /// One did.
    pub fn sound(&self) {
        let log = self.envoy.log();
        let trap = log.lines().find(|line| line.contains("panicked") || line.contains("Function: proxy_on"));
        assert_eq!(trap, None, "the filter trapped");
        let reloads: Vec<_> =
            self.stats("wasm").into_iter().filter(|(name, _)| name.contains("vm_reload")).collect();
        assert!(!reloads.is_empty() && reloads.iter().all(|(_, count)| *count == 0), "{reloads:?}");
    }

    /// Starts a backend that was killed again, on the same port.
    pub fn restart_backend(&mut self, index: usize) {
        let backend = &self.backends[index];
        let (model_source, port) =
            ((backend.repository.as_path(), backend.service.as_str()), backend.bound.http);
        let command = forebay::serve(model_source, port, self.url.as_deref(), &self.secrets, &self.arguments);
        let (process, bound) = forebay::start(&self.backends[index].service, command);
        let backend = &mut self.backends[index];
        (backend.process, backend.bound) = (process, bound);
    }

    /// The gate's process, where it is one of its own.
    pub fn gate(&mut self) -> Option<&mut Process> {
        self.gate.as_mut().map(|(process, _)| process)
    }

    /// Starts the gate that was killed again, on the same port.
    pub fn restart_gate(&mut self) {
        if let (Some(url), Some((process, bound))) = (&self.url, &mut self.gate) {
            (*process, *bound) = forebay::start("gate", forebay::gate(url, bound.gate, &self.secrets));
        }
    }

    /// How many tables of live generations the gate has told the filter.
    fn tables(&self) -> u64 {
        self.stats("cluster.forebay-gate.upstream_rq_200").iter().map(|(_, count)| count).sum()
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
    pub fn first_backend_ports(&self) -> (u16, u16) {
        (self.backends[0].bound.http, self.backends[0].bound.gate)
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
