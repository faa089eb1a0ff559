//! What a deployment is made of: an environment's values or overlay enter; its manifests leave.

use std::path::PathBuf;

use anyhow::Result;

use super::{Helm, Kubectl, Settings};
use crate::layout::Layout;

pub(crate) enum Source {
    Helm { chart: PathBuf, values: Vec<PathBuf> },
    Kustomize { overlay: PathBuf },
}

impl Source {
    pub(crate) fn of(layout: &Layout, settings: &Settings) -> Self {
        let (k8s, environment) = (layout.root.join("k8s"), settings.environment.name());
        if settings.by_kustomize() {
            let overlay = settings.overlay.clone();
            return Self::Kustomize {
                overlay: overlay.unwrap_or_else(|| k8s.join("overlays").join(environment)),
            };
        }
        let chart = k8s.join("charts/forebay");
        let mut values = vec![chart.join(format!("values-{environment}.yaml"))];
        values.extend(settings.values.iter().cloned());
        Self::Helm { chart, values }
    }

    /// The words by which helm is told what to make.
    pub(crate) fn helm_words(&self, settings: &Settings) -> Vec<String> {
        let Self::Helm { chart, values } = self else { return Vec::new() };
        let mut words = vec![settings.release.clone(), chart.display().to_string()];
        for file in values {
            words.extend(["--values".to_owned(), file.display().to_string()]);
        }
        for set in &settings.set {
            words.extend(["--set".to_owned(), set.clone()]);
        }
        words
    }

    /// Its manifests, without those that helm makes for a moment.
    ///
    /// # Errors
    /// They can't be made.
    pub(crate) fn manifests(
        &self,
        layout: &Layout,
        settings: &Settings,
        kubectl: &Kubectl,
    ) -> Result<String> {
        match self {
            Self::Kustomize { overlay } => kubectl.run(&format!("kustomize {}", overlay.display()), ""),
            Self::Helm { .. } => {
                let mut words = vec!["template".to_owned(), "--no-hooks".to_owned()];
                words.extend(self.helm_words(settings));
                Helm::new(layout, settings)?.ask(&words)?.well(&format!("helm {}", words.join(" ")))
            }
        }
    }

    /// As whom the server knows who sets fields.
    pub(crate) fn manager(&self) -> &'static str {
        match self {
            Self::Helm { .. } => "helm",
            Self::Kustomize { .. } => "forebay-release",
        }
    }
}
