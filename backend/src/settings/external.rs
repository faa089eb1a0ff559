//! Flags -> whether Kubernetes asks this gate for External metrics: at which port, of which namespace, and where it is said who may ask.

use clap::Args;
use http::Uri;
use http::uri::Scheme;

use super::wake::WakeSettings;
use super::{Account, SettingsError, wrong};

const API: &str = "--external-metrics-api";

/// Whether a gate gives External metrics.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Holding")]
pub(crate) struct ExternalSettings {
    /// Port of Kubernetes' External metrics API (external.metrics.k8s.io/v1beta1), for autoscalers of a cluster where nothing else gives
    /// it; 0 picks a free one. It speaks nothing but TLS: with the gate's certificate, or one of its own where it has none. Without it
    /// there is none
    #[arg(
        id = "external_port",
        long = "external-metrics-port",
        env = "FOREBAY_EXTERNAL_METRICS_PORT",
        requires_all = ["hold_for", "external_namespace"]
    )]
    port: Option<u16>,
    /// Namespace whose metrics they are: that of the backends
    #[arg(
        id = "external_namespace",
        long = "external-metrics-namespace",
        env = "FOREBAY_EXTERNAL_METRICS_NAMESPACE"
    )]
    namespace: Option<String>,
    /// Kubernetes' API, which says who may ask: its front proxy, by the `ConfigMap` extension-apiserver-authentication of kube-system. It is
    /// read with --hold-wake-token-file and --hold-wake-ca-file
    #[arg(
        id = "external_api",
        long = "external-metrics-api",
        env = "FOREBAY_EXTERNAL_METRICS_API",
        default_value = "https://kubernetes.default.svc"
    )]
    api: Uri,
}

/// Of whom External metrics are asked.
#[derive(Debug, Clone)]
pub(crate) struct ExternalBy {
    pub(crate) port: u16,
    pub(crate) namespace: String,
    /// What says who may ask.
    pub(crate) authentication: Uri,
    pub(crate) account: Account,
}

impl ExternalSettings {
    pub(super) fn is_asked(&self) -> bool {
        self.port.is_some()
    }

    pub(super) fn by(&self, wake: &WakeSettings) -> Result<Option<ExternalBy>, SettingsError> {
        let (Some(port), Some(namespace)) = (self.port, self.namespace.clone()) else { return Ok(None) };
        let (authentication, account) = (self.authentication()?, wake.account()?);
        Ok(Some(ExternalBy { port, namespace, authentication, account }))
    }

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        self.authentication().map(drop)
    }

    fn authentication(&self) -> Result<Uri, SettingsError> {
        let expected = || wrong(API, format!("{}: expected https://HOST or https://HOST:PORT", self.api));
        let is_bare = self.api.path() == "/" && self.api.query().is_none();
        let host = self.api.authority().filter(|_| self.api.scheme() == Some(&Scheme::HTTPS) && is_bare);
        let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
        format!("https://{}{path}", host.ok_or_else(expected)?).parse().map_err(|_| expected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authentication(api: &str) -> Result<Uri, SettingsError> {
        ExternalSettings { port: None, namespace: None, api: api.parse().unwrap() }.authentication()
    }

    #[test]
    fn the_api_is_a_host_by_https_and_nothing_else() {
        let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
        let right = authentication("https://kubernetes.default.svc:6443").unwrap();
        assert_eq!(right.to_string(), format!("https://kubernetes.default.svc:6443{path}"));
        for wrong in
            ["http://kubernetes.default.svc", "https://a/b", "https://a/?b", "kubernetes.default.svc"]
        {
            let refused = authentication(wrong).unwrap_err().to_string();
            assert!(
                refused.starts_with("--external-metrics-api: ") && refused.contains("https://"),
                "{refused}"
            );
        }
    }
}
