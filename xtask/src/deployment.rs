//! One deployment of Forebay: where it is and what it is made of enters; what it would be, and what runs, leave. `diff-k8s` and
//! `release` stand on it.

pub(crate) mod json;
mod source;
pub(crate) mod tools;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

pub(crate) use source::Source;
pub(crate) use tools::{Helm, Kubectl};

/// Which deployment, on which cluster, of what.
#[derive(Debug, Clone, Args)]
#[group(skip)] // its name is that of the settings which it is part of
pub(crate) struct Settings {
    /// Whose values or overlay
    pub(crate) environment: Environment,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "CONTEXT")]
    pub(crate) context: Option<String>,
    /// [default: KUBECONFIG, or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    #[arg(long, short, default_value = "forebay")]
    pub(crate) namespace: String,
    /// Name of the release, which its objects' names begin with
    #[arg(long, default_value = "forebay")]
    pub(crate) release: String,
    /// More values, after the environment's
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) values: Vec<PathBuf>,
    /// More values, as helm's --set
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// By Kustomize in place of Helm, with the environment's overlay
    #[arg(long)]
    kustomize: bool,
    /// The same, with an overlay of yours
    #[arg(long, value_name = "FOLDER")]
    overlay: Option<PathBuf>,
    /// Helm 3 or 4 [default: set-up's Helm 4, else helm on PATH]
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) helm: Option<PathBuf>,
}

impl Settings {
    fn by_kustomize(&self) -> bool {
        self.kustomize || self.overlay.is_some()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Environment {
    Dev,
    Stage,
    Prod,
}

impl Environment {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Stage => "stage",
            Self::Prod => "prod",
        }
    }
}
