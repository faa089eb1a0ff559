//! The services in the order of start: Redis or Memcached, the backend, the gate, Envoy. Settings enter, addresses of what is ready leave.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::envoy_config::check_filter;
use super::folder::Folder;
use super::{Pool, Settings, backend};
use crate::command::command;
use crate::http::Client;
use crate::layout::Layout;
use rig::forebay::Ports;
use rig::group::Group;
use rig::process::{PATIENCE, free_port, listens};
use rig::tier::Tier;

/// The service that the backend is and that the filter asks for.
const SERVICE: &str = "demo";

/// Worker threads of Envoy.
const CONCURRENCY: &str = "2";

/// Envoy's counter of the tables that the gate has told.
const TABLES: &str = "cluster.forebay-gate.upstream_rq_200";

/// Base URLs of what runs.
pub(super) struct Services {
    pub(super) envoy: String,
    pub(super) admin: String,
    pub(super) backend: String,
    /// `host:port`, as gRPC clients want it.
    pub(super) backend_grpc: String,
    pub(super) backend_metrics: String,
    pub(super) gate: String,
    /// The program, and the file with the token of who may purge and look.
    pub(super) forebay: PathBuf,
    pub(super) operators: PathBuf,
}

/// What the services have in common.
struct Shared {
    forebay: PathBuf,
    pool_secret: PathBuf,
    operators: PathBuf,
    /// The flag of the pool, and the variable and the URL that name it.
    pool: (&'static str, Option<(&'static str, String)>),
}

impl Services {
    /// Starts all of it, each when what it needs is ready.
    ///
    /// # Errors
    /// One can't be started, ends, or is not ready in time.
    pub(super) fn start(
        layout: &Layout,
        settings: &Settings,
        folder: &Folder,
        group: &mut Group,
    ) -> Result<Self> {
        let [(pool_secret, _), (operators, _)] = [folder.secret("pool-secret")?, folder.secret("operators")?];
        let ports = &settings.ports;
        let mut start = |tier, port| start_tier(layout, tier, port, folder, group);
        let pool = match settings.pool {
            Pool::Redis => ("redis", Some(("FOREBAY_REDIS_URL", start(Tier::Redis, ports.redis)?))),
            Pool::Memcached => {
                ("memcached", Some(("FOREBAY_MEMCACHED_URL", start(Tier::Memcached, ports.memcached)?)))
            }
            Pool::Memory => ("memory", None),
        };
        let forebay = settings.forebay.clone().map_or_else(|| backend(layout), Ok)?;
        let shared = Shared { forebay, pool_secret, operators, pool };
        let backend = start_backend(layout, settings, folder, &shared, group)?;
        let gate = match settings.pool {
            Pool::Redis | Pool::Memcached => start_gate(settings, &shared, group)?.gate,
            Pool::Memory => backend.gate,
        };
        let gate = gate.context("there is no gate")?;
        let backend_grpc = backend.grpc.context("the backend serves no gRPC")?;
        // Envoy runs in the checkout's root.
        let filter = settings.filter.as_ref().map_or_else(|| Ok(layout.filter()), std::path::absolute)?;
        let (admin, envoy) = start_envoy(
            layout,
            settings,
            folder,
            group,
            &[
                ("envoy_port", settings.ports.envoy.to_string()),
                ("admin_port", settings.ports.admin.to_string()),
                ("backend_port", backend.http.to_string()),
                ("backend_grpc_port", backend_grpc.to_string()),
                ("gate_port", gate.to_string()),
                ("filter", Value::from(filter.to_string_lossy()).to_string()),
                ("service", Value::from(SERVICE).to_string()),
            ],
        )?;
        Ok(Self {
            envoy,
            admin,
            backend: url(backend.http),
            backend_grpc: format!("127.0.0.1:{backend_grpc}"),
            backend_metrics: url(backend.metrics),
            gate: url(gate),
            forebay: shared.forebay,
            operators: shared.operators,
        })
    }
}

/// Redis or Memcached with a bound in bytes and a password. Returns its URL.
fn start_tier(layout: &Layout, tier: Tier, port: u16, folder: &Folder, group: &mut Group) -> Result<String> {
    let name = tier.name();
    let (_, password) = folder.secret(&format!("{name}-password"))?;
    let port = if port == 0 { free_port() } else { port };
    let mut server = tier.command(&layout.dir.join("bin"), port);
    // The password is in a file: everyone can list arguments.
    let user = match tier {
        Tier::Redis => {
            let file = folder.private("redis.conf", &format!("requirepass {password}\n"))?;
            server.args(["--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lfu", "--include"]).arg(file);
            ""
        }
        Tier::Memcached => {
            let file = folder.private("memcached-auth", &format!("{SERVICE}:{password}\n"))?;
            server.args(["--memory-limit=256", "--auth-file"]).arg(file);
            SERVICE
        }
    };
    println!("starting {name}");
    server.current_dir(&folder.path);
    group.start(name, server)?;
    group.until(name, PATIENCE, || listens(port))?;
    Ok(format!("{name}://{user}:{password}@127.0.0.1:{port}"))
}

fn start_backend(
    layout: &Layout,
    settings: &Settings,
    folder: &Folder,
    shared: &Shared,
    group: &mut Group,
) -> Result<Ports> {
    let repository = settings.model_repository.clone().unwrap_or_else(|| folder.repository());
    println!("starting backend ({})", Layout::shown(&repository));
    let mut serve = forebay(shared, "serve", settings.ports.backend_metrics);
    serve.args(["--http-address=127.0.0.1", &format!("--http-port={}", settings.ports.backend)]);
    serve.arg(format!("--gate-port={}", settings.ports.gate));
    serve.arg("--model-repository").arg(repository);
    serve.args(["--model-control-mode", "poll", "--repository-poll-secs", "1", "--service", SERVICE]);
    serve.args(["--grpc-address=127.0.0.1", &format!("--grpc-port={}", settings.ports.backend_grpc)]);
    // The gate is in it.
    serve.args(
        (settings.pool == Pool::Memory).then(|| format!("--operators-file={}", shared.operators.display())),
    );
    // Of somebody's models, one that can't be loaded is told at the end, and the others are served.
    serve.args(settings.model_repository.as_ref().map(|_| "--exit-on-error=false"));
    serve.arg("--onnxruntime").arg(layout.onnxruntime());
    group.start_until("backend", serve, PATIENCE, Ports::of)
}

fn start_gate(settings: &Settings, shared: &Shared, group: &mut Group) -> Result<Ports> {
    println!("starting gate");
    let mut gate = forebay(shared, "gate", settings.ports.gate_metrics);
    gate.arg(format!("--gate-port={}", settings.ports.gate)).arg("--operators-file").arg(&shared.operators);
    group.start_until("gate", gate, PATIENCE, Ports::of)
}

/// The flags that `serve` and `gate` share.
fn forebay(shared: &Shared, subcommand: &str, metrics_port: u16) -> Command {
    let mut forebay = command(&shared.forebay, [subcommand, "--metrics-address=127.0.0.1"]);
    forebay.arg(format!("--metrics-port={metrics_port}"));
    forebay.args(["--log-format", "text", "--pool"]).env("NO_COLOR", "1");
    let (pool, url) = &shared.pool;
    forebay.arg(pool).arg("--pool-secret-file").arg(&shared.pool_secret);
    if let Some((variable, url)) = url {
        // With its password, so not among the arguments that everyone can list.
        forebay.env(variable, url);
    }
    forebay
}

/// Starts Envoy and returns the URLs of its admin interface and its listener.
fn start_envoy(
    layout: &Layout,
    settings: &Settings,
    folder: &Folder,
    group: &mut Group,
    values: &[(&str, String)],
) -> Result<(String, String)> {
    let template = layout.root.join("envoy/forebay.yaml");
    let template =
        fs::read_to_string(&template).with_context(|| format!("can't read {}", template.display()))?;
    let filled = rig::envoy::fill(&template, values)?;
    check_filter(&filled)?;
    let config = folder.private("envoy.yaml", &filled)?;
    println!("starting envoy (--concurrency {CONCURRENCY})");
    let admin_file = folder.path.join("envoy-admin-address");
    let mut envoy =
        command(layout.bin("envoy"), ["--concurrency", CONCURRENCY, "--disable-hot-restart", "-c"]);
    envoy.arg(config).arg("--admin-address-path").arg(&admin_file).current_dir(&layout.root);
    envoy.args(["--service-cluster", "forebay", "--service-node", &settings.name]);
    group.start("envoy", envoy)?;
    let client = Client::default();
    let admin = group.until("envoy's admin interface", PATIENCE, || {
        let address = fs::read_to_string(&admin_file).ok().filter(|address| !address.is_empty())?;
        let admin = format!("http://{address}");
        client.get(&format!("{admin}/ready")).is_ok_and(|answer| answer.status == 200).then_some(admin)
    })?;
    let listener = group.until("envoy's listener", PATIENCE, || {
        let listeners = client.get(&format!("{admin}/listeners?format=json")).ok()?;
        let listeners: Value = serde_json::from_slice(&listeners.body).ok()?;
        let port =
            listeners.pointer("/listener_statuses/0/local_address/socket_address/port_value")?.as_u64()?;
        u16::try_from(port).ok().map(url)
    })?;
    // Until then the filter gives nothing that it keeps.
    group.until("the table of what is live", PATIENCE, || {
        let told = client.get(&format!("{admin}/stats?filter={TABLES}")).ok()?;
        let told = String::from_utf8(told.body).ok()?;
        told.trim().rsplit(' ').next()?.parse::<u64>().ok().filter(|told| *told > 0)
    })?;
    Ok((admin, listener))
}

/// Base URL of a port here.
pub(crate) fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
