//! Programs that the checks run where they are there: the project's real Envoy, its own binary, and promtool.

use std::path::PathBuf;

/// Paths of programs; a check whose program is missing says so once, and is not made.
#[derive(Debug, Clone, Default)]
pub struct Tools {
    /// `envoy`, for what an `EnvoyFilter` or a bootstrap holds.
    pub envoy: Option<PathBuf>,
    /// `forebay`, for its own flags and variables.
    pub forebay: Option<PathBuf>,
    /// `promtool`, for rules and their tests.
    pub promtool: Option<PathBuf>,
    /// `helm` 3.
    pub helm3: Option<PathBuf>,
    /// `helm` 4.
    pub helm4: Option<PathBuf>,
    /// `kustomize`.
    pub kustomize: Option<PathBuf>,
}

impl Tools {
    /// Those that set-up put into a folder.
    #[must_use]
    pub fn of(bin: &std::path::Path) -> Self {
        // They are run in other folders.
        let bin = std::path::absolute(bin).unwrap_or_else(|_| bin.to_owned());
        let there = |name: &str| Some(bin.join(name)).filter(|path| path.is_file());
        Self {
            envoy: there("envoy"),
            forebay: None,
            promtool: there("promtool"),
            helm3: there("helm3"),
            helm4: there("helm4"),
            kustomize: there("kustomize"),
        }
    }
}
