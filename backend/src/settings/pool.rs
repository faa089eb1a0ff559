//! Flags -> the pool of cached results: what keeps them, how it is reached, and how much may wait for it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::reach::{MEMCACHED, PREFIX, REDIS, Reach, ReadFrom};
use super::sizes::Share;
use super::units::parse_bytes;
use super::{SettingsError, wrong};

/// Where memory is enough, and this process is the pool.
const POOL_BYTES: usize = 256 << 20;
/// Where another one is.
const LATELY_BYTES: usize = 64 << 20;
const POOL_QUEUE_BYTES: usize = 64 << 20;

/// Where cached results are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PoolKind {
    /// In this process
    Memory,
    /// In Redis, shared with other replicas and the gate
    Redis,
    /// In Memcached, shared in the same way
    Memcached,
    /// Nowhere: every answer says no-store
    None,
}

/// A name is at most 250 bytes long in Memcached, and what follows the prefix at most 84.
const LONGEST_PREFIX: usize = 128;

/// A Redis would take braces for a tag, and a Memcached takes no spaces.
fn parse_prefix(text: &str) -> Result<String, String> {
    let is_right = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if text.is_empty() || text.len() > LONGEST_PREFIX || !text.chars().all(is_right) {
        return Err(format!("expected 1 to {LONGEST_PREFIX} letters, digits and .-_"));
    }
    Ok(text.to_owned())
}

/// Which pool, and how it is reached.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Pool")]
pub(crate) struct TierSettings {
    /// Where cached results are kept
    #[arg(long, env = "FOREBAY_POOL", value_enum, default_value = "memory")]
    pub(crate) pool: PoolKind,
    /// Before each name in a shared pool, and a colon. Those of one mesh say the same; those of another one know nothing of them
    #[arg(long, env = "FOREBAY_POOL_PREFIX", default_value = PREFIX, value_parser = parse_prefix)]
    pool_prefix: String,
    /// Redis to use, with --pool redis: redis://[user:password@]host:port[/database],
    /// redis+sentinel://[user:password@]host[:port][,host[:port]...]/master[/database], or
    /// redis+cluster://[user:password@]host[:port][,host[:port]...]; rediss:// and so on for TLS
    #[arg(long, env = "FOREBAY_REDIS_URL", hide_env_values = true)]
    redis_url: Option<String>,
    /// File with the certificates of the CAs that Redis' certificate must come from, PEM, with rediss:// [default: the system's].
    /// Looked at whenever a connection is made
    #[arg(long, env = "FOREBAY_REDIS_CA_FILE")]
    redis_ca_file: Option<PathBuf>,
    /// File with Redis' password, instead of one in the URL. Read whenever a connection is made
    #[arg(long, env = "FOREBAY_REDIS_PASSWORD_FILE")]
    redis_password_file: Option<PathBuf>,
    /// Memcached servers to use, with --pool memcached: memcached://[user:password@]host[:port][,host[:port]...], memcacheds:// for
    /// TLS. All parts name them in the same words; the first one keeps what is live
    #[arg(long, env = "FOREBAY_MEMCACHED_URL", hide_env_values = true)]
    memcached_url: Option<String>,
    /// File with the certificates of the CAs that the servers' certificates must come from, PEM, with memcacheds:// [default: the
    /// system's]. Looked at whenever a connection is made
    #[arg(long, env = "FOREBAY_MEMCACHED_CA_FILE")]
    memcached_ca_file: Option<PathBuf>,
    /// File with the password of the URL's user, instead of one in the URL. Read whenever a connection is made
    #[arg(long, env = "FOREBAY_MEMCACHED_PASSWORD_FILE")]
    memcached_password_file: Option<PathBuf>,
}

/// The pool of cached results.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Pool")]
pub(crate) struct PoolSettings {
    #[command(flatten)]
    pub(crate) tier: TierSettings,
    /// Which Redis is asked for results, with --pool redis: `master`; `replicas`, where the master, or its cluster, says that they
    /// are; or replicas by name, host[:port][,host[:port]...], for where they can't be reached as the master names them. Whatever
    /// is written, leased or live is the master's, and so is a lookup while no replica has what the master had a moment ago
    #[arg(long, env = "FOREBAY_REDIS_READ_FROM", default_value = "master")]
    redis_read_from: ReadFrom,
    /// Bytes of results kept here: with --pool memory all there are; with another pool what `serve` computed lately, for while that
    /// one fails [default: 256MiB, with another pool 64MiB, or a share of the memory that the container may take]
    #[arg(long, env = "FOREBAY_POOL_BYTES", value_parser = parse_bytes)]
    pool_bytes: Option<usize>,
    /// Largest result kept
    #[arg(long, env = "FOREBAY_MAX_ENTRY_BYTES", default_value = "8MiB", value_parser = parse_bytes)]
    pub(crate) max_entry_bytes: usize,
    /// Milliseconds that a lookup may take before it counts as a miss
    #[arg(long, env = "FOREBAY_POOL_TIMEOUT_MS", default_value_t = 5,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) pool_timeout_ms: u16,
    /// Bytes of results that may wait to be written to a remote pool; past it results are dropped and counted [default: 64MiB, or a
    /// share of the memory that the container may take]
    #[arg(long, env = "FOREBAY_POOL_QUEUE_BYTES", value_parser = parse_bytes)]
    pool_queue_bytes: Option<usize>,
    /// File with the secret that authenticates entries in a remote pool, at least 16 bytes. Read again when it changes; the former
    /// secret is believed for 10 minutes more. The environment variable `FOREBAY_POOL_SECRET` may hold the secret itself
    #[arg(long, env = "FOREBAY_POOL_SECRET_FILE")]
    pub(crate) pool_secret_file: Option<PathBuf>,
}

impl TierSettings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        match self.pool {
            PoolKind::Redis if self.redis_url.is_none() => {
                Err(wrong("--redis-url", "is missing: --pool redis needs redis://host:port"))
            }
            PoolKind::Memcached if self.memcached_url.is_none() => {
                let needed = "is missing: --pool memcached needs memcached://host:port,host:port";
                Err(wrong("--memcached-url", needed))
            }
            _ => Ok(()),
        }
    }

    /// Whether the pool is one that processes share.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.pool, PoolKind::Redis | PoolKind::Memcached)
    }

    /// How Redis is reached, with --pool redis, by who looks nothing up.
    pub(crate) fn redis(&self) -> Reach {
        let (url, ca_file) = (self.redis_url.clone(), self.redis_ca_file.clone());
        Reach::new(REDIS, url, ca_file, self.redis_password_file.clone()).named(&self.pool_prefix)
    }

    /// How Memcached's servers are reached, with --pool memcached.
    pub(crate) fn memcached(&self) -> Reach {
        let (url, ca_file) = (self.memcached_url.clone(), self.memcached_ca_file.clone());
        Reach::new(MEMCACHED, url, ca_file, self.memcached_password_file.clone()).named(&self.pool_prefix)
    }
}

impl PoolSettings {
    /// Sizes that nobody said become shares.
    pub(super) fn fit(&mut self, share: Share) {
        let own = self.own_bytes();
        self.pool_bytes.get_or_insert(share.at_most(own));
        self.pool_queue_bytes.get_or_insert(share.at_most(POOL_QUEUE_BYTES));
    }

    /// How Redis is reached, with --pool redis.
    pub(crate) fn redis(&self) -> Reach {
        Reach { read_from: self.redis_read_from.clone(), ..self.tier.redis() }
    }

    /// Bytes of results kept in this process.
    pub(crate) fn pool_bytes(&self) -> usize {
        self.pool_bytes.unwrap_or(self.own_bytes())
    }

    fn own_bytes(&self) -> usize {
        if self.tier.is_shared() { LATELY_BYTES } else { POOL_BYTES }
    }

    /// Bytes of results that wait to be written.
    pub(crate) fn pool_queue_bytes(&self) -> usize {
        self.pool_queue_bytes.unwrap_or(POOL_QUEUE_BYTES)
    }

    /// How long a lookup may take.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(u64::from(self.pool_timeout_ms))
    }
}
