//! Parts of the protocol that only those may use who know a word, as in Triton.

use prost::Message;
use serde_json::json;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};

use crate::client::{fp32, send};
use crate::grpc::{self, channel, proto};
use crate::process::{Forebay, refused, serve_command, test_repository};

const INDEX: &str = "/v2/repository/index";

#[test]
fn over_http_a_restricted_api_wants_its_header_and_others_are_as_before() {
    let forebay = Forebay::serve(&[
        "--instances",
        "1",
        "--http-restricted-api",
        "model-repository,logging:Admin-Key=a word=b",
        "--http-restricted-api=health:probe=p",
    ]);
    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| {
        send(forebay.http_port, method, path, headers, b"{}")
    };
    for (headers, status) in [
        (&[][..], 403),
        (&[("admin-key", "a word")], 403),
        (&[("admin-key", "")], 403),
        (&[("probe", "p")], 403),
        (&[("admin-key", "a word=b")], 200),
    ] {
        let answer = ask("POST", INDEX, headers);
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
        if status == 403 {
            assert_eq!(answer.error(), "This API is restricted, expecting header 'admin-key'");
        }
    }
    assert_eq!(ask("GET", "/v2/logging", &[]).status, 403);
    assert_eq!(ask("GET", "/v2/models/identity_fp32/ready", &[]).status, 403);
    assert_eq!(ask("GET", "/v2/models/identity_fp32/ready", &[("probe", "p")]).status, 200);
    // Files to load don't come in before the word is known.
    let files = json!({ "parameters": { "file:1/model.onnx": "A".repeat(3 << 20) } }).to_string();
    let refused = send(forebay.http_port, "POST", "/v2/repository/models/x/load", &[], files.as_bytes());
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(forebay.infer("identity_fp32", &[], &fp32(&[1.0])).status, 200);
    for path in ["/v2", "/v2/models/identity_fp32", "/v2/models/stats", "/openapi.json"] {
        assert_eq!(ask("GET", path, &[]).status, 200, "{path}");
    }
    assert_eq!(ask("GET", "/v2/nothing", &[]).status, 404);
}

async fn ask<Asked, Answered>(
    forebay: &Forebay,
    method: &str,
    metadata: &[(&'static str, &str)],
    asked: Asked,
) -> Result<Answered, Status>
where
    Asked: Message + 'static,
    Answered: Message + Default + 'static,
{
    let mut request = Request::new(asked);
    let mut sent = MetadataMap::new();
    for (name, value) in metadata {
        sent.insert(*name, value.parse().unwrap());
    }
    *request.metadata_mut() = sent;
    grpc::call(&mut channel(forebay), &format!("{}/{method}", grpc::SERVICE), request).await
}

#[tokio::test]
async fn over_grpc_a_restricted_protocol_wants_its_metadata() {
    let forebay = Forebay::serve(&[
        "--instances",
        "1",
        "--grpc-restricted-protocol",
        "model-repository,inference:admin-key=word",
    ]);
    let index = proto::RepositoryIndexRequest::default;
    for metadata in [&[][..], &[("admin-key", "word")], &[("triton-grpc-protocol-admin-key", "wor")]] {
        let asked = ask::<_, proto::RepositoryIndexResponse>(&forebay, "RepositoryIndex", metadata, index());
        let refused = asked.await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
        assert_eq!(
            refused.message(),
            "This protocol is restricted, expecting header 'triton-grpc-protocol-admin-key'"
        );
    }
    let right = &[("triton-grpc-protocol-admin-key", "word")];
    let told: proto::RepositoryIndexResponse =
        ask(&forebay, "RepositoryIndex", right, index()).await.unwrap();
    assert!(!told.models.is_empty());
    let live = ask::<_, proto::ServerLiveResponse>(&forebay, "ServerLive", &[], proto::ServerLiveRequest {});
    assert!(live.await.unwrap().live);
}

#[test]
fn the_variable_takes_one_a_line_and_what_is_wrong_is_said_without_the_word() {
    let mut command = serve_command(&test_repository(), &["--instances", "1"]);
    command.env("FOREBAY_HTTP_RESTRICTED_API", "trace:k=a\nstatistics,health:k=b");
    let forebay = Forebay::start(command);
    for (path, word) in [("/v2/trace/setting", "a"), ("/v2/models/stats", "b")] {
        assert_eq!(send(forebay.http_port, "GET", path, &[], b"").status, 403);
        assert_eq!(send(forebay.http_port, "GET", path, &[("k", word)], b"").status, 200);
    }
    for flag in ["--http-restricted-api", "--grpc-restricted-protocol"] {
        for wrong in ["hunter2", "health:k:hunter2", "healthy:k=hunter2", "health,health:k=hunter2"] {
            let (code, line) = refused(&mut serve_command(&test_repository(), &[flag, wrong]));
            assert_eq!(code, Some(2), "{line}");
            assert!(line.contains(flag) && line.trim_end().lines().count() == 1, "{line}");
            assert!(!line.contains("hunter2"), "{line}");
        }
    }
}
