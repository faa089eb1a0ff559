//! The settings of `front`: which server it stands in front of, which of its models are kept, and how it is known what that server has
//! loaded.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::Uri;
use http::uri::Authority;

use super::memory::Memory;
use super::units::{parse_bytes, parse_seconds};
use super::{ServingSettings, SettingsError, wrong};

/// Triton's port of gRPC.
const GRPC_PORT: u16 = 8001;
/// A year: longer is taken for a mistake.
const LONGEST_S: u32 = 31_536_000;
/// Looking more often would cost the upstream more than it could gain.
const SHORTEST_LOOK: Duration = Duration::from_millis(50);

/// Settings of `forebay front`.
#[derive(Debug, Args)]
pub(crate) struct FrontSettings {
    #[command(flatten)]
    pub(crate) upstream: UpstreamSettings,
    #[command(flatten)]
    pub(crate) kept: KeptSettings,
    #[command(flatten)]
    pub(crate) serving: ServingSettings,
}

/// Where a server speaks one protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) is_encrypted: bool,
    pub(crate) authority: Authority,
}

/// Which server, and what is taken of it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Upstream")]
pub(crate) struct UpstreamSettings {
    /// The server that computes, by its V2 over HTTP: `http://` or `https://`, host and port
    #[arg(long = "to", env = "FOREBAY_TO", value_name = "URL", value_parser = parse_http)]
    pub(crate) to: Place,
    /// The same server's V2 over gRPC: `grpc://` or, with TLS, `grpcs://`, host and port. What is kept or joined is asked for by it
    /// [default: port 8001 of the same host]
    #[arg(long = "to-grpc", env = "FOREBAY_TO_GRPC", value_name = "URL", value_parser = parse_grpc)]
    to_grpc: Option<Place>,
    /// File with the certificates of the CAs that the server's certificate must come from, PEM [default: the system's]
    #[arg(long = "to-ca-file", env = "FOREBAY_TO_CA_FILE", value_name = "FILE")]
    pub(crate) to_ca_file: Option<PathBuf>,
    /// Seconds that the server may take for an answer, or from one part of it to the next; a stream over gRPC may take its time
    #[arg(long = "to-timeout-secs", env = "FOREBAY_TO_TIMEOUT_SECS", default_value = "60", value_name = "SECONDS",
          value_parser = parse_seconds)]
    pub(crate) within: Duration,
    /// Seconds that it may take to load or unload a model
    #[arg(long = "to-load-timeout-secs", env = "FOREBAY_TO_LOAD_TIMEOUT_SECS", default_value = "600",
          value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) load_within: Duration,
    /// Requests that are kept or joined, and are there at a time; others of them wait
    #[arg(long = "to-max-requests", env = "FOREBAY_TO_MAX_REQUESTS", default_value_t = 256, value_name = "REQUESTS",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) requests: u16,
    /// Largest answer of such a request
    #[arg(long = "to-max-answer-bytes", env = "FOREBAY_TO_MAX_ANSWER_BYTES", default_value = "64MiB",
          value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) most_answer_bytes: usize,
}

impl UpstreamSettings {
    /// Where it speaks gRPC.
    pub(crate) fn grpc(&self) -> Place {
        self.to_grpc.clone().unwrap_or_else(|| {
            let host = self.to.authority.host();
            // A host that was read is one with another port, too.
            let authority = format!("{host}:{GRPC_PORT}").parse();
            let authority = authority.unwrap_or_else(|_| self.to.authority.clone());
            Place { is_encrypted: self.to.is_encrypted, authority }
        })
    }
}

/// Which models are kept, and how it is known what the server has loaded.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Models")]
pub(crate) struct KeptSettings {
    /// Keep this model's answers, for so many seconds [default: 300], though its configuration doesn't say `response_cache { enable:
    /// true }`; repeat it for more (the variable takes commas). Only of models whose answers depend on the request alone
    #[arg(long = "cache-model", env = "FOREBAY_CACHE_MODEL", value_name = "NAME[=SECONDS]", value_delimiter = ',',
          value_parser = parse_listed)]
    pub(crate) cache_models: Vec<(String, Option<u32>)>,
    /// Folder of models that the server loads from: their files' bytes are part of the generation. Files that change leave a doubt, and
    /// in doubt nothing is kept until a load is seen
    #[arg(long, env = "FOREBAY_MODEL_REPOSITORY", value_name = "FOLDER", conflicts_with = "generation")]
    pub(crate) model_repository: Option<PathBuf>,
    /// Files in the repository never change once the server may have loaded them, as in an image: what it loaded before this program
    /// looked is what lies there
    #[arg(long, env = "FOREBAY_FILES_ARE_LOADED", requires = "model_repository")]
    pub(crate) files_are_loaded: bool,
    /// What the server has loaded, in a word of yours that changes with it. Without this or --model-repository equal requests are
    /// joined, and nothing is kept
    #[arg(long, env = "FOREBAY_GENERATION", value_name = "WORD")]
    pub(crate) generation: Option<String>,
    /// Seconds between two looks at the server, its models and their files; fractions are allowed
    #[arg(long, env = "FOREBAY_LOOK_SECS", default_value = "1", value_parser = parse_seconds)]
    pub(crate) look_secs: Duration,
}

impl FrontSettings {
    /// Sizes that nobody said become shares of that memory.
    pub(super) fn fit(&mut self, memory: Option<Memory>) {
        self.serving.fit(memory);
    }

    /// What clap can't check.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let KeptSettings { model_repository, generation, look_secs, .. } = &self.kept;
        if let Some(folder) = model_repository.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(wrong("--model-repository", format!("{} is not a folder", folder.display())));
        }
        if generation.as_ref().is_some_and(|word| word.trim().is_empty()) {
            return Err(wrong("--generation", "is empty: expected a word that changes with what is loaded"));
        }
        if *look_secs < SHORTEST_LOOK {
            return Err(wrong("--look-secs", "must be at least 0.05"));
        }
        self.serving.check()
    }
}

fn parse_http(text: &str) -> Result<Place, String> {
    parse_place(text, [("http", false), ("https", true)])
}

fn parse_grpc(text: &str) -> Result<Place, String> {
    parse_place(text, [("grpc", false), ("grpcs", true)])
}

fn parse_place(text: &str, schemes: [(&str, bool); 2]) -> Result<Place, String> {
    let place = || {
        let uri: Uri = text.parse().ok()?;
        let (_, is_encrypted) = *schemes.iter().find(|(scheme, _)| uri.scheme_str() == Some(scheme))?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?.clone();
        let is_bare = ["", "/"].contains(&uri.path()) && uri.query().is_none() && authority.port().is_some();
        is_bare.then_some(Place { is_encrypted, authority })
    };
    let [(plain, _), (encrypted, _)] = schemes;
    place().ok_or_else(|| format!("expected {plain}://HOST:PORT or {encrypted}://HOST:PORT"))
}

fn parse_listed(text: &str) -> Result<(String, Option<u32>), String> {
    let expected = || format!("expected NAME or NAME=SECONDS, from 1 to {LONGEST_S}");
    let (name, seconds) = text.split_once('=').map_or((text, None), |(name, seconds)| (name, Some(seconds)));
    let is_right = |seconds: &u32| (1..=LONGEST_S).contains(seconds);
    let seconds = seconds.map(|seconds| seconds.parse().ok().filter(is_right).ok_or_else(expected));
    let seconds = seconds.transpose()?;
    if name.is_empty() { Err(expected()) } else { Ok((name.to_owned(), seconds)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_scheme_a_host_and_a_port() {
        let place = parse_http("http://triton:8000/").unwrap();
        assert_eq!((place.is_encrypted, place.authority.as_str()), (false, "triton:8000"));
        assert!(parse_grpc("grpcs://[::1]:8001").unwrap().is_encrypted);
        for wrong in ["triton:8000", "grpc://triton:1", "http://triton", "http://a:1/v2", "http://me@a:1", ""]
        {
            assert!(parse_http(wrong).unwrap_err().contains("http://HOST:PORT"), "{wrong}");
        }
    }

    #[test]
    fn a_listed_model_may_say_for_how_long() {
        assert_eq!(parse_listed("m").unwrap(), ("m".to_owned(), None));
        assert_eq!(parse_listed("m=60").unwrap(), ("m".to_owned(), Some(60)));
        for wrong in ["", "=5", "m=", "m=0", "m=1h", "m=99999999999"] {
            assert!(parse_listed(wrong).unwrap_err().contains("NAME=SECONDS"), "{wrong}");
        }
    }
}
