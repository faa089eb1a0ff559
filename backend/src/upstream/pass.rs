//! A request that is not answered here: its head and its body, as they come, go to the server, and so comes back what it says. What only
//! parts of Forebay may say to each other goes neither way.

use std::time::Duration;

use axum::body::Body;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONNECTION, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE,
    USER_AGENT,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Request, Response, Version};
use tower_http::timeout::TimeoutBody;

use super::{Upstream, UpstreamError, late, unreachable};

/// Of one connection (RFC 9110, 7.6.1), or of its server's.
const HOP: [HeaderName; 7] = [
    CONNECTION,
    UPGRADE,
    TRANSFER_ENCODING,
    EXPECT,
    HOST,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];
/// Between parts of Forebay.
const OURS: &str = "x-forebay-";
/// What says how a body is, which is another one now, or what this server does with the request.
const OF_THE_BODY: [HeaderName; 5] = [ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, TE, USER_AGENT];

/// What a request is passed on by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Grpc,
}

impl Upstream {
    /// Passes a request on; its answer begins within that time, and goes on at least so often. `None`: whenever it does, as a stream's.
    ///
    /// # Errors
    /// `Unreachable` and `Late`.
    pub(crate) async fn pass(
        &self,
        protocol: Protocol,
        mut request: Request<Body>,
        within: Option<Duration>,
    ) -> Result<Response<Body>, UpstreamError> {
        let place = match protocol {
            Protocol::Http => &self.reach.to,
            Protocol::Grpc => &self.place_of_grpc,
        };
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = place.uri(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        // The client knows which it speaks.
        *request.version_mut() = Version::HTTP_11;
        request.extensions_mut().clear();
        strip(request.headers_mut());
        let asked = async {
            match protocol {
                Protocol::Http => self.http.request(request).await,
                Protocol::Grpc => self.grpc.request(request.map(tonic::body::Body::new)).await,
            }
        };
        let answer = match within {
            Some(within) => tokio::time::timeout(within, asked).await.map_err(|_| late(place, within))?,
            None => asked.await,
        };
        let mut answer = answer.map_err(|error| unreachable(place, &error))?;
        strip(answer.headers_mut());
        *answer.version_mut() = Version::default();
        Ok(answer.map(|body| match within {
            Some(within) => Body::new(TimeoutBody::new(within, body)),
            None => Body::new(body),
        }))
    }
}

/// Takes out what is of one connection, and what is Forebay's own.
fn strip(headers: &mut HeaderMap) {
    for name in HOP {
        headers.remove(name);
    }
    let ours: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(OURS)).cloned().collect();
    for name in ours {
        headers.remove(name);
    }
}

/// What goes on with a request whose body does not: who asks, and what traces it.
pub(crate) fn passed(headers: &HeaderMap) -> HeaderMap {
    let mut passed = headers.clone();
    strip(&mut passed);
    for name in OF_THE_BODY {
        passed.remove(name);
    }
    let of_the_body = |name: &&HeaderName| {
        ["content-", "grpc-", "inference-header-"].iter().any(|prefix| name.as_str().starts_with(prefix))
    };
    let names: Vec<HeaderName> = passed.keys().filter(of_the_body).cloned().collect();
    for name in names {
        passed.remove(name);
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_request_whose_body_stays_here_goes_on_who_asks_and_what_traces_it() {
        let mut headers = HeaderMap::new();
        let (goes, stays) = (
            ["authorization", "traceparent", "x-request-id"],
            ["host", "content-type", "inference-header-content-length", "grpc-timeout", "x-forebay-tenant"],
        );
        for name in goes.into_iter().chain(stays) {
            headers.insert(name, "a".parse().unwrap());
        }
        let passed = passed(&headers);
        assert!(
            goes.iter().all(|name| passed.contains_key(*name)) && passed.len() == goes.len(),
            "{passed:?}"
        );
    }
}
