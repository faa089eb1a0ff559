//! The plugin configuration: JSON from Envoy's `configuration` enters, a checked [`Config`] leaves, once, when the VM starts.
//!
//! Every field has a default but `service`; an unknown field, a wrong type or a value out of range ends the start with a
//! message that names the field.

use serde::Deserialize;
use std::collections::BTreeMap;

/// How the filter takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Looks up, answers, stores.
    On,
    /// Looks up and compares with what the upstream says, but never answers: a trial with live traffic.
    Shadow,
    /// The kill switch: every request passes untouched.
    Off,
}

/// Who may share results: a fixed name, or a property of the stream that an authenticated source fills.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Tenant {
    /// The same tenant for all requests.
    Fixed(String),
    /// An Envoy attribute, for instance `["connection", "uri_san_peer_certificate"]`. A request without it passes uncached.
    Property {
        /// The attribute's path.
        property: Vec<String>,
    },
}

/// Settings of one Envoy route, by the route's name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The service that answers on this route.
    pub service: String,
    /// This route's mode; the filter's own when absent.
    pub mode: Option<Mode>,
}

/// Bounds of L1, each per what its name says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct L1 {
    /// Bytes of ready answers in each worker's own map. 0 turns it off.
    pub vm_bytes: u64,
    /// Bytes of ready answers shared by all workers of the proxy. 0 turns it off.
    pub shared_bytes: u64,
    /// Largest answer kept at all, in bytes (shared slots hold at most 64 KiB).
    pub max_entry_bytes: usize,
    /// Oldest answer given while it is not known which generations are live, in milliseconds.
    pub unverified_max_age_ms: u64,
}

impl Default for L1 {
    fn default() -> Self {
        Self {
            vm_bytes: 32 << 20,
            shared_bytes: 64 << 20,
            max_entry_bytes: 1 << 20,
            unverified_max_age_ms: 30_000,
        }
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
    /// Longest that others wait for one request before the next of them is sent after it, in milliseconds.
    pub timeout_ms: u64,
}

impl Default for Join {
    fn default() -> Self {
        Self { max_waiters: 4096, max_waiter_bytes: 64 << 20, timeout_ms: 30_000 }
    }
}

/// The gate: where L2 lookups go and live generations come from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Envoy cluster of the gate.
    pub cluster: String,
    /// A lookup's deadline, in milliseconds. On the path of every miss: single digits.
    #[serde(default = "five")]
    pub timeout_ms: u64,
    /// How often one worker of the proxy asks for the live generations, in milliseconds.
    #[serde(default = "half_a_second")]
    pub poll_ms: u64,
    /// Age at which the table of live generations is no longer believed, in milliseconds.
    #[serde(default = "five_seconds")]
    pub stale_ms: u64,
    /// Sent as `x-forebay-token`, where gate and backend ask for one.
    #[serde(default)]
    pub token: String,
    /// Models that are never looked up in L2 (L1 only), by name.
    #[serde(default)]
    pub skip_models: Vec<String>,
}

fn five() -> u64 {
    5
}
fn half_a_second() -> u64 {
    500
}
fn five_seconds() -> u64 {
    5000
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
    /// Who may share results.
    #[serde(default = "nobody")]
    pub tenant: Tenant,
    /// Settings by Envoy route name.
    #[serde(default)]
    pub routes: BTreeMap<String, Route>,
    /// Larger request bodies stream through uncached. Must not exceed Envoy's own buffer limits.
    #[serde(default = "four_mib")]
    pub max_body_bytes: usize,
    /// Larger JSON bodies are not parsed here: only an exact repeat is answered.
    #[serde(default = "quarter_mib")]
    pub max_json_bytes: usize,
    /// L1's bounds.
    #[serde(default)]
    pub l1: L1,
    /// Bounds of waiting.
    #[serde(default)]
    pub join: Join,
    /// L2; without it there is L1 alone, with freshness by `Cache-Control`.
    pub gate: Option<Gate>,
}

fn on() -> Mode {
    Mode::On
}
fn nobody() -> Tenant {
    Tenant::Fixed(String::new())
}
fn four_mib() -> usize {
    4 << 20
}
fn quarter_mib() -> usize {
    256 << 10
}

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

    fn check(&self) -> Result<(), ConfigError> {
        name("service", &self.service)?;
        for (route, settings) in &self.routes {
            name(&format!("routes.{route}.service"), &settings.service)?;
        }
        range("max_body_bytes", self.max_body_bytes as u64, 1, 64 << 20, "between 1 and 67108864")?;
        range("max_json_bytes", self.max_json_bytes as u64, 0, 4 << 20, "at most 4194304")?;
        range(
            "l1.vm_bytes",
            self.l1.vm_bytes,
            0,
            512 << 20,
            "at most 536870912 (a VM's memory is capped at 1 GiB)",
        )?;
        range("l1.shared_bytes", self.l1.shared_bytes, 0, 16 << 30, "at most 17179869184")?;
        range("l1.max_entry_bytes", self.l1.max_entry_bytes as u64, 1, 64 << 20, "between 1 and 67108864")?;
        range("join.timeout_ms", self.join.timeout_ms, 1, 600_000, "between 1 and 600000")?;
        if let Some(gate) = &self.gate {
            if gate.cluster.is_empty() {
                return Err(out_of_range("gate.cluster", "an empty name", "the name of an Envoy cluster"));
            }
            range("gate.timeout_ms", gate.timeout_ms, 1, 1000, "between 1 and 1000")?;
            range("gate.poll_ms", gate.poll_ms, 50, 60_000, "between 50 and 60000")?;
            range("gate.stale_ms", gate.stale_ms, gate.poll_ms, 600_000, "between gate.poll_ms and 600000")?;
        }
        Ok(())
    }
}

/// A service's name goes into metric names and headers, so it is kept plain.
fn name(field: &str, value: &str) -> Result<(), ConfigError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=63).contains(&value.len()) && value.bytes().all(plain) {
        return Ok(());
    }
    Err(out_of_range(field, &format!("{value:?}"), "1 to 63 letters, digits, '-' or '_'"))
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
mod tests {
    use super::*;

    fn refusal(json: &str) -> String {
        Config::parse(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_service_is_all_that_is_needed() {
        let config = Config::parse(br#"{"service": "demo"}"#).unwrap();
        assert_eq!((config.mode, config.max_body_bytes, config.gate), (Mode::On, 4 << 20, None));
    }

    #[test]
    fn a_tenant_can_be_a_property() {
        let config =
            Config::parse(br#"{"service": "demo", "tenant": {"property": ["connection", "x"]}}"#).unwrap();
        assert_eq!(config.tenant, Tenant::Property { property: vec!["connection".into(), "x".into()] });
    }

    #[test]
    fn every_refusal_names_the_field() {
        for (json, field) in [
            ("{}", "service"),
            (r#"{"service": ""}"#, "`service`"),
            (r#"{"service": "a b"}"#, "`service`"),
            (r#"{"service": "a", "mode": "maybe"}"#, "`mode`"),
            (r#"{"service": "a", "max_body_bytes": 0}"#, "`max_body_bytes`"),
            (r#"{"service": "a", "l1": {"vm_bytes": -1}}"#, "`l1.vm_bytes`"),
            (r#"{"service": "a", "l1": {"vm_byte": 1}}"#, "`l1.vm_byte`"),
            (r#"{"service": "a", "gate": {"cluster": "g", "timeout_ms": 0}}"#, "`gate.timeout_ms`"),
            (r#"{"service": "a", "routes": {"r": {"service": "/"}}}"#, "`routes.r.service`"),
            (r#"{"service": "a"} x"#, "trailing"),
        ] {
            assert!(refusal(json).contains(field), "{json}: {}", refusal(json));
        }
    }
}
