//! Where stale answers are made anew.

use super::{ConfigError, authority, callouts, out_of_range, range};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Backends that a callout reaches, which goes by no route.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// Envoy cluster of the backends.
    pub cluster: String,
    /// The same for calls; without it calls are not made anew.
    pub grpc_cluster: Option<String>,
    /// `:authority` of the callouts; by default the last part of the cluster's name.
    pub authority: Option<String>,
    /// Headers that the route would have put on.
    #[serde(default, deserialize_with = "serde_with::rust::maps_duplicate_key_is_error::deserialize")]
    pub headers: BTreeMap<String, String>,
    /// Deadline of an inference, in milliseconds.
    #[serde(default = "a_minute")]
    pub timeout_ms: u64,
}

fn a_minute() -> u64 {
    60_000
}

impl Refresh {
    /// The cluster of backends, for calls or for HTTP.
    pub fn cluster(&self, is_call: bool) -> Option<&str> {
        if is_call { self.grpc_cluster.as_deref() } else { Some(&self.cluster) }
    }

    /// `:authority` of the callouts there.
    pub fn authority(&self, is_call: bool) -> &str {
        authority(self.authority.as_deref(), self.cluster(is_call).unwrap_or_default())
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        for (is_call, field) in [(false, "cluster"), (true, "grpc_cluster")] {
            if let Some(cluster) = self.cluster(is_call) {
                callouts("refresh", field, cluster, self.authority(is_call))?;
            }
        }
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_right = |(name, value): &(&String, &String)| {
            !name.is_empty() && name.bytes().all(is_plain) && !value.chars().any(char::is_control)
        };
        if let Some((name, _)) = self.headers.iter().find(|header| !is_right(header)) {
            let expected = "the name of a header in lower case, with a value of one line";
            return Err(out_of_range("refresh.headers", &format!("{name:?}"), expected));
        }
        range("refresh.timeout_ms", self.timeout_ms, 1, 600_000, "between 1 and 600000")
    }
}
