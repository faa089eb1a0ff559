//! The plugin configuration: JSON from Envoy's `configuration` enters, a checked [`Config`] leaves, once, when the VM starts.
//!
//! Every field has a default but `service`; an unknown field, a wrong type or a value out of range is refused with a message that
//! names the field, and the filter then passes everything ([`Config::passing`]).

mod backends;
mod gate;
mod policies;
mod refresh;
mod trust;

use forebay_protocol::service;
use serde::Deserialize;
use std::collections::BTreeMap;

pub use backends::Backends;
pub use gate::{Ask, Gate};
pub use policies::{Policies, Policy};
pub use refresh::Refresh;
pub use trust::{Authorization, Cookie, Tenancy, Tenant};

/// How the filter takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Looks up, answers, stores.
    On,
    /// Looks up and compares with what the upstream says, but never answers: a trial with live traffic.
    Shadow,
    /// The kill switch: every request passes unlooked-at; [`Backends`] still say whose it is.
    Off,
}

/// Where a request is held until its body is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hold {
    /// At its headers, for which Envoy's `allow_on_headers_stop_iteration` must be set.
    #[default]
    Headers,
    /// At its body, with Envoy's `buffer` filter behind this one and a filter before it that says so
    /// ([`crate::exchange::BUFFERED`]); without that nothing is held, and all pass uncached. For what can't set the flag, as Istio's
    /// `WasmPlugin` and `TrafficExtension`.
    Body,
}

/// What becomes of gRPC's calls for inference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grpc {
    /// They go upstream untouched.
    #[default]
    Pass,
    /// They are looked up, joined and answered as requests over HTTP are. Envoy must have its `grpc_http1_reverse_bridge` behind this
    /// filter, and a route for hits: no filter can write trailers.
    Answer,
}

/// Settings of one Envoy route, by the route's name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The service that answers on this route.
    pub service: String,
    /// This route's mode; the filter's own when absent.
    pub mode: Option<Mode>,
    /// Where this route's tenant comes from; as the filter's own when absent.
    pub tenant: Option<Tenant>,
}

/// Bounds of L1, each per what its name says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct L1 {
    /// Bytes of ready answers in each worker's own map, and an eighth of them of whole requests that come again and again. 0 turns it
    /// off.
    pub vm_bytes: u64,
    /// Bytes of ready answers shared by all workers of the proxy, from their second use on. 0 turns it off.
    pub shared_bytes: u64,
    /// Largest answer kept at all, in bytes (shared slots hold at most 64 KiB).
    pub max_entry_bytes: usize,
}

impl Default for L1 {
    fn default() -> Self {
        Self { vm_bytes: 32 << 20, shared_bytes: 64 << 20, max_entry_bytes: 1 << 20 }
    }
}

/// Bounds of waiting for an equal request of the same worker.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Join {
    /// Most requests that wait in one worker.
    pub max_waiters: usize,
    /// Most bytes of request bodies that wait in one worker.
    pub max_waiter_bytes: usize,
    /// Longest that others wait for one request before the next of them is sent after it, in milliseconds. Who has waited twice as
    /// long goes upstream on its own: the route's `idle_timeout` must be more than that and the route's `timeout` together.
    pub timeout_ms: u64,
}

impl Default for Join {
    fn default() -> Self {
        Self { max_waiters: 4096, max_waiter_bytes: 64 << 20, timeout_ms: 30_000 }
    }
}

/// The whole plugin configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How the filter takes part.
    #[serde(default = "on")]
    pub mode: Mode,
    /// The service that answers where `routes` does not say otherwise.
    pub service: String,
    /// Whether results are parted by tenant.
    #[serde(default)]
    pub tenancy: Tenancy,
    /// Where the tenant comes from, if there are tenants and `routes` does not say otherwise.
    pub tenant: Option<Tenant>,
    /// What a request's `Authorization` means.
    #[serde(default)]
    pub authorization: Authorization,
    /// What a request's `Cookie` means.
    #[serde(default)]
    pub cookie: Cookie,
    /// Settings by Envoy route name.
    #[serde(default, deserialize_with = "serde_with::rust::maps_duplicate_key_is_error::deserialize")]
    pub routes: BTreeMap<String, Route>,
    /// Where a request is held.
    #[serde(default)]
    pub hold: Hold,
    /// What becomes of calls.
    #[serde(default)]
    pub grpc: Grpc,
    /// Larger request bodies stream through uncached. Must not exceed Envoy's own buffer limits.
    #[serde(default = "four_mib")]
    pub max_body_bytes: usize,
    /// Larger JSON bodies are not parsed here: only an exact repeat is answered. Nor are compressed messages of calls inflated that would
    /// be larger: they pass.
    #[serde(default = "quarter_mib")]
    pub max_json_bytes: usize,
    /// Bytes that one worker holds at most for requests under way: what their headers said, bodies on their way in and those that wait
    /// for an equal request or for the gate, and answers that are collected or came from the pool. Past it requests go on unlooked-at,
    /// alone or uncollected, by what there is no room for.
    #[serde(default = "quarter_gib")]
    pub max_held_bytes: usize,
    /// L1's bounds.
    #[serde(default)]
    pub l1: L1,
    /// Bounds of waiting.
    #[serde(default)]
    pub join: Join,
    /// L2; without it there is L1 alone, with freshness by `Cache-Control`.
    pub gate: Option<Gate>,
    /// Where stale answers are made anew; without it `stale-while-revalidate` is not heeded.
    pub refresh: Option<Refresh>,
    /// What routes are told of a request: nothing, unless it is said here.
    #[serde(default)]
    pub backends: Backends,
    /// What is kept of upstreams that say nothing of it themselves: nothing, unless it is said here.
    #[serde(default)]
    pub policies: Policies,
}

fn on() -> Mode {
    Mode::On
}
fn four_mib() -> usize {
    4 << 20
}
fn quarter_mib() -> usize {
    256 << 10
}
fn quarter_gib() -> usize {
    256 << 20
}

/// What a VM's memory may be used for, of the gigabyte at which the proxy caps it.
const MOST_VM_BYTES: u64 = 960 << 20;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Not JSON, or not of the right shape.
    #[error("plugin configuration, field `{field}`: {message}")]
    Shape {
        /// Path of the field.
        field: String,
        /// What the parser says.
        message: String,
    },
    /// Of the right shape, but out of range.
    #[error("plugin configuration, field `{field}`: {found} is not {expected}")]
    Range {
        /// Path of the field.
        field: String,
        /// The value found.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
}

impl Config {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// The first field that is unknown, of the wrong type, or out of range.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let mut parser = serde_json::Deserializer::from_slice(json);
        let config: Self = serde_path_to_error::deserialize(&mut parser).map_err(|error| {
            ConfigError::Shape { field: error.path().to_string(), message: error.inner().to_string() }
        })?;
        parser.end().map_err(|error| ConfigError::Shape { field: ".".into(), message: error.to_string() })?;
        config.check()?;
        Ok(config)
    }

    /// The settings of a filter that has none it can use: it passes every request, and takes off what only it may say.
    pub fn passing() -> Self {
        Self {
            mode: Mode::Off,
            service: "none".to_owned(),
            tenancy: Tenancy::None,
            tenant: None,
            authorization: Authorization::Forbids,
            cookie: Cookie::Ignored,
            routes: BTreeMap::new(),
            hold: Hold::default(),
            grpc: Grpc::default(),
            max_body_bytes: four_mib(),
            max_json_bytes: quarter_mib(),
            max_held_bytes: quarter_gib(),
            l1: L1 { vm_bytes: 0, shared_bytes: 0, ..L1::default() },
            join: Join::default(),
            gate: None,
            refresh: None,
            backends: Backends::default(),
            policies: Policies::default(),
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        name("service", &self.service)?;
        trust::check(self.tenancy, self.tenant.as_ref(), &self.routes, self.authorization)?;
        for (route, settings) in &self.routes {
            name(&format!("routes.{route}.service"), &settings.service)?;
        }
        let routes = self.routes.values().map(|route| route.service.as_str());
        let services: Vec<&str> = std::iter::once(self.service.as_str()).chain(routes).collect();
        self.backends.check(&services)?;
        self.policies.check(&services)?;
        range("max_body_bytes", self.max_body_bytes as u64, 1, 64 << 20, "between 1 and 67108864")?;
        range("max_json_bytes", self.max_json_bytes as u64, 0, 4 << 20, "at most 4194304")?;
        range(
            "l1.vm_bytes",
            self.l1.vm_bytes,
            0,
            MOST_VM_BYTES,
            "at most 1006632960 (a VM's memory is capped at 1 GiB)",
        )?;
        range("l1.shared_bytes", self.l1.shared_bytes, 0, 16 << 30, "at most 17179869184")?;
        range("l1.max_entry_bytes", self.l1.max_entry_bytes as u64, 1, 64 << 20, "between 1 and 67108864")?;
        range(
            "max_held_bytes",
            self.max_held_bytes as u64,
            1 << 20,
            448 << 20,
            "between 1048576 and 469762048",
        )?;
        // What is held grows and goes, and leaves gaps: it is counted twice.
        range(
            "l1.vm_bytes",
            self.l1.vm_bytes.saturating_add((self.max_held_bytes as u64).saturating_mul(2)),
            0,
            MOST_VM_BYTES,
            "at most 1006632960, with twice max_held_bytes (a VM's memory is capped at 1 GiB)",
        )?;
        range("join.timeout_ms", self.join.timeout_ms, 1, 600_000, "between 1 and 600000")?;
        if let Some(refresh) = &self.refresh {
            refresh.check()?;
        }
        if let Some(gate) = &self.gate {
            gate.check()?;
        }
        Ok(())
    }
}

/// `:authority` of callouts to a cluster: as it is said, or the last part of the cluster's name, since Istio's names
/// (`outbound|8010||gate.ns.svc.cluster.local`) are no authorities.
fn authority<'a>(said: Option<&'a str>, cluster: &'a str) -> &'a str {
    said.unwrap_or_else(|| cluster.rsplit('|').next().unwrap_or_default())
}

/// A cluster of callouts, as a field names it, and their authority.
fn callouts(section: &str, field: &str, cluster: &str, authority: &str) -> Result<(), ConfigError> {
    if cluster.is_empty() {
        let field = format!("{section}.{field}");
        return Err(out_of_range(&field, "an empty name", "the name of an Envoy cluster"));
    }
    if !is_authority(authority) {
        let (field, found) = (format!("{section}.authority"), format!("{authority:?}"));
        return Err(out_of_range(&field, &found, "a host, maybe with a port"));
    }
    Ok(())
}

/// What any proxy takes as `:authority`: a host, maybe with a port.
fn is_authority(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (1..=255).contains(&text.len()) && text.bytes().all(plain)
}

fn name(field: &str, value: &str) -> Result<(), ConfigError> {
    if service::is_name(value) {
        return Ok(());
    }
    Err(out_of_range(field, &format!("{value:?}"), service::EXPECTED))
}

fn range(field: &str, found: u64, low: u64, high: u64, expected: &'static str) -> Result<(), ConfigError> {
    if (low..=high).contains(&found) {
        Ok(())
    } else {
        Err(out_of_range(field, &found.to_string(), expected))
    }
}

fn out_of_range(field: &str, found: &str, expected: &'static str) -> ConfigError {
    ConfigError::Range { field: field.into(), found: found.into(), expected }
}

#[cfg(test)]
mod tests;
