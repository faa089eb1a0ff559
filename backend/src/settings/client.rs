//! Flags of `forebay infer` and `forebay bench`: which server, which inputs, which load.

mod words;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::units::{parse_bytes, parse_seconds};
use super::{SettingsError, wrong};
pub(crate) use words::{Header, Input, Range, Shape};

/// How a request is encoded, and with it the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Encoding {
    /// V2 over HTTP, tensors as JSON
    Json,
    /// V2 over HTTP, tensors as bytes after the JSON (extension `binary_tensor_data`)
    Binary,
    /// V2 over gRPC, tensors as raw contents
    Grpc,
}

impl Encoding {
    /// As flags, tables and reports name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Binary => "binary",
            Self::Grpc => "grpc",
        }
    }
}

/// Which server, and how it is reached.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerSettings {
    /// Where V2 over HTTP is spoken: `http://` or `https://`, host, port, and a prefix if there is one
    #[arg(long, env = "FOREBAY_URL", default_value = "http://127.0.0.1:8000")]
    pub(crate) url: String,
    /// Where V2 over gRPC is spoken: `grpc://` or, with TLS, `grpcs://`, host and port
    #[arg(long, env = "FOREBAY_GRPC_URL", default_value = "grpc://127.0.0.1:8001")]
    pub(crate) grpc_url: String,
    /// Header of every request, `name: value`, over gRPC as metadata; `host` is the name that the server is asked by; repeat it for more
    #[arg(short = 'H', long = "header")]
    pub(crate) headers: Vec<Header>,
    /// File with the CA's certificates that TLS believes, in PEM form [default: the system's]
    #[arg(long, env = "FOREBAY_CA_FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Seconds that anything may take: to connect, and each request from when it is sent
    #[arg(long, env = "FOREBAY_TIMEOUT_SECS", default_value = "10", value_parser = parse_seconds)]
    pub(crate) timeout_secs: Duration,
    /// Largest answer in bytes
    #[arg(long, env = "FOREBAY_MAX_ANSWER_BYTES", default_value = "256MiB", value_parser = parse_bytes)]
    pub(crate) max_answer_bytes: usize,
}

/// What is asked.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Inputs")]
pub(crate) struct InputSettings {
    /// Version of the model [default: the server's choice]
    #[arg(long = "model-version", default_value = "")]
    pub(crate) version: String,
    /// File with a whole request as V2's JSON; in place of inputs that are made up
    #[arg(long, conflicts_with_all = ["input", "shape", "range"])]
    pub(crate) data: Option<PathBuf>,
    /// File with the raw values of an input, little endian, as NAME=FILE; repeat it for more
    #[arg(long)]
    pub(crate) input: Vec<Input>,
    /// Shape of an input, as NAME:1,3,224,224; repeat it for more. Without it free dimensions are 1
    #[arg(long)]
    pub(crate) shape: Vec<Shape>,
    /// Least and largest value of an input's made-up values, as NAME:0,30000; repeat it for more. Without it 0 to 127 of whole
    /// numbers, 0 to 1 of others
    #[arg(long)]
    pub(crate) range: Vec<Range>,
    /// Characters of each made-up string
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) string_length: u16,
    /// Output that is asked for; repeat it for more [default: all]
    #[arg(long)]
    pub(crate) output: Vec<String>,
}

/// Settings of `forebay infer`.
#[derive(Debug, Args)]
pub(crate) struct InferSettings {
    /// The model to ask
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) server: ServerSettings,
    #[command(flatten)]
    pub(crate) inputs: InputSettings,
    /// Decides what values are made up: the same seed, the same request
    #[arg(long, default_value_t = 0, help_heading = "Inputs")]
    pub(crate) seed: u64,
    /// How the request is encoded
    #[arg(long, value_enum, default_value = "json")]
    pub(crate) encoding: Encoding,
    /// Print the answer as V2's JSON and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

/// How often a request repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Repeats {
    /// One request, again and again
    Same,
    /// Some often, most seldom: the k-th of --keys requests with a weight of 1 / k^skew
    Zipf,
    /// None twice
    Unique,
}

/// When requests are due in an open loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arrival {
    /// At equal distances
    Fixed,
    /// At random, each independent of the others, as many users ask
    Poisson,
}

/// Settings of `forebay bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchSettings {
    /// The model to ask
    #[arg(required_unless_present = "from")]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerSettings,
    #[command(flatten)]
    pub(crate) inputs: InputSettings,
    /// Decides what values are made up [default: by the clock, so that no cache knows them]
    #[arg(long, help_heading = "Inputs")]
    pub(crate) seed: Option<u64>,
    /// How often a request repeats
    #[arg(long, value_enum, default_value = "same", help_heading = "Inputs")]
    pub(crate) repeats: Repeats,
    /// Different requests of --repeats zipf
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..),
          help_heading = "Inputs")]
    pub(crate) keys: u64,
    /// How uneven --repeats zipf is; 0: all requests are as frequent
    #[arg(long, default_value_t = 1.0, help_heading = "Inputs")]
    pub(crate) skew: f64,
    /// Give each request an id of its own, also where its tensors repeat
    #[arg(long, help_heading = "Inputs")]
    pub(crate) unique_ids: bool,
    #[command(flatten)]
    pub(crate) load: LoadSettings,
    #[command(flatten)]
    pub(crate) told: ToldSettings,
}

/// The load: one run for each encoding, rate and concurrency.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadSettings {
    /// Encodings, each measured by itself
    #[arg(long, value_enum, value_delimiter = ',', default_value = "json")]
    pub(crate) encoding: Vec<Encoding>,
    /// Connections, each with one request at a time; several numbers are measured one after another
    #[arg(long, value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) concurrency: Vec<u32>,
    /// Requests a second, sent when they are due whatever became of others (open loop); several numbers are measured one after
    /// another. Without it each connection asks again when it is answered (closed loop)
    #[arg(long, value_delimiter = ',')]
    pub(crate) rate: Vec<f64>,
    /// When requests of an open loop are due
    #[arg(long, value_enum, default_value = "poisson")]
    pub(crate) arrival: Arrival,
    /// Seconds of each measurement
    #[arg(long, default_value = "10", value_parser = parse_seconds)]
    pub(crate) duration_secs: Duration,
    /// Seconds of load before it, which don't count
    #[arg(long, default_value = "1", value_parser = parse_seconds)]
    pub(crate) warmup_secs: Duration,
    /// Threads that send [default: half of the processors, and no more than connections]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
}

/// What is done with the figures.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Report")]
pub(crate) struct ToldSettings {
    /// What the chart and the report call these runs, such as a server's name
    #[arg(long, default_value = "")]
    pub(crate) label: String,
    /// File for all figures as JSON
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// File for a chart as SVG
    #[arg(long)]
    pub(crate) chart: Option<PathBuf>,
    /// Title of the chart [default: model and inputs]
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// Draw the chart of such files of --json and measure nothing; repeat it to draw several into one
    #[arg(long, requires = "chart", conflicts_with = "model")]
    pub(crate) from: Vec<PathBuf>,
}

impl BenchSettings {
    /// What clap can't check.
    ///
    /// # Errors
    /// Names the flag.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if self.load.rate.iter().any(|rate| !(0.001..=10_000_000.0).contains(rate)) {
            return Err(wrong("--rate", "must be from 0.001 to 10000000 requests a second"));
        }
        if !(0.0..=100.0).contains(&self.skew) {
            return Err(wrong("--skew", "must be from 0 to 100"));
        }
        if self.load.duration_secs.is_zero() {
            return Err(wrong("--duration-secs", "must be more than 0"));
        }
        self.server.check()
    }
}

impl ServerSettings {
    /// What clap can't check.
    ///
    /// # Errors
    /// Names the flag.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if self.timeout_secs.is_zero() {
            return Err(wrong("--timeout-secs", "must be more than 0"));
        }
        Ok(())
    }
}
