//! Routes that only those may use who know a word (`--http-restricted-api`).

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{self, Next};
use axum::response::IntoResponse as _;
use http::Method;

use super::error::HttpError;
use crate::settings::{Api, Restrictions};

/// The routes over HTTP, restricted.
pub(crate) fn restrict(routes: Router, restrictions: Restrictions) -> Router {
    if restrictions.is_empty() {
        return routes;
    }
    let restrict = move |route: MatchedPath, request: Request, next: Next| {
        let lacks = restrictions.lacks(api(route.as_str(), request.method()), request.headers());
        async move {
            match lacks {
                Some(header) => HttpError::Restricted { header }.into_response(),
                None => next.run(request).await,
            }
        }
    };
    routes.route_layer(middleware::from_fn(restrict))
}

/// What a route over HTTP belongs to, with its parameters as they stand in the route; `None`: to none, it says nothing of
/// this server.
fn api(route: &str, method: &Method) -> Option<Api> {
    let (parent, last) = route.trim_end_matches('/').rsplit_once('/')?;
    Some(match last {
        _ if parent.contains("sharedmemory") => Api::SharedMemory,
        _ if parent.starts_with("/v2/repository") => Api::ModelRepository,
        "{model}" if parent == "/v1/models" && method == Method::POST => Api::Inference,
        "{model}" if parent == "/v1/models" => Api::Health,
        "infer" => Api::Inference,
        "live" | "ready" => Api::Health,
        "config" => Api::ModelConfig,
        "stats" => Api::Statistics,
        "setting" => Api::Trace,
        "logging" => Api::Logging,
        "v2" | "models" | "{model}" | "{version}" => Api::Metadata,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_that_is_described_belongs_to_an_api() {
        let openapi: serde_json::Value = serde_json::from_str(include_str!("../../openapi.json")).unwrap();
        for (path, methods) in openapi["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                let route = path.trim_end_matches(":predict");
                let api = super::api(route, &method.to_uppercase().parse().unwrap());
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
            assert_eq!(super::api(route, &Method::GET), Some(api), "{route}");
        }
        assert_eq!(super::api("/v1/models/{model}", &Method::POST), Some(Api::Inference));
    }
}
