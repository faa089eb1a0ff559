//! A whole Forebay: Envoy with the filter, one backend a service, and, with Redis or Memcached, a gate. What a test wants of it enters
//! by [`Stack`]; a [`Running`] one leaves, and is gone when it is dropped.

mod clocks;
mod envoy;
mod forebay;
mod running;
mod start;

use envoy::Changes;
pub use forebay::Tls;
pub use running::{Backend, Links, Running, Upstream};
use serde_json::Value;
use std::path::PathBuf;

/// Where results are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// In the backend, which then has the gate's port too.
    Memory,
    /// In Redis, with a gate of its own.
    Redis,
    /// In two Memcached's, with a gate of its own.
    Memcached,
    /// In the Redis that Sentinels name, with a gate of its own.
    Sentinel,
    /// In a Redis in cluster mode, with a gate of its own.
    Cluster,
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
    gate_arguments: Vec<String>,
    holds: bool,
    on_demand: Vec<String>,
    tenant: Option<String>,
    brought: Option<Brought>,
    tls: Option<Tls>,
    replicas: usize,
    proxies: usize,
    links: bool,
    goes_by: GoesBy,
    computes: Computes,
}

/// Who computes what a backend answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Computes {
    /// It does.
    Itself,
    /// A server of its own, which it is the front of.
    Another,
}

/// What time it is for a process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum GoesBy {
    MachinesClock,
    OwnClocks,
}

/// Secrets that somebody else brings.
pub struct Brought {
    /// The token that the front shows.
    pub token: String,
    /// Redis' password.
    pub password: String,
    /// The folder of the backend's files, named as the chart names them.
    pub serve: PathBuf,
    /// The folder of the gate's.
    pub gate: PathBuf,
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
            gate_arguments: Vec::new(),
            holds: false,
            on_demand: Vec::new(),
            tenant: None,
            brought: None,
            tls: None,
            replicas: 1,
            proxies: 1,
            links: false,
            goes_by: GoesBy::MachinesClock,
            computes: Computes::Itself,
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

    /// So many backends of the first service, all of them endpoints of its clusters.
    #[must_use]
    pub fn replicas(mut self, count: usize) -> Self {
        self.replicas = count;
        self
    }

    /// So many Envoys, which are alike.
    #[must_use]
    pub fn proxies(mut self, count: usize) -> Self {
        self.proxies = count;
        self
    }

    /// Backends and gate are linked to Redis, and Envoys to the gate and the first backend, each by a link of their own that can fail.
    #[must_use]
    pub fn links(mut self) -> Self {
        self.links = true;
        self
    }

    /// Each process has a wall clock of its own, which [can be set](Running::set_clock).
    #[must_use]
    pub fn clocks(mut self) -> Self {
        self.goes_by = GoesBy::OwnClocks;
        self
    }

    /// Each backend is `front`, before a server of its own that keeps nothing.
    #[must_use]
    pub fn fronted(mut self) -> Self {
        self.computes = Computes::Another;
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

    /// Results are parted by tenant, and all who come are this one.
    #[must_use]
    pub fn tenant(mut self, tenant: &str) -> Self {
        self.tenant = Some(tenant.to_owned());
        self.filter(serde_json::json!({"tenancy": "required", "tenant": tenant}))
    }

    /// Secrets are files that somebody else fills; Envoy's is named by [`with`](Self::with).
    #[must_use]
    pub fn brought(mut self, brought: Brought) -> Self {
        self.brought = Some(brought);
        self.injects()
    }

    /// Backend, gate and Envoy speak nothing but TLS, Envoy by the files of the chart.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
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

    /// More arguments of `gate`, until it is started again.
    #[must_use]
    pub fn gate(mut self, arguments: &[&str]) -> Self {
        self.gate_arguments = arguments.iter().map(ToString::to_string).collect();
        self
    }

    /// The gate holds what comes while the first service's backend is not there.
    #[must_use]
    pub fn holds(mut self) -> Self {
        self.holds = true;
        self
    }

    /// The first service's models that a backend of their own computes, the last one of the stack; the gate holds what comes while it
    /// is not there.
    #[must_use]
    pub fn on_demand(mut self, models: &[&str]) -> Self {
        self.on_demand = models.iter().map(ToString::to_string).collect();
        let backends = serde_json::json!({"on_demand": {&*self.services[0]: models}});
        self.filter(serde_json::json!({ "backends": backends })).holds()
    }
}

/// A machine that is busy with tests lets a lookup wait longer than the few milliseconds that a mesh does.
fn patient() -> Value {
    serde_json::json!({"gate": {"timeout_ms": 1000}})
}
