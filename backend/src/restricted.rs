//! Parts of the protocol that only those may use who know a word, as Triton restricts them: `<apis>:<key>=<value>` enters at start,
//! a request that lacks the header `<key>: <value>` is refused before its body is read.

use axum::extract::{MatchedPath, Request};
use axum::middleware::{self, Next};
use axum::response::IntoResponse as _;
use axum::{Router, body};
use http::{HeaderMap, HeaderName, Method};
use tonic::Status;

use crate::http::error::HttpError;
use crate::settings::{Hidden, SettingsError, wrong};

/// The flags.
pub(crate) const HTTP: &str = "--http-restricted-api";
pub(crate) const GRPC: &str = "--grpc-restricted-protocol";
/// What a key over gRPC begins with.
const GRPC_PREFIX: &str = "triton-grpc-protocol-";

/// A part that can be restricted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    Health,
    Metadata,
    Inference,
    SharedMemory,
    ModelConfig,
    ModelRepository,
    Statistics,
    Trace,
    Logging,
}

/// By Triton's names.
const APIS: [(&str, Api); 9] = [
    ("health", Api::Health),
    ("metadata", Api::Metadata),
    ("inference", Api::Inference),
    ("shared-memory", Api::SharedMemory),
    ("model-config", Api::ModelConfig),
    ("model-repository", Api::ModelRepository),
    ("statistics", Api::Statistics),
    ("trace", Api::Trace),
    ("logging", Api::Logging),
];

impl Api {
    /// What a route over HTTP belongs to, with its parameters as they stand in the route; `None`: to none, it says nothing of
    /// this server.
    fn of_route(route: &str, method: &Method) -> Option<Self> {
        let (parent, last) = route.trim_end_matches('/').rsplit_once('/')?;
        Some(match last {
            _ if parent.contains("sharedmemory") => Self::SharedMemory,
            _ if parent.starts_with("/v2/repository") => Self::ModelRepository,
            "{model}" if parent == "/v1/models" && method == Method::POST => Self::Inference,
            "{model}" if parent == "/v1/models" => Self::Health,
            "infer" => Self::Inference,
            "live" | "ready" => Self::Health,
            "config" => Self::ModelConfig,
            "stats" => Self::Statistics,
            "setting" => Self::Trace,
            "logging" => Self::Logging,
            "v2" | "models" | "{model}" | "{version}" => Self::Metadata,
            _ => return None,
        })
    }

    /// What a call over gRPC belongs to, by its path.
    fn of_call(path: &str) -> Option<Self> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        if service == "grpc.health.v1.Health" {
            return Some(Self::Health);
        }
        Some(match method {
            "ServerLive" | "ServerReady" | "ModelReady" => Self::Health,
            "ServerMetadata" | "ModelMetadata" => Self::Metadata,
            "ModelInfer" | "ModelStreamInfer" => Self::Inference,
            "ModelConfig" => Self::ModelConfig,
            "ModelStatistics" => Self::Statistics,
            "RepositoryIndex" | "RepositoryModelLoad" | "RepositoryModelUnload" => Self::ModelRepository,
            "TraceSetting" => Self::Trace,
            "LogSettings" => Self::Logging,
            _ if method.contains("SharedMemory") => Self::SharedMemory,
            _ => return None,
        })
    }
}

/// Who may use which parts of one port.
#[derive(Clone, Default)]
pub(crate) struct Restrictions(Vec<Restriction>);

#[derive(Clone)]
struct Restriction {
    api: Api,
    header: HeaderName,
    /// Hashes compare in constant time, whatever was sent.
    value: blake3::Hash,
}

impl Restrictions {
    /// The restrictions that `flag` gives. What is wrong with them is said without what they hold.
    ///
    /// # Errors
    /// When one isn't of that form, names no part, or a part that has one.
    pub(crate) fn parse(flag: &'static str, groups: &[Hidden]) -> Result<Self, SettingsError> {
        let prefix = if flag == GRPC { GRPC_PREFIX } else { "" };
        let mut restrictions = Vec::new();
        for group in groups {
            let form = || wrong(flag, "must be <api>,<api>:<key>=<value>");
            let (apis, word) = group.0.split_once(':').ok_or_else(form)?;
            let (key, value) = word.split_once('=').ok_or_else(form)?;
            if apis.is_empty() || key.is_empty() || value.is_empty() {
                return Err(form());
            }
            let header = HeaderName::try_from(format!("{prefix}{key}"));
            let header = header.map_err(|_| wrong(flag, "a key is no name of a header"))?;
            for name in apis.split(',') {
                let Some((name, api)) = APIS.into_iter().find(|(known, _)| *known == name) else {
                    let known = APIS.map(|(name, _)| name).join(", ");
                    return Err(wrong(flag, format!("an api is not known: known are {known}")));
                };
                if restrictions.iter().any(|other: &Restriction| other.api == api) {
                    return Err(wrong(flag, format!("{name} can't be in more than one group")));
                }
                let value = blake3::hash(value.as_bytes());
                restrictions.push(Restriction { api, header: header.clone(), value });
            }
        }
        Ok(Self(restrictions))
    }

    /// The header that is missing or has another value.
    fn lacks(&self, api: Option<Api>, headers: &HeaderMap) -> Option<HeaderName> {
        let restriction = self.0.iter().find(|restriction| Some(restriction.api) == api)?;
        let shown = headers.get(&restriction.header).map(|value| blake3::hash(value.as_bytes()));
        (shown != Some(restriction.value)).then(|| restriction.header.clone())
    }

    /// The routes over HTTP, restricted.
    pub(crate) fn http(self, routes: Router) -> Router {
        if self.0.is_empty() {
            return routes;
        }
        let restrict = move |route: MatchedPath, request: Request, next: Next| {
            let lacks = self.lacks(Api::of_route(route.as_str(), request.method()), request.headers());
            async move {
                match lacks {
                    Some(header) => HttpError::Restricted { header }.into_response(),
                    None => next.run(request).await,
                }
            }
        };
        routes.route_layer(middleware::from_fn(restrict))
    }

    /// The calls over gRPC, restricted.
    pub(crate) fn grpc(self, calls: Router) -> Router {
        if self.0.is_empty() {
            return calls;
        }
        let restrict = move |request: Request, next: Next| {
            let lacks = self.lacks(Api::of_call(request.uri().path()), request.headers());
            async move {
                match lacks {
                    Some(header) => {
                        let reason = format!("This protocol is restricted, expecting header '{header}'");
                        Status::unavailable(reason).into_http::<body::Body>()
                    }
                    None => next.run(request).await,
                }
            }
        };
        calls.layer(middleware::from_fn(restrict))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto;

    fn parse(groups: &[&str]) -> Result<Restrictions, String> {
        let groups: Vec<Hidden> = groups.iter().map(|group| group.parse().unwrap()).collect();
        Restrictions::parse(GRPC, &groups).map_err(|error| error.to_string())
    }

    #[test]
    fn groups_restrict_their_apis_and_a_value_may_hold_anything() {
        let restrictions = parse(&["model-repository,trace:Admin-Key=a:b=c", "health:k=v"]).unwrap();
        let mut headers = HeaderMap::new();
        let lacks = |api: Api, headers: &HeaderMap| {
            restrictions.lacks(Some(api), headers).map(|name| name.to_string())
        };
        let admin = "triton-grpc-protocol-admin-key";
        assert_eq!(lacks(Api::Trace, &headers).as_deref(), Some(admin));
        assert_eq!(lacks(Api::Health, &headers).as_deref(), Some("triton-grpc-protocol-k"));
        assert_eq!(lacks(Api::Inference, &headers), None);
        for (value, missing) in [("a:b=", Some(admin)), ("a:b=c", None), ("a:b=cc", Some(admin))] {
            headers.insert(admin, value.parse().unwrap());
            assert_eq!(lacks(Api::ModelRepository, &headers).as_deref(), missing, "{value}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        for (groups, expected) in [
            (&["secret"][..], "<api>,<api>:<key>=<value>"),
            (&["health:secret"], "<api>,<api>:<key>=<value>"),
            (&["health:k="], "<api>,<api>:<key>=<value>"),
            (&["health:=secret"], "<api>,<api>:<key>=<value>"),
            (&[":k=secret"], "<api>,<api>:<key>=<value>"),
            (&["health:secret key=secret"], "no name of a header"),
            (&["health,secret:k=secret"], "known are health, metadata"),
            (&["health,trace:k=secret", "trace:k=secret"], "trace can't be in more than one group"),
            (&["health,health:k=secret"], "health can't be in more than one group"),
        ] {
            let error = parse(groups).map(drop).unwrap_err();
            assert!(error.contains(expected) && error.starts_with(GRPC), "{groups:?}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn every_route_that_is_described_and_every_call_belongs_to_an_api() {
        let openapi: serde_json::Value = serde_json::from_str(include_str!("../openapi.json")).unwrap();
        for (path, methods) in openapi["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                let route = path.trim_end_matches(":predict");
                let api = Api::of_route(route, &method.to_uppercase().parse().unwrap());
                assert_eq!(api.is_none(), path == "/openapi.json", "{method} {path}");
            }
        }
        for (route, api) in [
            ("/v2/", Api::Metadata),
            ("/v2/models/{model}/versions/{version}", Api::Metadata),
            ("/v2/models/{model}/versions/{version}/infer", Api::Inference),
            ("/v2/models/stats", Api::Statistics),
            ("/v2/models/{model}/trace/setting", Api::Trace),
            ("/v2/repository/models/{model}/load", Api::ModelRepository),
            ("/v2/cudasharedmemory/region/{region}/status", Api::SharedMemory),
            ("/v1/models", Api::Metadata),
            ("/v1/models/{model}", Api::Health),
        ] {
            assert_eq!(Api::of_route(route, &Method::GET), Some(api), "{route}");
        }
        assert_eq!(Api::of_route("/v1/models/{model}", &Method::POST), Some(Api::Inference));
        for path in proto::calls() {
            assert!(Api::of_call(&path).is_some(), "{path}");
        }
        assert_eq!(Api::of_call("/grpc.health.v1.Health/Watch"), Some(Api::Health));
    }
}
