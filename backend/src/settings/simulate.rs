//! Flags of `forebay simulate`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use forebay_simulate::Eviction;
use forebay_simulate::day::Day;
use forebay_simulate::hpa::Hpa;
use forebay_simulate::policy::{Cache, Gate, Latency, Policy, Replica, Scaling, Setup};

use super::units::{parse_bytes, parse_price, parse_seconds, parse_share};
use super::{SettingsError, wrong};

/// Settings of `forebay simulate`.
#[derive(Debug, Args)]
pub(crate) struct SimulateSettings {
    /// Recorded traces, of hours and gates that follow each other or are beside each other [default: a day is made up]
    pub(crate) trace: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) day: DaySettings,
    #[command(flatten)]
    fleet: FleetSettings,
    #[command(flatten)]
    cache: CacheSettings,
    /// Replicas of the policy that never scales [default: the most that another one had]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) always: Option<u32>,
    /// What a GPU hour costs
    #[arg(long, default_value_t = 2.0, value_parser = parse_price)]
    pub(crate) price: f64,
    /// Keep the report as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw it as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) chart: Option<PathBuf>,
    /// Keep what was asked as a trace
    #[arg(long, value_name = "FILE", conflicts_with = "trace")]
    pub(crate) write_trace: Option<PathBuf>,
}

/// What a day is like that is made up.
#[derive(Debug, Args)]
#[command(next_help_heading = "The day")]
pub(crate) struct DaySettings {
    /// Decides all that is left to chance
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Hours of it
    #[arg(long, default_value_t = Day::default().hours, conflicts_with = "trace")]
    hours: u32,
    /// Requests, on average
    #[arg(long, default_value_t = Day::default().requests, conflicts_with = "trace")]
    requests: u64,
    /// Models; the first is asked most
    #[arg(long, default_value_t = Day::default().models, conflicts_with = "trace")]
    models: u32,
    /// Different requests of each model that come again
    #[arg(long, default_value_t = Day::default().keys, conflicts_with = "trace")]
    keys: u64,
    /// Zipf's exponent of how often
    #[arg(long, default_value_t = Day::default().skew, conflicts_with = "trace")]
    skew: f64,
    /// Share of requests that never come again
    #[arg(long, default_value_t = Day::default().unique, value_parser = parse_share, conflicts_with = "trace")]
    unique: f64,
    /// The busiest hour by the quietest
    #[arg(long, default_value_t = Day::default().peak, conflicts_with = "trace")]
    peak: f64,
    /// Bursts
    #[arg(long, default_value_t = Day::default().bursts, conflicts_with = "trace")]
    bursts: u32,
    /// How much more is asked in one
    #[arg(long, default_value_t = Day::default().burst_factor, conflicts_with = "trace")]
    burst_factor: f64,
    /// Minutes of one
    #[arg(long, default_value_t = Day::default().burst_minutes, conflicts_with = "trace")]
    burst_minutes: u32,
    /// Share of what comes again that is another after an hour
    #[arg(long, default_value_t = Day::default().shift, value_parser = parse_share, conflicts_with = "trace")]
    shift: f64,
    /// Rollouts of each model: what was kept of it is of no use then
    #[arg(long, default_value_t = Day::default().rollouts, conflicts_with = "trace")]
    rollouts: u32,
    /// Compute time of an answer in microseconds, the median
    #[arg(long, default_value_t = Day::default().cost_us, conflicts_with = "trace")]
    cost_us: f64,
    /// Sigma of its logarithm
    #[arg(long, default_value_t = Day::default().cost_spread, conflicts_with = "trace")]
    cost_spread: f64,
    /// Bytes of an answer
    #[arg(long, default_value_t = Day::default().bytes, conflicts_with = "trace")]
    answer_bytes: u32,
    /// Seconds for which answers are fresh; of a trace, those of models of which it doesn't say [default: 3600 of a day that is made up]
    #[arg(long)]
    pub(crate) max_age_s: Option<u32>,
}

/// Replicas and the scaler.
#[derive(Debug, Args)]
#[command(next_help_heading = "Replicas")]
struct FleetSettings {
    /// Requests that a replica computes at the same time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    instances: u32,
    /// From a replica's creation until it is ready
    #[arg(long, default_value = "60", value_parser = parse_seconds)]
    cold_start_secs: Duration,
    /// Requests that may wait for a replica; more are refused
    #[arg(long, default_value_t = 1000)]
    max_queue: usize,
    /// Replicas at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_replicas: u32,
    /// Share of its time that a replica shall compute
    #[arg(long, default_value_t = 0.7, value_parser = parse_share)]
    target: f64,
    /// Seconds over which the scaler looks at missed GPU time
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    window_s: u32,
    /// Seconds without a request before the last replica goes
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(..=86_400))]
    cooldown_s: u32,
    /// Requests that the gate holds while no replica is ready
    #[arg(long, default_value_t = 10_000)]
    max_held: usize,
    /// How long it holds one
    #[arg(long, default_value = "300", value_parser = parse_seconds)]
    hold_secs: Duration,
    /// Microseconds of the way to a replica and back
    #[arg(long, default_value_t = 1000)]
    replica_us: u64,
}

/// The caches.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cache")]
struct CacheSettings {
    /// Proxies with an L1 each
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=4096))]
    proxies: u32,
    /// Bytes of each L1; 0: none
    #[arg(long, default_value = "64MiB", value_parser = parse_bytes)]
    l1_bytes: usize,
    /// Bytes of the pool that all share; 0: none
    #[arg(long, default_value = "1GiB", value_parser = parse_bytes)]
    pool_bytes: usize,
    /// Microseconds of an answer from L1
    #[arg(long, default_value_t = 200)]
    proxy_us: u64,
    /// Microseconds of a look into the pool
    #[arg(long, default_value_t = 1000)]
    pool_us: u64,
}

impl DaySettings {
    pub(crate) fn day(&self) -> Day {
        Day {
            seed: self.seed,
            hours: self.hours,
            requests: self.requests,
            models: self.models,
            keys: self.keys,
            skew: self.skew,
            unique: self.unique,
            peak: self.peak,
            bursts: self.bursts,
            burst_factor: self.burst_factor,
            burst_minutes: self.burst_minutes,
            shift: self.shift,
            rollouts: self.rollouts,
            cost_us: self.cost_us,
            cost_spread: self.cost_spread,
            bytes: self.answer_bytes,
            max_age_s: self.max_age_s.unwrap_or(Day::default().max_age_s),
        }
    }
}

impl SimulateSettings {
    /// What all policies share.
    pub(crate) fn setup(&self) -> Setup {
        let Self { fleet, cache, .. } = self;
        Setup {
            replica: Replica {
                instances: fleet.instances,
                cold_start_us: microseconds(fleet.cold_start_secs),
                max_queue: fleet.max_queue,
            },
            cache: Cache {
                proxies: cache.proxies,
                l1_bytes: cache.l1_bytes as u64,
                pool_bytes: cache.pool_bytes as u64,
                pool: Eviction::Lru,
            },
            gate: Gate { most_held: fleet.max_held, hold_us: microseconds(fleet.hold_secs) },
            latency: Latency {
                proxy_us: cache.proxy_us,
                pool_us: cache.pool_us,
                replica_us: fleet.replica_us,
            },
            step_us: 60_000_000,
        }
    }

    /// Those that scale.
    pub(crate) fn policies(&self) -> Vec<Policy> {
        let FleetSettings { instances, max_replicas, target, window_s, cooldown_s, .. } = self.fleet;
        let hpa = Hpa::new(1, max_replicas, target * f64::from(instances));
        let zero = Scaling::Zero { hpa: hpa.clone(), window_s, cooldown_s };
        let policy = |name: &str, scaling, cached| Policy { name: name.to_owned(), scaling, cached };
        vec![
            policy("HPA", Scaling::Hpa { hpa, window_s }, false),
            policy("zero, no cache", zero.clone(), false),
            policy("zero, cache", zero, true),
        ]
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Checks what clap can't.
///
/// # Errors
/// Names the flag.
pub(super) fn check(settings: &SimulateSettings) -> Result<(), SettingsError> {
    if settings.fleet.target <= 0.0 {
        return Err(wrong("--target", "expected a share over 0, such as 0.7"));
    }
    Ok(())
}
