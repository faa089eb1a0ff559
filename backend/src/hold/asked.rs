//! A request as it came -> which model it asks for, by which protocol, until when, and whether it is one that a backend is woken for.

use std::time::{Duration, Instant};

use bytes::Bytes;
use forebay_protocol::digest::{self, RawKeyParts};
use forebay_protocol::header::INFERENCE_HEADER_CONTENT_LENGTH;
use forebay_protocol::limits::Limits;
use forebay_protocol::messages::ModelInferRequest;
use forebay_protocol::path::{InferTarget, decoded, encoded};
use forebay_protocol::{contents, request};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use prost::Message as _;

use crate::body::metered::HEAD_BYTES;
use crate::grpc;

/// How long Envoy still waits for the answer, in milliseconds: it says so of each request, unless it is told not to.
const EXPECTED: &str = "x-envoy-expected-rq-timeout-ms";
const SERVICE: &str = "/inference.GRPCInferenceService/";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// By what it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Protocol {
    Http,
    Grpc,
}

/// What must be ready: a version of a model, or, by an empty name, the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Model {
    pub(super) name: String,
    /// "" is no version.
    pub(super) version: String,
}

/// What is done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// An inference: it waits, and a backend is woken for it.
    Infer,
    /// Is a process there? It is.
    Live,
    /// Is a server ready, and a model? It is answered here, for who asks it now and then must not keep a GPU awake.
    Ready(Option<Model>),
    /// Goes to a backend if one is there.
    Other,
}

/// Of the head alone.
pub(super) fn protocol(headers: &HeaderMap) -> Protocol {
    let is_grpc =
        headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if is_grpc { Protocol::Grpc } else { Protocol::Http }
}

/// What is asked, by method and path.
pub(super) fn kind(protocol: Protocol, method: &Method, path: &str) -> (Kind, Model) {
    match protocol {
        Protocol::Http => http_kind(method, path),
        Protocol::Grpc if path == HEALTH => (Kind::Ready(None), Model::default()),
        Protocol::Grpc => match path.strip_prefix(SERVICE) {
            Some("ModelInfer" | "ModelStreamInfer") => (Kind::Infer, Model::default()),
            Some("ServerLive") => (Kind::Live, Model::default()),
            Some("ServerReady") => (Kind::Ready(None), Model::default()),
            _ => (Kind::Other, Model::default()),
        },
    }
}

fn http_kind(method: &Method, path: &str) -> (Kind, Model) {
    let none = Model::default;
    match path {
        "/v2/health/live" => return (Kind::Live, none()),
        "/v2/health/ready" => return (Kind::Ready(None), none()),
        _ => {}
    }
    if let Some(name) = path.strip_prefix("/v1/models/").and_then(|rest| rest.strip_suffix(":predict")) {
        let kind = if *method == Method::POST { Kind::Infer } else { Kind::Other };
        return (kind, Model::named(name, ""));
    }
    let Some(rest) = path.strip_prefix("/v2/models/").filter(|rest| !rest.is_empty()) else {
        return (Kind::Other, none());
    };
    let words: Vec<&str> = rest.split('/').collect();
    let (model, verb) = match words[..] {
        [name, "versions", version] => (Model::named(name, version), ""),
        [name, "versions", version, verb] => (Model::named(name, version), verb),
        [name, verb] => (Model::named(name, ""), verb),
        [name, ..] => (Model::named(name, ""), ""),
        [] => (none(), ""),
    };
    let kind = match (verb, method) {
        ("infer", &Method::POST) => Kind::Infer,
        ("ready", &Method::GET) => Kind::Ready(Some(model.clone())),
        _ => Kind::Other,
    };
    (kind, model)
}

impl Model {
    /// By segments of a path; what can't be read names nothing.
    fn named(name: &str, version: &str) -> Self {
        let read = |text: &str| decoded(text).map(std::borrow::Cow::into_owned).unwrap_or_default();
        Self { name: read(name), version: read(version) }
    }

    /// Where a server says whether it is ready.
    pub(super) fn ready_path(&self) -> String {
        match (self.name.as_str(), self.version.as_str()) {
            ("", _) => "/v2/health/ready".to_owned(),
            (name, "") => format!("/v2/models/{}/ready", encoded(name)),
            (name, version) => format!("/v2/models/{}/versions/{}/ready", encoded(name), encoded(version)),
        }
    }
}

/// Until when its client wants the answer, and whoever passed it on.
pub(super) fn deadline(headers: &HeaderMap, now: Instant, most: Duration) -> Instant {
    let said = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    let envoys = said(EXPECTED).filter(|ms| *ms > 0).map(Duration::from_millis);
    let grpcs = grpc::timeout(headers).ok().flatten();
    now + [envoys, grpcs].into_iter().flatten().fold(most, Duration::min)
}

/// A decoded inference.
pub(super) fn decode(
    protocol: Protocol,
    path: &str,
    headers: &HeaderMap,
    body: &Bytes,
    limits: &Limits,
) -> Option<ModelInferRequest> {
    match protocol {
        Protocol::Http => {
            let target = InferTarget::parse(path)?;
            let lengths = headers.get_all(INFERENCE_HEADER_CONTENT_LENGTH).iter();
            let length = request::header_length(lengths.map(HeaderValue::as_bytes)).ok()?;
            request::decode(&target.names(), length.filter(|length| *length > 0), body, limits).ok()
        }
        Protocol::Grpc => {
            let (head, message) = body.split_at_checked(HEAD_BYTES)?;
            // A compressed one waits as it is.
            let is_one = head.first() == Some(&0)
                && head.get(1..).and_then(|length| length.try_into().ok()).map(u32::from_be_bytes)
                    == u32::try_from(message.len()).ok();
            let mut decoded = ModelInferRequest::decode(is_one.then(|| body.slice(HEAD_BYTES..))?).ok()?;
            contents::canonicalize(&mut decoded, limits).ok()?;
            Some(decoded)
        }
    }
}

/// What makes two requests the same bytes, of one who may share them.
pub(super) fn raw_key(scope: digest::Scope<'_>, path: &str, headers: &HeaderMap, body: &[u8]) -> [u8; 32] {
    let header = |name: &str| headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
    digest::raw_key(&RawKeyParts {
        scope,
        path,
        content_type: header(CONTENT_TYPE.as_str()),
        header_length: header(INFERENCE_HEADER_CONTENT_LENGTH),
        accept: header(ACCEPT.as_str()),
        accept_encoding: header(ACCEPT_ENCODING.as_str()),
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str, version: &str) -> Model {
        Model { name: name.to_owned(), version: version.to_owned() }
    }

    #[test]
    fn inferences_wait_and_who_asks_whether_something_is_ready_wakes_nobody() {
        let none = Model::default();
        let ready = |model: Model| (Kind::Ready(Some(model.clone())), model);
        for (method, path, expected) in [
            (Method::POST, "/v2/models/m/infer", (Kind::Infer, model("m", ""))),
            (Method::POST, "/v2/models/a%20b/versions/7/infer", (Kind::Infer, model("a b", "7"))),
            (Method::POST, "/v1/models/m:predict", (Kind::Infer, model("m", ""))),
            (Method::GET, "/v2/models/m/infer", (Kind::Other, model("m", ""))),
            (Method::GET, "/v2/models/m/ready", ready(model("m", ""))),
            (Method::GET, "/v2/models/m/versions/2/ready", ready(model("m", "2"))),
            (Method::GET, "/v2/models/m", (Kind::Other, model("m", ""))),
            (Method::GET, "/v2/models/stats", (Kind::Other, model("stats", ""))),
            (Method::GET, "/v2/health/ready", (Kind::Ready(None), none.clone())),
            (Method::GET, "/v2/health/live", (Kind::Live, none.clone())),
            (Method::GET, "/v2", (Kind::Other, none.clone())),
            (Method::POST, "/v2/models/", (Kind::Other, none.clone())),
        ] {
            assert_eq!(kind(Protocol::Http, &method, path), expected, "{method} {path}");
        }
        for (path, expected) in [
            ("/inference.GRPCInferenceService/ModelInfer", Kind::Infer),
            ("/inference.GRPCInferenceService/ModelStreamInfer", Kind::Infer),
            ("/inference.GRPCInferenceService/ServerReady", Kind::Ready(None)),
            ("/inference.GRPCInferenceService/ServerLive", Kind::Live),
            ("/grpc.health.v1.Health/Check", Kind::Ready(None)),
            ("/inference.GRPCInferenceService/ModelMetadata", Kind::Other),
        ] {
            assert_eq!(kind(Protocol::Grpc, &Method::POST, path).0, expected, "{path}");
        }
    }

    #[test]
    fn a_models_path_is_one_that_a_server_reads_as_its_name() {
        assert_eq!(model("a b/c", "").ready_path(), "/v2/models/a%20b%2Fc/ready");
        assert_eq!(model("m", "7").ready_path(), "/v2/models/m/versions/7/ready");
        assert_eq!(Model::default().ready_path(), "/v2/health/ready");
    }

    #[test]
    fn the_least_time_that_anybody_gives_is_what_a_request_has() {
        let now = Instant::now();
        let left = |headers: &[(&'static str, &str)]| {
            let pairs = headers
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
            deadline(&pairs.collect(), now, Duration::from_mins(1)) - now
        };
        assert_eq!(left(&[]), Duration::from_mins(1));
        assert_eq!(left(&[(EXPECTED, "1500")]), Duration::from_millis(1500));
        assert_eq!(left(&[(EXPECTED, "1500"), ("grpc-timeout", "1S")]), Duration::from_secs(1));
        // 0 is no bound of Envoy's.
        assert_eq!(left(&[(EXPECTED, "0"), ("grpc-timeout", "9H")]), Duration::from_mins(1));
        assert_eq!(left(&[(EXPECTED, "soon"), ("grpc-timeout", "soon")]), Duration::from_mins(1));
    }

    #[test]
    fn one_plain_message_is_read_and_what_is_none_waits_as_it_is() {
        let message =
            ModelInferRequest { model_name: "m".into(), ..ModelInferRequest::default() }.encode_to_vec();
        let framed = |flag: u8, length: usize| {
            let length = u32::try_from(length).unwrap().to_be_bytes();
            Bytes::from([&[flag][..], &length, &message].concat())
        };
        let of = |body: &Bytes| {
            let read = decode(Protocol::Grpc, "", &HeaderMap::new(), body, &Limits::default());
            read.map(|request| request.model_name)
        };
        assert_eq!(of(&framed(0, message.len())).as_deref(), Some("m"));
        for body in [framed(1, message.len()), framed(0, message.len() + 1), Bytes::from_static(b"\0\0")] {
            assert_eq!(of(&body), None);
        }
    }
}
