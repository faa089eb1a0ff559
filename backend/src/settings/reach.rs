//! How the servers of a shared tier are reached: what the flags of `pool` say of them enters as [`Reach`]. Next: `cache::pool` connects.

use std::path::PathBuf;

use super::secrets::PasswordFile;
use super::{SettingsError, wrong};

/// Before names in a shared pool, where nothing else is set.
pub(super) const PREFIX: &str = "forebay";

/// Which Redis lookups go to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum ReadFrom {
    /// The one that takes writes.
    #[default]
    Master,
    /// Its replicas, wherever it or its cluster says that they are.
    Replicas,
    /// Its replicas, of which it is known better where they are: `host[:port][,host[:port]...]`.
    Named(String),
}

/// What are no servers is refused with the URL that they belong to.
impl From<&str> for ReadFrom {
    fn from(text: &str) -> Self {
        match text {
            "master" => Self::Master,
            "replicas" => Self::Replicas,
            servers => Self::Named(servers.to_owned()),
        }
    }
}

/// How a tier's servers are reached.
pub(crate) struct Reach {
    pub(crate) flags: ReachFlags,
    /// Not shown: there may be a password in it.
    pub(crate) url: String,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) password_file: Option<PasswordFile>,
    /// Before each name there.
    pub(crate) prefix: String,
    /// Which of Redis' servers lookups go to.
    pub(crate) read_from: ReadFrom,
}

/// The flags that say so, for errors to name.
#[derive(Clone, Copy)]
pub(crate) struct ReachFlags {
    pub(crate) url: &'static str,
    pub(crate) ca_file: &'static str,
    pub(crate) password_file: &'static str,
}

/// The flag of [`ReadFrom`].
pub(crate) const READ_FROM: &str = "--redis-read-from";

pub(super) const REDIS: ReachFlags =
    ReachFlags { url: "--redis-url", ca_file: "--redis-ca-file", password_file: "--redis-password-file" };
pub(super) const MEMCACHED: ReachFlags = ReachFlags {
    url: "--memcached-url",
    ca_file: "--memcached-ca-file",
    password_file: "--memcached-password-file",
};

impl Reach {
    pub(super) fn new(
        flags: ReachFlags,
        url: Option<String>,
        ca_file: Option<PathBuf>,
        password_file: Option<PathBuf>,
    ) -> Self {
        let password_file = password_file.map(|path| PasswordFile::new(flags.password_file, path));
        let (prefix, read_from) = (PREFIX.to_owned(), ReadFrom::default());
        Self { flags, url: url.unwrap_or_default(), ca_file, password_file, prefix, read_from }
    }

    pub(super) fn named(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// The URL alone says it.
    #[cfg(test)]
    pub(crate) fn by_url(url: &str) -> Self {
        let flags = if url.starts_with("memcached") { MEMCACHED } else { REDIS };
        Self::new(flags, Some(url.to_owned()), None, None)
    }

    /// # Errors
    /// When there are two passwords: one in the URL and one in a file.
    pub(crate) fn check_passwords(&self, is_in_url: bool) -> Result<(), SettingsError> {
        let ReachFlags { url, password_file, .. } = self.flags;
        if is_in_url && self.password_file.is_some() {
            return Err(wrong(password_file, format!("{url} has a password too: leave one of them out")));
        }
        Ok(())
    }
}
