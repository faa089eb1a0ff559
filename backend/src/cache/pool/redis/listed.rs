//! URLs that list several servers: what follows the scheme enters; the servers, and what is told to the one that is used, leave.

use std::sync::Arc;

use ::redis::{IntoConnectionInfo as _, RedisConnectionInfo};

use crate::cache::pool::dial::{Encrypts, Place, address};
use crate::settings::{READ_FROM, Reach, SettingsError, wrong};

const DEFAULT_PORT: u16 = 6379;
const REPLICAS: &str = "master, replicas, or host[:port][,host[:port]...]";
/// More are a mistake.
const MOST: usize = 64;

/// Replicas that are named by themselves.
///
/// # Errors
/// What is no server.
pub(super) fn replicas(list: &str) -> Result<Vec<(String, u16)>, SettingsError> {
    let server = |text| {
        let refused = || wrong(READ_FROM, format!("{text:?} is no server; expected {REPLICAS}"));
        address(text, DEFAULT_PORT).ok_or_else(refused)
    };
    list.split(',').map(server).collect()
}

/// What a URL lists.
pub(super) struct Listed<'a> {
    servers: Vec<(String, u16)>,
    /// What follows the servers, but for a query.
    pub(super) path: &'a str,
    /// Before the servers: `user:password`, or nothing.
    proof: &'a str,
    query: &'a str,
    reach: &'a Reach,
    expected: &'static str,
}

impl<'a> Listed<'a> {
    /// Reads `[user:password@]host[:port][,host[:port]...][/path][?query]`.
    ///
    /// # Errors
    /// What is no server, and too many of them; no password is shown, and `expected` is.
    pub(super) fn read(
        reach: &'a Reach,
        rest: &'a str,
        default_port: u16,
        expected: &'static str,
    ) -> Result<Self, SettingsError> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (proof, list) = authority.rsplit_once('@').unwrap_or(("", authority));
        let mut listed = Self { servers: Vec::new(), path, proof, query, reach, expected };
        for text in list.split(',') {
            let server = address(text, default_port);
            listed.servers.push(server.ok_or_else(|| listed.refused(&format!("{text:?} is no server")))?);
        }
        let count = listed.servers.len();
        if count > MOST {
            return Err(listed.refused(&format!("names {count} servers: {MOST} are the most")));
        }
        Ok(listed)
    }

    /// The servers, as they are dialled.
    ///
    /// # Errors
    /// One whose name no certificate can have.
    pub(super) fn places(&self, encrypts: Option<&Arc<Encrypts>>) -> Result<Vec<Place>, SettingsError> {
        self.servers.iter().map(|server| Place::new(self.reach, server.clone(), encrypts)).collect()
    }

    /// What a server is told at first, to use that database.
    ///
    /// # Errors
    /// It can't be told so.
    pub(super) fn greeting(&self, database: &str) -> Result<RedisConnectionInfo, SettingsError> {
        let at = if self.proof.is_empty() { "" } else { "@" };
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        let url = format!("redis://{}{at}localhost/{database}{query}", self.proof);
        let info = url.into_connection_info().map_err(|error| self.refused(&error.to_string()))?;
        Ok(info.redis_settings().clone())
    }

    /// An error that says so, and what was expected.
    pub(super) fn refused(&self, reason: &str) -> SettingsError {
        wrong(self.reach.flags.url, format!("{reason}; {}", self.expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_named_with_a_port_or_without() {
        let named = [("replicas".to_owned(), 6379), ("::1".to_owned(), 1)];
        assert_eq!(replicas("replicas,[::1]:1").unwrap(), named);
        for list in ["", "a,,b", "redis://a", "a:99999"] {
            let line = replicas(list).err().unwrap().to_string();
            assert!(line.contains("--redis-read-from") && line.contains("is no server"), "{list}: {line}");
        }
    }
}
