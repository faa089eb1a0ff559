//! A stack starts: what keeps results, backends, gate and Envoys, in that order.

use super::clocks::Clocks;
use super::envoy::{self, Wiring};
use super::forebay::{self, Files, Secrets};
use super::running::{self, Backend, Links, Proxy, Running, Upstream};
use super::{Computes, GoesBy, Pool, Stack};
use rig::link::Link;
use rig::process::until;
use rig::redis_cluster;
use rig::sentinel::{self, Sentinel};
use rig::tier::{Server, Tier};
use std::path::Path;
use tempfile::TempDir;

impl Stack {
    fn redis_arguments(&self) -> Vec<&str> {
        self.brought.iter().flat_map(|brought| ["--requirepass", &*brought.password]).collect()
    }

    fn secrets(&self, folder: &TempDir) -> Secrets {
        let secrets = match &self.brought {
            None => Secrets::create(folder.path(), &self.services, self.injects),
            Some(brought) => {
                Secrets::brought(&brought.token, Files::of(&brought.serve), Files::of(&brought.gate))
            }
        };
        secrets.of_tenant(self.tenant.clone()).with_tls(self.tls.clone())
    }

    /// What keeps results for all, who watches over it, and the URL that names it.
    fn servers(&self, clocks: Option<&Clocks>) -> (Vec<Server>, Vec<Sentinel>, Option<String>) {
        let servers = match self.pool {
            Pool::Memory => vec![],
            Pool::Redis => {
                let environment = clocks.into_iter().flat_map(|clocks| clocks.environment("redis")).collect();
                vec![Server::start_in(Tier::Redis, &self.redis_arguments(), environment)]
            }
            Pool::Memcached => vec![Server::start(Tier::Memcached), Server::start(Tier::Memcached)],
            Pool::Sentinel => {
                let (servers, sentinels, url) = sentinel::watched(None);
                sentinel::until_ready(&sentinels);
                return (servers, sentinels, Some(url));
            }
            Pool::Cluster => {
                let nodes = redis_cluster::cluster();
                redis_cluster::until_synced(&nodes);
                let url = redis_cluster::url(&nodes, "");
                return (nodes, vec![], Some(url));
            }
        };
        let url = Server::url(&servers);
        (servers, vec![], url)
    }

    /// Starts a backend of that service, name and models.
    fn backend(
        &self,
        (service, name, models): (&str, &str, &[String]),
        folder: &Path,
        (secrets, url, clocks): (&Secrets, Option<&str>, Option<&Clocks>),
    ) -> Backend {
        let repository = forebay::repository(folder, models);
        let served = (&*repository, service);
        let upstream = (self.computes == Computes::Another).then(|| {
            let (process, ports) = forebay::start("upstream", forebay::upstream(&repository), None);
            Upstream { process, ports }
        });
        let command = match &upstream {
            None => forebay::serve(served, (0, 0, 0), url, secrets, &self.arguments),
            Some(upstream) => forebay::front(served, upstream.ports, url, secrets, &self.arguments),
        };
        let (process, ports) = forebay::start(name, command, clocks);
        // Which files are loaded is not known to a front before it has seen a load.
        for model in models.iter().filter(|_| upstream.is_some()) {
            forebay::load(ports.http, model);
        }
        Backend { service: service.to_owned(), repository, process, ports, upstream }
    }

    /// Starts it; ready when this returns.
    ///
    /// # Panics
    /// Something does not start.
    pub fn start(self) -> Running {
        let folder = TempDir::new().expect("a temporary folder");
        let secrets = self.secrets(&folder);
        let clocks = (self.goes_by == GoesBy::OwnClocks).then(|| Clocks::new(folder.path()));
        let clocks_of = clocks.as_ref();
        let (servers, sentinels, url) = self.servers(clocks_of);
        let mut links = self.links.then(|| {
            let link = || Link::start(servers[0].port);
            Links { backends: link(), gate: link(), envoys: link(), first_backend: [link(), link()] }
        });
        let by = |link: fn(&Links) -> &Link| match &links {
            Some(links) => Some(format!("redis://127.0.0.1:{}", link(links).port)),
            None => url.clone(),
        };
        let (gates_url, url) = (by(|links| &links.gate), by(|links| &links.backends));
        let started = |service: &str, name: &str, models: &[String]| {
            let folder = folder.path().join(name);
            self.backend((service, name, models), &folder, (&secrets, url.as_deref(), clocks_of))
        };
        let mut backends: Vec<Backend> =
            self.services.iter().map(|service| started(service, service, &self.models)).collect();
        let mut wired: Vec<_> = backends.iter().map(|b| (b.service.clone(), b.ports.http)).collect();
        let mut backend_grpc_port = backends[0].ports.grpc.expect("a backend serves gRPC");
        if let Some(links) = &mut links {
            links.first_backend = [wired[0].1, backend_grpc_port].map(Link::start);
            [wired[0].1, backend_grpc_port] = links.first_backend.each_ref().map(|link| link.port);
        }
        for number in 1..self.replicas {
            backends.push(started(&self.services[0], &format!("replica-{number}"), &self.models));
        }
        let replicas = backends[self.services.len()..].iter();
        let replicas = replicas.map(|one| (one.ports.http, one.ports.grpc.unwrap_or(0))).collect();
        let on_demand = (!self.on_demand.is_empty()).then(|| {
            backends.push(started(&self.services[0], "on-demand", &self.on_demand));
            backends[backends.len() - 1].ports
        });
        let held_for = self.holds.then_some(on_demand.unwrap_or(backends[0].ports));
        let gate = gates_url.as_deref().map(|url| {
            let held_for = held_for.map(|ports| (&*self.services[0], ports));
            let mut command = forebay::gate(url, 0, &secrets, held_for);
            command.args(&self.gate_arguments);
            forebay::start("gate", command, clocks_of)
        });
        let ports = gate.as_ref().map_or(backends[0].ports, |(_, ports)| *ports);
        let gate_port = ports.gate.expect("a gate");
        if let Some(links) = &mut links {
            links.envoys = Link::start(gate_port);
        }
        let linked_port = links.as_ref().map_or(gate_port, |links| links.envoys.port);
        let wiring = Wiring {
            backends: wired,
            replicas,
            backend_grpc_port,
            gate_port: self.gate_port.unwrap_or(linked_port),
            token: secrets.token.clone(),
            injects: self.injects,
            hold_ports: gate
                .as_ref()
                .filter(|_| self.holds)
                .map(|(_, ports)| (ports.http, ports.grpc.unwrap_or(0))),
            on_demand_ports: on_demand.map(|ports| (ports.http, ports.grpc.unwrap_or(0))),
            tls: self.tls.map(|tls| tls.folder),
            changes: self.changes,
        };
        // What a backend with the gate in it serves, that gate knows before it listens.
        if gate.is_some() && self.gate_port.is_none() {
            for service in &self.services {
                forebay::until_told(gate_port, &secrets, service, &self.models);
            }
            forebay::until_told(gate_port, &secrets, &self.services[0], &self.on_demand);
        }
        let polls = self.gate_port.is_none() && wiring.changes.poll_the_gate();
        let (envoy, port, admin_port) = envoy::start(("envoy", folder.path()), &wiring, clocks_of);
        let others = (1..self.proxies).map(|number| another(&folder, number, &wiring, clocks_of)).collect();
        let arguments = self.arguments;
        let running = Running {
            envoy,
            others,
            links,
            clocks,
            gate,
            backends,
            servers,
            _sentinels: sentinels,
            url,
            port,
            admin_port,
            secrets,
            arguments,
            folder,
        };
        if polls {
            let ports = running.all_admin_ports();
            until("each filter has a table", || {
                ports.iter().all(|port| running::tables(*port) > 0).then_some(())
            });
        }
        running
    }
}

/// An Envoy beside the first one.
fn another(folder: &TempDir, number: usize, wiring: &Wiring, clocks: Option<&Clocks>) -> Proxy {
    let name = format!("proxy-{number}");
    let own = folder.path().join(&name);
    std::fs::create_dir(&own).expect("a folder of its own");
    let (process, port, admin_port) = envoy::start((&name, &own), wiring, clocks);
    Proxy { process, port, admin_port }
}
