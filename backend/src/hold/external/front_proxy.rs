//! Who may ask: the API server's front proxy, as the API server itself says it in a `ConfigMap` for whoever it hands requests to. Its CA and
//! names leave, and go on being read: clusters renew CAs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::status::Status;
use crate::hold::kubernetes::{Api, ApiError, CALL};
use crate::http::tls::Tls;
use crate::settings::ExternalBy;

/// Between two looks, and after one that failed.
const LOOK: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(2);
const CA: &str = "requestheader-client-ca-file";
const NAMES: &str = "requestheader-allowed-names";

/// Names that a certificate of its CA may be for; all if none is said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FrontProxy {
    names: Vec<String>,
}

impl FrontProxy {
    /// Why the owner of that certificate may not ask; `None`: he may. TLS has checked whose certificate it is.
    pub(super) fn refuses(&self, subject: Option<&str>) -> Option<Status> {
        let Some(subject) = subject else { return Some(Status::no_certificate()) };
        let is_named = self.names.is_empty() || self.names.iter().any(|name| name == subject);
        (!is_named).then(|| Status::not_allowed(subject))
    }
}

#[derive(Deserialize)]
struct ConfigMap {
    #[serde(default)]
    data: HashMap<String, String>,
}

/// Reads it again and again until `stop`; what can't be read or used leaves what there was.
pub(crate) async fn follow(
    by: ExternalBy,
    tls: Arc<Tls>,
    known: watch::Sender<Option<FrontProxy>>,
    stop: CancellationToken,
) {
    let reading = async {
        loop {
            let read = tokio::time::timeout(CALL, read(&by))
                .await
                .unwrap_or_else(|_| Err(ApiError::Late.to_string()));
            let believed = read.and_then(|(front_proxy, roots)| {
                tls.believe(roots).map_err(|error| error.to_string())?;
                Ok(front_proxy)
            });
            let pause = match believed {
                Ok(front_proxy) => {
                    known.send_replace(Some(front_proxy));
                    LOOK
                }
                Err(error) => {
                    let from = &by.authentication;
                    tracing::warn!(%from, "who may ask for External metrics is not known: {error}");
                    AGAIN
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    stop.run_until_cancelled(reading).await;
}

async fn read(by: &ExternalBy) -> Result<(FrontProxy, RootCertStore), String> {
    let read = async {
        let api = Api::open(&by.account, right).await?;
        api.get(&by.authentication).await
    };
    parse(&read.await.map_err(|error| error.to_string())?)
}

fn parse(text: &[u8]) -> Result<(FrontProxy, RootCertStore), String> {
    let ConfigMap { data } =
        serde_json::from_slice(text).map_err(|error| format!("its answer is no ConfigMap: {error}"))?;
    let ca = data.get(CA).ok_or_else(|| {
        format!("it has no {CA}: expected an API server with --requestheader-client-ca-file, which an aggregated API needs")
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        let added = certificate.map_err(|error| error.to_string());
        let added = added.and_then(|der| roots.add(der).map_err(|error| error.to_string()));
        added.map_err(|error| format!("{CA}: {error}: expected certificates in PEM form"))?;
    }
    if roots.is_empty() {
        return Err(format!("{CA} holds no certificate in PEM form"));
    }
    let names = data.get(NAMES).map_or(Ok(Vec::new()), |names| serde_json::from_str(names));
    let names = names.map_err(|error| format!("{NAMES}: {error}: expected a list of names"))?;
    Ok((FrontProxy { names }, roots))
}

/// What would be right where the API refuses so.
fn right(status: StatusCode) -> &'static str {
    match status {
        StatusCode::FORBIDDEN => {
            "a RoleBinding in kube-system of the gate's ServiceAccount to the Role extension-apiserver-authentication-reader"
        }
        StatusCode::NOT_FOUND => "--external-metrics-api to name Kubernetes' API",
        _ => "200",
    }
}

#[cfg(test)]
mod tests {
    use rig::authority::Authority;
    use serde_json::json;

    use super::*;

    fn said(ca: &str, names: &str) -> Vec<u8> {
        json!({ "data": { CA: ca, NAMES: names, "client-ca-file": "other" } }).to_string().into_bytes()
    }

    #[test]
    fn a_front_proxy_is_its_ca_and_the_names_that_it_may_have() {
        let authority = Authority::new();
        let (named, roots) = parse(&said(authority.pem(), r#"["front-proxy-client", "other"]"#)).unwrap();
        assert_eq!(roots.len(), 1);
        assert!(named.refuses(Some("other")).is_none());
        assert!(named.refuses(Some("")).is_some() && named.refuses(None).is_some());
        let (any, _) = parse(&said(authority.pem(), "[]")).unwrap();
        assert!(any.refuses(Some("anything")).is_none() && any.refuses(None).is_some());
    }

    #[test]
    fn what_is_no_front_proxy_is_said() {
        let authority = Authority::new();
        for (text, expected) in [
            (b"nonsense".to_vec(), "no ConfigMap"),
            (b"{}".to_vec(), "--requestheader-client-ca-file"),
            (said("nonsense", "[]"), "holds no certificate"),
            (said(authority.pem(), "front-proxy-client"), "expected a list of names"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
