//! Calls that only those may make who know a word (`--grpc-restricted-protocol`).

use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::{Router, body};
use tonic::Status;

use crate::settings::{Api, Restrictions};

/// The calls over gRPC, restricted.
pub(crate) fn restrict(calls: Router, restrictions: Restrictions) -> Router {
    if restrictions.is_empty() {
        return calls;
    }
    let restrict = move |request: Request, next: Next| {
        let lacks = restrictions.lacks(api(request.uri().path()), request.headers());
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

/// What a call over gRPC belongs to, by its path.
fn api(path: &str) -> Option<Api> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    if service == "grpc.health.v1.Health" {
        return Some(Api::Health);
    }
    Some(match method {
        "ServerLive" | "ServerReady" | "ModelReady" => Api::Health,
        "ServerMetadata" | "ModelMetadata" => Api::Metadata,
        "ModelInfer" | "ModelStreamInfer" => Api::Inference,
        "ModelConfig" => Api::ModelConfig,
        "ModelStatistics" => Api::Statistics,
        "RepositoryIndex" | "RepositoryModelLoad" | "RepositoryModelUnload" => Api::ModelRepository,
        "TraceSetting" => Api::Trace,
        "LogSettings" => Api::Logging,
        _ if method.contains("SharedMemory") => Api::SharedMemory,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto;

    #[test]
    fn every_call_belongs_to_an_api() {
        for path in proto::calls() {
            assert!(api(&path).is_some(), "{path}");
        }
        assert_eq!(api("/grpc.health.v1.Health/Watch"), Some(Api::Health));
    }
}
