//! What a model computes arrives, in every datatype and encoding, over both versions of HTTP.

use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use crate::client::{fp32, send};
use crate::process::Forebay;

fn strings(elements: &[&str]) -> Vec<u8> {
    let element =
        |text: &&str| [&u32::try_from(text.len()).unwrap().to_le_bytes()[..], text.as_bytes()].concat();
    elements.iter().flat_map(element).collect()
}

#[test]
fn every_datatype_comes_back_as_it_went() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let sizes = [
        ("BOOL", 1),
        ("UINT8", 1),
        ("UINT16", 2),
        ("UINT32", 4),
        ("UINT64", 8),
        ("INT8", 1),
        ("INT16", 2),
        ("INT32", 4),
        ("INT64", 8),
        ("FP16", 2),
        ("BF16", 2),
        ("FP32", 4),
        ("FP64", 8),
    ];
    let mut requests: Vec<(&str, Vec<u8>)> =
        sizes.iter().map(|(name, size)| (*name, (0..6 * size).map(|byte| byte % 2).collect())).collect();
    requests.push(("BYTES", strings(&["", "a", "äöü", "x".repeat(300).as_str(), "5", "6"])));
    for (datatype, data) in requests {
        let model = format!("identity_{}", datatype.to_lowercase());
        let answer = forebay.infer_binary(&model, datatype, &[2, 3], &data);
        assert_eq!(answer.status, 200, "{datatype}: {answer:?}");
        let length: usize = answer.header("inference-header-content-length").parse().unwrap();
        assert_eq!(answer.body[length..], data, "{datatype}");
    }
}

#[test]
fn json_goes_in_and_out_with_its_id() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let body = json!({ "id": "seven", "inputs": [
        { "name": "a", "datatype": "FP32", "shape": [1, 2], "data": [1.5, 2] },
        { "name": "b", "datatype": "FP32", "shape": [1, 2], "data": [[0.25, -2]] },
    ] });
    let answer = forebay.infer("add_fp32", &[], &body);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "max-age=60");
    assert_eq!(answer.header("x-forebay-generation").len(), 64);
    let answer = answer.json();
    assert_eq!(
        (&answer["id"], &answer["model_name"], &answer["model_version"]),
        (&json!("seven"), &json!("add_fp32"), &json!("1"))
    );
    assert_eq!(answer["outputs"][0]["data"], json!([1.75, 0.0]));
}

#[test]
fn no_elements_are_a_tensor_too() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let answer = forebay.infer_binary("identity_fp32", "FP32", &[0, 3], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn only_the_requested_outputs_come_and_in_their_order() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let names = |outputs: &[&str]| {
        let mut body = fp32(&[2.0]);
        body["outputs"] = outputs.iter().map(|name| json!({ "name": name })).collect();
        let answer = forebay.infer("two_outputs", &[], &body).json();
        let outputs = answer["outputs"].as_array().unwrap().clone();
        outputs.iter().map(|output| output["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&["half"]), ["half"]);
    assert_eq!(names(&["half", "double"]), ["half", "double"]);
    assert_eq!(names(&["double", "half"]), ["double", "half"]);
}

#[test]
fn a_classified_output_is_its_largest_values_also_from_the_pool() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let mut body = fp32(&[0.5, 3.0, 1.0]);
    assert_eq!(forebay.infer("identity_fp32", &[], &body).status, 200);
    body["outputs"] = json!([{ "name": "y", "parameters": { "classification": 2 } }]);
    let first = forebay.infer("identity_fp32", &[], &body);
    let again = forebay.infer("identity_fp32", &[], &body);
    assert_eq!((first.is_hit(), again.is_hit()), (false, true), "not the tensor's own answer");
    for answer in [first, again] {
        let output = answer.json()["outputs"][0].clone();
        assert_eq!(output["datatype"], "BYTES");
        assert_eq!((&output["shape"], &output["data"]), (&json!([2]), &json!(["3.000000:1", "1.000000:2"])));
    }
    let mut strings =
        json!({ "inputs": [{ "name": "x", "datatype": "BYTES", "shape": [1, 1], "data": ["a"] }] });
    strings["outputs"] = body["outputs"].clone();
    let refused = forebay.infer("identity_bytes", &[], &strings);
    assert_eq!((refused.status, refused.error().contains("unsupported type 'BYTES'")), (400, true));
}

#[test]
fn metadata_is_what_triton_says() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    assert_eq!(forebay.get("/v2").json()["name"], "forebay");
    for path in [
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/add_fp32/ready",
        "/v2/models/add_fp32/versions/1/ready",
    ] {
        assert_eq!(forebay.get(path).status, 200, "{path}");
    }
    let metadata = forebay.get("/v2/models/identity_bytes").json();
    let tensor = |name: &str| json!([{ "name": name, "datatype": "BYTES", "shape": [-1, -1] }]);
    assert_eq!(
        metadata,
        json!({ "name": "identity_bytes", "versions": ["1"], "platform": "onnxruntime_onnx",
                "inputs": tensor("x"), "outputs": tensor("y") })
    );
}

#[test]
fn metrics_have_tritons_names() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    for _ in 0..3 {
        assert_eq!(forebay.infer("uncached", &[], &fp32(&[1.0])).status, 200);
    }
    forebay.infer("uncached", &[], &json!({ "inputs": [] }));
    for (name, expected) in [
        ("nv_inference_request_success", 3),
        ("nv_inference_count", 3),
        ("nv_inference_exec_count", 3),
        ("nv_inference_pending_request_count", 0),
        ("nv_cache_num_hits_per_model", 0),
    ] {
        assert_eq!(forebay.metric(name, "uncached"), expected, "{name}");
    }
    assert_eq!(send(forebay.metrics_port, "GET", "/v2", &[], b"").status, 404);
}

#[tokio::test]
async fn http2_works_without_an_upgrade() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<bytes::Bytes>>();
    let uri = format!("http://127.0.0.1:{}/v2/models/identity_fp32/infer", forebay.http_port);
    let body = Full::new(bytes::Bytes::from(fp32(&[4.5]).to_string()));
    let answer = client.request(http::Request::post(uri).body(body).unwrap()).await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (http::Version::HTTP_2, 200));
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(std::str::from_utf8(&body).unwrap().contains("4.5"));
}

#[test]
fn large_outputs_arrive_whole_computed_and_kept() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let data: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    for is_hit in [false, true] {
        let answer = forebay.infer_binary("identity_uint32", "UINT32", &[1, 300_000], &data);
        assert_eq!((answer.status, answer.is_hit()), (200, is_hit));
        assert!(answer.body.ends_with(&data), "{} bytes", answer.body.len());
    }
}
