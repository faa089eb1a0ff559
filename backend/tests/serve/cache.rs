//! The pool in memory, the requests' and the models' say over it, and the gate's routes in front of it.

use bytes::Bytes;
use forebay_protocol::digest::{Scope, digest};
use forebay_protocol::entry::Entry;
use forebay_protocol::gate::{LOOKUP_PATH, POLL_PATH};
use forebay_protocol::limits::Limits;
use forebay_protocol::messages::ModelInferResponse;
use forebay_protocol::path::InferTarget;
use forebay_protocol::tenant::Tenant;
use rig::http::Answer;
use serde_json::json;

use crate::client::{fp32, send};
use crate::grpc;
use crate::process::Forebay;

const PATH: &str = "/v2/models/identity_fp32/infer";

#[test]
fn the_second_ask_is_a_hit_in_either_encoding() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let first = forebay.infer("identity_fp32", &[], &fp32(&[1.0, 2.0]));
    assert!(!first.is_hit() && first.header("cache-status").contains("uri-miss"), "{first:?}");
    let second = forebay.infer("identity_fp32", &[], &fp32(&[1.0, 2.0]));
    assert!(second.is_hit() && second.header("age") == "0", "{second:?}");
    assert_eq!(first.body, second.body);
    let data: Vec<u8> = [1.0_f32, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let binary = forebay.infer_binary("identity_fp32", "FP32", &[1, 2], &data);
    assert!(binary.is_hit() && binary.body.ends_with(&data), "{binary:?}");
    assert!(!forebay.infer_binary("identity_fp32", "FP32", &[2, 1], &data).is_hit(), "another shape");
    assert_eq!(forebay.metric("nv_inference_exec_count", "identity_fp32"), 2);
    assert_eq!(forebay.metric("nv_cache_num_hits_per_model", "identity_fp32"), 2);
}

#[test]
fn requested_outputs_are_part_of_what_was_asked() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let mut some = fp32(&[8.0]);
    some["outputs"] = json!([{ "name": "half" }]);
    assert_eq!(forebay.infer("two_outputs", &[], &some).json()["outputs"].as_array().unwrap().len(), 1);
    let all = forebay.infer("two_outputs", &[], &fp32(&[8.0]));
    assert_eq!(all.json()["outputs"].as_array().unwrap().len(), 2);
}

#[test]
fn an_id_is_the_askers_own() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let ask = |id: &str| {
        let mut body = fp32(&[3.0]);
        body["id"] = json!(id);
        forebay.infer("identity_fp32", &[], &body)
    };
    assert_eq!(ask("one").json()["id"], "one");
    let second = ask("two");
    assert!(second.is_hit() && second.json()["id"] == "two", "{second:?}");
    assert!(forebay.infer("identity_fp32", &[], &fp32(&[3.0])).json().get("id").is_none());
}

#[test]
fn requests_have_a_say() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let ask =
        |directive: &str| forebay.infer("identity_fp32", &[("cache-control", directive)], &fp32(&[5.0]));
    let absent = ask("only-if-cached");
    assert_eq!((absent.status, absent.error().contains("only-if-cached")), (504, true));
    let not_kept = ask("no-store");
    assert_eq!((not_kept.status, not_kept.header("cache-control")), (200, "no-store"));
    assert_eq!(ask("only-if-cached").status, 504);
    assert!(!ask("no-cache").is_hit(), "computed, and kept");
    assert!(ask("only-if-cached").is_hit());
    assert!(!ask("no-cache").is_hit());
    assert!(!ask("no-store").is_hit());
}

#[test]
fn a_model_without_response_cache_is_never_kept() {
    for (arguments, model) in
        [(&["--instances", "1"][..], "uncached"), (&["--pool", "none"], "identity_fp32")]
    {
        let forebay = Forebay::serve(arguments);
        for _ in 0..2 {
            let answer = forebay.infer(model, &[], &fp32(&[1.0]));
            assert_eq!((answer.is_hit(), answer.header("cache-control")), (false, "no-store"));
        }
    }
}

#[test]
fn where_tenants_are_required_only_a_proven_caller_names_one_and_without_one_nothing_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--instances", "1", "--tenancy", "required", "--credentials-file"];
    let credentials = credentials(folder.path(), TOKEN);
    let forebay = Forebay::serve(&[&arguments[..], &[credentials.to_str().unwrap()]].concat());
    let ask = |headers: &[(&str, &str)]| forebay.infer("identity_fp32", headers, &fp32(&[6.0]));
    let proven = |tenant: &'static str| [("x-forebay-token", TOKEN), ("x-forebay-tenant", tenant)];
    assert!(!ask(&proven("a")).is_hit());
    assert!(ask(&proven("a")).is_hit());
    assert!(!ask(&proven("b")).is_hit(), "tenants don't see each other's");
    assert_eq!(
        ask(&proven("a")).header("cache-control"),
        "private, max-age=60",
        "no cache in front parts them"
    );
    let parts = [proven("a").as_slice(), &[("x-forebay-tenancy", "required")]].concat();
    let parted = ask(&parts);
    assert_eq!((parted.is_hit(), parted.header("cache-control")), (true, "max-age=60"));
    let predict = json!({"instances": [[6.0]]}).to_string();
    let predicted =
        send(forebay.http_port, "POST", "/v1/models/identity_fp32:predict", &proven("a"), predict.as_bytes());
    assert_eq!(predicted.header("cache-control"), "private, max-age=60", "{predicted:?}");
    for unproven in [&[][..], &[("x-forebay-tenant", "a")], &[("x-forebay-token", TOKEN)], &proven("a,b")] {
        for _ in 0..2 {
            let answer = ask(unproven);
            let said = (answer.header("cache-control"), answer.header("cache-status"));
            assert_eq!(said, ("no-store", "forebay-serve; fwd=bypass; detail=no-tenant"), "{unproven:?}");
        }
    }
}

#[test]
fn a_server_without_tenants_shares_nothing_with_a_proxy_that_parts_them() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let ask = |headers: &[(&str, &str)]| forebay.infer("identity_fp32", headers, &fp32(&[6.5]));
    assert!(!ask(&[]).is_hit());
    assert!(ask(&[("x-forebay-tenancy", "none")]).is_hit());
    for parted in [("x-forebay-tenant", "a"), ("x-forebay-tenancy", "required")] {
        let said = ask(&[parted]).header("cache-status").to_owned();
        assert_eq!(said, "forebay-serve; fwd=bypass; detail=tenancy-differs", "{parted:?}");
    }
}

#[test]
fn a_request_with_authorization_shares_only_what_is_said_to_be_public() {
    let bearer = [("authorization", "Bearer x")];
    let forebay = Forebay::serve(&["--instances", "1"]);
    let ask = |headers: &[(&str, &str)]| forebay.infer("identity_fp32", headers, &fp32(&[6.25]));
    assert_eq!(ask(&bearer).header("cache-control"), "no-store");
    assert!(!ask(&[]).is_hit(), "the answer to it was not kept");
    let said = ask(&bearer).header("cache-status").to_owned();
    assert_eq!(said, "forebay-serve; fwd=bypass; detail=authorization");
    assert!(!ask(&[("cookie", "a=1")]).header("cache-status").contains("bypass"), "cookies change nothing");
    let checked = ["--instances", "1", "--authorization", "checked-before", "--cookie", "forbids"];
    let forebay = Forebay::serve(&checked);
    let ask = |headers: &[(&str, &str)]| forebay.infer("identity_fp32", headers, &fp32(&[6.25]));
    assert!(!ask(&bearer).is_hit());
    assert!(ask(&[]).is_hit());
    assert_eq!(ask(&[("cookie", "a=1")]).header("cache-control"), "no-store");
}

pub(crate) const TOKEN: &str = "a-token-of-the-gateway";

#[tokio::test]
async fn what_is_one_tenants_is_private_over_grpc_too() {
    let folder = tempfile::tempdir().unwrap();
    let credentials = credentials(folder.path(), TOKEN);
    let arguments = ["--instances", "1", "--tenancy", "required", "--credentials-file"];
    let forebay = Forebay::serve(&[&arguments[..], &[credentials.to_str().unwrap()]].concat());
    let data: Vec<u8> = 6.0_f32.to_le_bytes().to_vec();
    let proven: &[_] = &[("x-forebay-token", TOKEN), ("x-forebay-tenant", "a")];
    let parts: &[_] = &[proven, &[("x-forebay-tenancy", "required")]].concat();
    let path = format!("{}/ModelInfer", grpc::SERVICE);
    for (headers, control) in [(proven, "private, max-age=60"), (parts, "max-age=60"), (&[], "no-store")] {
        let mut asked = tonic::Request::new(grpc::raw("identity_fp32", "FP32", &[1, 1], &data));
        for (name, value) in headers {
            asked.metadata_mut().insert(*name, value.parse().unwrap());
        }
        let answer = grpc::answer(&mut grpc::channel(&forebay), &path, asked).await.unwrap();
        let answer: &tonic::Response<ModelInferResponse> = &answer;
        assert_eq!(answer.metadata().get("cache-control").unwrap(), control, "{headers:?}");
    }
}

/// A file by which the bearer of `token` may speak for every tenant of the service `default`.
pub(crate) fn credentials(folder: &std::path::Path, token: &str) -> std::path::PathBuf {
    let path = folder.join("credentials.json");
    let row = json!({"name": "gateway", "token": token, "service": "default", "tenants": ["*"]});
    std::fs::write(&path, json!({"credentials": [row]}).to_string()).unwrap();
    path
}

fn lookup(forebay: &Forebay, service: &str, tenant: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let target = InferTarget::parse(PATH).unwrap();
    let limits = Limits::default();
    let request =
        forebay_protocol::request::decode(&target.names(), None, &Bytes::from(body.to_owned()), &limits)
            .unwrap();
    let digest = digest(&Scope { service, tenant: Tenant::parse(tenant).ok().as_ref() }, &request)
        .unwrap()
        .to_string();
    let asked = [
        ("x-forebay-service", service),
        ("x-forebay-tenant", tenant),
        ("x-forebay-model", "identity_fp32"),
        ("x-forebay-digest", &digest),
    ];
    let asked = asked.iter().filter(|(_, value)| !value.is_empty());
    let headers: Vec<_> = asked.chain(headers).copied().collect();
    send(forebay.gate_port, "GET", LOOKUP_PATH, &headers, b"")
}

#[test]
fn the_gate_finds_what_serve_kept_and_only_for_who_asked() {
    let forebay = Forebay::serve(&["--instances", "1", "--service", "demo"]);
    let body = fp32(&[7.0]).to_string();
    let miss = lookup(&forebay, "demo", "", &[], &body);
    assert_eq!((miss.status, miss.body.len()), (404, 0));
    let answer = forebay.infer("identity_fp32", &[], &fp32(&[7.0]));
    assert_eq!(miss.header("x-forebay-generation"), answer.header("x-forebay-generation"));
    let hit = lookup(&forebay, "demo", "", &[], &body);
    assert_eq!((hit.status, hit.header("content-type")), (200, "application/x-protobuf"));
    assert_eq!(hit.header("x-forebay-generation"), answer.header("x-forebay-generation"));
    let entry = Entry::decode_plain(Bytes::from(hit.body)).unwrap();
    assert_eq!(entry.max_age_s, 60);
    assert_eq!(entry.response.unwrap().raw_output_contents, [&7.0_f32.to_le_bytes()[..]]);
    assert_eq!(lookup(&forebay, "demo", "other", &[], &body).status, 403, "a proxy that parts tenants");
    let other = lookup(&forebay, "other", "", &[], &body);
    assert_eq!((other.status, other.header("x-forebay-generation")), (404, ""));
}

#[test]
fn the_gate_refuses_what_is_no_lookup_and_who_shows_no_credential() {
    let folder = tempfile::tempdir().unwrap();
    let credentials = credentials(folder.path(), TOKEN);
    let forebay = Forebay::serve(&["--instances", "1", "--credentials-file", credentials.to_str().unwrap()]);
    let body = fp32(&[7.0]).to_string();
    assert_eq!(lookup(&forebay, "default", "", &[], &body).status, 401);
    let poll = br#"{"format":2,"proxy":"p","vm":1,"epoch":0,"wait_ms":0,"seq":1}"#;
    assert_eq!(send(forebay.gate_port, "POST", POLL_PATH, &[], poll).status, 401);
    let right = [("x-forebay-token", TOKEN)];
    assert_eq!(lookup(&forebay, "default", "", &right, &body).status, 404);
    assert_eq!(lookup(&forebay, "other", "", &right, &body).status, 401, "another service's");
    let broken = [
        ("x-forebay-token", TOKEN),
        ("x-forebay-service", "default"),
        ("x-forebay-model", "m"),
        ("x-forebay-digest", "xyz"),
    ];
    let answer = send(forebay.gate_port, "GET", LOOKUP_PATH, &broken, b"");
    assert_eq!((answer.status, answer.error().contains("x-forebay-digest")), (400, true));
    let table = crate::proxied::table(&send(forebay.gate_port, "POST", POLL_PATH, &right, poll));
    let models: Vec<_> = table.models.iter().filter(|live| live.model == "add_fp32").collect();
    assert_eq!(models.iter().map(|live| live.version.as_str()).collect::<Vec<_>>(), ["", "1"]);
    assert!(models.iter().all(|live| live.service == "default" && live.generations.len() == 1));
}

#[test]
fn the_gate_is_not_on_the_public_port() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    for (method, path) in [("GET", LOOKUP_PATH), ("POST", POLL_PATH)] {
        assert_eq!(send(forebay.http_port, method, path, &[], b"{}").status, 404, "{path}");
        assert_ne!(send(forebay.gate_port, method, path, &[], b"{}").status, 404, "{path}");
    }
}
