//! Flags -> of whom the gate asks a backend itself: the scale of what runs them in Kubernetes' API, and the files that prove to the API
//! who asks, and to the gate who answers.

use std::path::PathBuf;

use clap::Args;
use http::Uri;
use http::uri::Scheme;

use super::{SettingsError, wrong};
use crate::trust::roots;

const SCALE: &str = "--hold-wake-scale";
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// Whether the gate wakes a backend itself.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Holding")]
pub(crate) struct WakeSettings {
    /// Wake a backend through Kubernetes' API, where nothing else does: the scale of what runs them,
    /// `https://HOST/apis/apps/v1/namespaces/NAMESPACE/deployments/NAME/scale`, is set from 0 to 1, and never to anything else
    #[arg(long = "hold-wake-scale", env = "FOREBAY_HOLD_WAKE_SCALE", requires = "hold_for")]
    scale: Option<Uri>,
    /// File with the token that the API knows this gate by. It is read at each call
    #[arg(long, env = "FOREBAY_HOLD_WAKE_TOKEN_FILE", default_value = TOKEN)]
    hold_wake_token_file: PathBuf,
    /// File with the certificates of the CAs that the API's must come from, PEM. It is read at each call
    #[arg(long, env = "FOREBAY_HOLD_WAKE_CA_FILE", default_value = CA)]
    hold_wake_ca_file: PathBuf,
}

/// The scale that is asked for a backend.
#[derive(Debug, Clone)]
pub(crate) struct WakeBy {
    pub(crate) scale: Uri,
    pub(crate) account: Account,
}

/// As whom Kubernetes' API is asked, and whom its answers are believed of.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) token_file: PathBuf,
    pub(crate) ca_file: PathBuf,
}

impl WakeSettings {
    /// What is asked; `None`: something else wakes backends.
    ///
    /// # Errors
    /// It is no scale of Kubernetes' API, or there is no CA.
    pub(crate) fn wake_by(&self) -> Result<Option<WakeBy>, SettingsError> {
        let Some(scale) = self.scale()? else { return Ok(None) };
        Ok(Some(WakeBy { scale, account: self.account()? }))
    }

    /// # Errors
    /// There is no CA.
    pub(super) fn account(&self) -> Result<Account, SettingsError> {
        let (token_file, ca_file) = (self.hold_wake_token_file.clone(), self.hold_wake_ca_file.clone());
        roots::config(Some(&ca_file)).map_err(|error| wrong("--hold-wake-ca-file", error.to_string()))?;
        Ok(Account { token_file, ca_file })
    }

    /// The scale that is said.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn scale(&self) -> Result<Option<Uri>, SettingsError> {
        let Some(scale) = &self.scale else { return Ok(None) };
        if scale.scheme() == Some(&Scheme::HTTPS) && is_scale(scale.path()) && scale.query().is_none() {
            return Ok(Some(scale.clone()));
        }
        let expected = "expected https://HOST/apis/apps/v1/namespaces/NAMESPACE/deployments/NAME/scale";
        Err(wrong(SCALE, format!("{scale}: {expected}")))
    }
}

/// The scale of an object of a group, in a namespace.
fn is_scale(path: &str) -> bool {
    let words: Vec<&str> = path.split('/').collect();
    matches!(words[..], ["", "apis", _, _, "namespaces", _, _, _, "scale"])
        && words.iter().skip(1).all(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(scale: &str) -> Result<Option<Uri>, SettingsError> {
        let settings = WakeSettings {
            scale: Some(scale.parse().unwrap()),
            hold_wake_token_file: TOKEN.into(),
            hold_wake_ca_file: CA.into(),
        };
        settings.scale()
    }

    #[test]
    fn a_scale_is_one_object_of_kubernetes_by_https_and_nothing_else() {
        let right =
            "https://kubernetes.default.svc/apis/apps/v1/namespaces/ml/deployments/forebay-backend/scale";
        assert!(scale(right).unwrap().is_some());
        for wrong in [
            "http://kubernetes.default.svc/apis/apps/v1/namespaces/ml/deployments/forebay-backend/scale",
            "https://kubernetes.default.svc/apis/apps/v1/namespaces/ml/deployments/forebay-backend",
            "https://kubernetes.default.svc/apis/apps/v1/namespaces/ml/deployments//scale",
            "https://kubernetes.default.svc/apis/apps/v1/deployments/forebay-backend/scale",
            "https://kubernetes.default.svc/apis/apps/v1/namespaces/ml/deployments/a/scale?dryRun=All",
            "kubernetes.default.svc",
        ] {
            let refused = scale(wrong).unwrap_err().to_string();
            assert!(
                refused.starts_with("--hold-wake-scale: ") && refused.contains("expected https://"),
                "{refused}"
            );
        }
    }
}
