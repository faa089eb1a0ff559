//! What requests are accepted as, and how hostile ones are refused.

use super::*;
use crate::messages::{Choice, bool_parameter};

const PATH: InferPath<'static> = InferPath { model: "m", version: "" };

fn json(text: impl AsRef<[u8]>) -> Result<ModelInferRequest, RequestError> {
    decode(&PATH, None, &Bytes::copy_from_slice(text.as_ref()), &Limits::default())
}

fn binary(head: &str, raw: &[u8]) -> Result<ModelInferRequest, RequestError> {
    let body = [head.as_bytes(), raw].concat();
    decode(&PATH, Some(head.len()), &Bytes::from(body), &Limits::default())
}

fn input(datatype: &str, shape: &str, data: &str) -> Result<ModelInferRequest, RequestError> {
    json(format!(r#"{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":{shape},"data":{data}}}]}}"#))
}

fn raw(datatype: &str, shape: &str, data: &str) -> Vec<u8> {
    input(datatype, shape, data).unwrap().raw_input_contents[0].to_vec()
}

fn refusal(result: Result<ModelInferRequest, RequestError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn what_tritonclient_sends_is_accepted() {
    let head = r#"{"id":"7","inputs":[{"name":"a","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}},{"name":"b","shape":[1],"datatype":"INT32","data":[3]}],"outputs":[{"name":"y","parameters":{"classification":3,"binary_data":true}}],"parameters":{"priority":2,"timeout":5,"x":"y"}}"#;
    let request = binary(head, &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    assert_eq!(request.id, "7");
    assert_eq!(request.raw_input_contents, [&[1u8, 2, 3, 4, 5, 6, 7, 8][..], &[3, 0, 0, 0]]);
    assert!(request.inputs[0].parameters.is_empty(), "the size said how the values travelled");
    assert_eq!(bool_parameter(&request.outputs[0].parameters, "binary_data"), Some(true));
    assert_eq!(request.outputs[0].parameters["classification"].choice, Some(Choice::Int64(3)));
    assert_eq!(request.parameters["x"].choice, Some(Choice::String("y".to_owned())));
    validate(&request, &Limits::default()).unwrap();
}

#[test]
fn what_the_kserve_sdk_sends_is_accepted() {
    let request = json(
        r#"{"id":null,"model_name":"m","model_version":null,"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1.5,NaN],"parameters":null}],"outputs":null,"parameters":null}"#,
    )
    .unwrap();
    assert_eq!(request.id, "");
    assert_eq!(request.model_name, "m");
    assert!(request.outputs.is_empty());
}

#[test]
fn raw_values_are_slices_of_the_body() {
    let head =
        r#"{"inputs":[{"name":"a","shape":[4],"datatype":"INT8","parameters":{"binary_data_size":4}}]}"#;
    let body = Bytes::from([head.as_bytes(), &[1, 2, 3, 4]].concat());
    let request = decode(&PATH, Some(head.len()), &body, &Limits::default()).unwrap();
    assert_eq!(request.raw_input_contents[0].as_ptr(), body[head.len()..].as_ptr());
}

#[test]
fn data_may_come_first_and_be_nested() {
    let request =
        json(r#"{"inputs":[{"data":[[1,2],[3,4]],"shape":[2,2],"name":"x","datatype":"UINT8"}]}"#).unwrap();
    assert_eq!(request.raw_input_contents[0], [1u8, 2, 3, 4][..]);
    assert_eq!(raw("UINT8", "[2,2]", "[1,2,3,4]"), [1, 2, 3, 4]);
    assert_eq!(raw("FP32", "[]", "[1]"), 1f32.to_le_bytes());
    assert!(raw("FP32", "[2,0]", "[[],[]]").is_empty());
}

#[test]
fn every_datatype_keeps_its_extremes() {
    assert_eq!(raw("UINT64", "[1]", "[18446744073709551615]"), u64::MAX.to_le_bytes());
    assert_eq!(raw("INT64", "[1]", "[-9223372036854775808]"), i64::MIN.to_le_bytes());
    assert_eq!(raw("INT8", "[2]", "[-128,127]"), [0x80, 0x7f]);
    assert_eq!(raw("UINT16", "[1]", "[65535]"), [0xff, 0xff]);
    assert_eq!(raw("INT16", "[1]", "[-2]"), (-2i16).to_le_bytes());
    assert_eq!(raw("UINT32", "[1]", "[4294967295]"), u32::MAX.to_le_bytes());
    assert_eq!(raw("INT32", "[1]", "[-2147483648]"), i32::MIN.to_le_bytes());
    assert_eq!(raw("BOOL", "[2]", "[true,false]"), [1, 0]);
    assert_eq!(raw("BYTES", "[2]", r#"["a\n\u00e9",""]"#), b"\x04\0\0\0a\n\xc3\xa9\0\0\0\0");
    assert_eq!(
        raw("FP64", "[2]", "[-Infinity,1e308]"),
        [f64::NEG_INFINITY.to_le_bytes(), 1e308f64.to_le_bytes()].concat()
    );
    assert_eq!(
        raw("FP32", "[3]", "[Infinity,0.1,-0.0]"),
        [f32::INFINITY, 0.1, -0.0].map(f32::to_le_bytes).concat()
    );
}

#[test]
fn values_that_a_datatype_lacks_are_refused_with_their_place() {
    for (datatype, value) in [
        ("UINT8", "256"),
        ("UINT8", "-1"),
        ("INT8", "128"),
        ("INT32", "1.0"),
        ("INT32", "1e3"),
        ("INT32", "true"),
        ("INT32", "\"1\""),
        ("UINT64", "18446744073709551616"),
        ("INT64", "NaN"),
        ("FP32", "1e39"),
        ("FP64", "1e999"),
        ("FP32", "true"),
        ("FP32", "null"),
        ("FP32", "\"NaN\""),
        ("BOOL", "1"),
        ("BYTES", "1"),
        ("BYTES", "{}"),
    ] {
        let refusal = refusal(input(datatype, "[1]", &format!("[{value}]")));
        assert!(refusal.starts_with("input 'x': value 0 is "), "{datatype} {value}: {refusal}");
        assert!(
            refusal.ends_with("at line 1 column 64 of the JSON") || refusal.contains("column 6"),
            "{refusal}"
        );
    }
    assert_eq!(
        refusal(input("FP16", "[1]", "[1]")),
        "receiving FP16 data via JSON is not supported. Please use the binary data format for input x"
    );
}

#[test]
fn parameters_that_triton_keeps_for_itself_are_refused() {
    let with = |name: &str| json(format!(r#"{{"parameters":{{"{name}":1}},"inputs":[]}}"#));
    assert_eq!(
        refusal(with("triton_x")),
        "parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified: 'triton_x'"
    );
    let mut request = with("my_triton_x").unwrap();
    validate(&request, &Limits::default()).unwrap();
    request.parameters.insert("triton_".to_owned(), crate::messages::InferParameter::default());
    assert!(validate(&request, &Limits::default()).is_err());
}

#[test]
fn keys_that_come_twice_are_refused_at_every_level() {
    for text in [
        r#"{"inputs":[],"inputs":[]}"#,
        r#"{"inputs":[],"z":1,"z":1}"#,
        r#"{"inputs":[],"id":"a","i\u0064":"b"}"#,
        r#"{"inputs":[],"parameters":{"a":1,"a":1}}"#,
        r#"{"inputs":[{"name":"x","name":"x"}]}"#,
        r#"{"inputs":[{"parameters":{"a":1,"a":1}}]}"#,
        r#"{"inputs":[],"outputs":[{"name":"x","name":"x"}]}"#,
    ] {
        assert!(refusal(json(text)).contains("twice"), "{text}");
    }
}

#[test]
fn shapes_and_sizes_must_agree() {
    for (shape, data, says) in [
        ("[3]", "[1,2]", "stands for 3 values, 2 are given"),
        ("[1]", "[1,2]", "stands for 1 values, 2 are given"),
        ("[-1]", "[1]", "integer from 0 to"),
        ("[1.5]", "[1]", "integer from 0 to"),
        ("[9223372036854775807,9223372036854775807]", "[1]", "the limit of a tensor"),
        ("[4294967296,4294967296]", "[]", "the limit of a tensor"),
        ("1", "[1]", "'shape' must be an array"),
        ("[1]", "1", "'data' must be an array"),
    ] {
        let refusal = refusal(input("FP32", shape, data));
        assert!(refusal.contains(says), "{shape} {data}: {refusal}");
    }
    let head = |size: &str| {
        format!(
            r#"{{"inputs":[{{"name":"x","shape":[2],"datatype":"INT8","parameters":{{"binary_data_size":{size}}}}}]}}"#
        )
    };
    assert!(binary(&head("2"), &[1, 2]).is_ok());
    assert!(refusal(binary(&head("2"), &[1])).contains("only 1 bytes of the body are left"));
    assert!(refusal(binary(&head("2"), &[1, 2, 3])).contains("1 bytes follow"));
    assert!(refusal(binary(&head("1"), &[1])).contains("2 bytes, 1 are given"));
    assert!(refusal(binary(&head("-1"), &[1])).contains("number of bytes"));
    assert!(refusal(binary(&head("\"2\""), &[1, 2])).contains("number of bytes"));
}

#[test]
fn a_tensor_has_one_source_of_values() {
    assert!(
        refusal(json(r#"{"inputs":[{"name":"x","shape":[1],"datatype":"INT8"}]}"#)).contains("has no values")
    );
    let both = r#"{"inputs":[{"name":"x","shape":[1],"datatype":"INT8","data":[1],"parameters":{"binary_data_size":1}}]}"#;
    assert!(refusal(binary(both, &[1])).contains("two sources"));
    let shared = json(r#"{"inputs":[{"name":"x","shape":[1],"datatype":"INT8","parameters":{"shared_memory_region":"r","shared_memory_byte_size":1}}]}"#).unwrap();
    assert!(shared.raw_input_contents[0].is_empty());
    validate(&shared, &Limits::default()).unwrap();
}

#[test]
fn members_of_a_wrong_kind_are_refused() {
    for text in [
        "[]",
        "1",
        "\"\"",
        "null",
        r#"{"id":1,"inputs":[]}"#,
        r#"{"inputs":{}}"#,
        r#"{"inputs":[1]}"#,
        "{}",
        r#"{"inputs":[{}]}"#,
        r#"{"inputs":[],"parameters":[]}"#,
        r#"{"inputs":[],"parameters":{"a":{}}}"#,
        r#"{"inputs":[],"parameters":{"binary_data_output":"true"}}"#,
        r#"{"inputs":[],"outputs":[{"name":1}]}"#,
        r#"{"inputs":[],"outputs":[{"name":"a"},{"name":"a"}]}"#,
        r#"{"inputs":[],"outputs":[{}]}"#,
        r#"{"inputs":[],"outputs":[{"name":"y","parameters":{"binary_data":1}}]}"#,
        r#"{"inputs":[{"name":"x","shape":[],"datatype":"FLOAT","data":[1]}]}"#,
    ] {
        assert!(json(text).is_err(), "{text}");
    }
}

#[test]
fn broken_json_is_refused_with_line_and_column() {
    assert_eq!(refusal(json("{\n  \"inputs\" 1}")), "expected `:` at line 2 column 12 of the JSON");
    for text in [
        "",
        "{",
        "{\"inputs\":[",
        r#"{"inputs":[]} x"#,
        r#"{"inputs":[],}"#,
        r#"{"a":01,"inputs":[]}"#,
        "{'a':1}",
    ] {
        assert!(json(text).is_err(), "{text}");
    }
    assert!(json(b"{\"inputs\":[],\"a\":\"\xff\"}").is_err(), "text must be UTF-8 even where it is skipped");
    assert!(json(b"{\"inputs\":[],\"\xff\":1}").is_err());
}

#[test]
fn depth_and_size_cost_nothing() {
    let deep = "[".repeat(1_000_000);
    for text in [
        deep.clone(),
        format!("{{\"a\":{deep}"),
        format!("{{\"a\":{}", "{\"a\":".repeat(1_000_000)),
        format!(r#"{{"inputs":[{{"name":"x","shape":[1],"datatype":"FP32","data":{deep}"#),
        format!(r#"{{"inputs":[{{"data":{deep}"#),
    ] {
        assert!(matches!(json(&text), Err(RequestError::Limit { .. } | RequestError::Json { .. })));
    }
    let digits = "9".repeat(1_000_000);
    for datatype in ["INT64", "FP64", "FP32"] {
        assert!(input(datatype, "[1]", &format!("[{digits}]")).is_err());
        assert!(input(datatype, "[1]", &format!("[1e{digits}]")).is_err());
    }
    assert_eq!(raw("FP64", "[1]", &format!("[0.{digits}]")), 1f64.to_le_bytes());
}

#[test]
fn a_large_shape_with_few_values_reserves_little() {
    let refusal = refusal(input("FP32", "[67108864]", "[1]"));
    assert!(refusal.contains("stands for 67108864 values, 1 are given"), "{refusal}");
}

#[test]
fn limits_name_the_field_and_the_limit() {
    let limits = Limits { max_id_bytes: 2, max_tensors: 1, max_json_bytes: 200, ..Limits::default() };
    let refused =
        |text: &str| decode(&PATH, None, &Bytes::copy_from_slice(text.as_bytes()), &limits).unwrap_err();
    assert_eq!(refused(r#"{"id":"abc"}"#).to_string(), "bytes of the id: 3 is over the limit of 2");
    assert_eq!(refused(&" ".repeat(201)).to_string(), "bytes of JSON: 201 is over the limit of 200");
    let two = r#"{"outputs":[{"name":"a"},{"name":"b"}]}"#;
    assert_eq!(refused(two).to_string(), "number of outputs: 2 is over the limit of 1");
}

#[test]
fn header_lengths_are_one_plain_number() {
    assert_eq!(header_length([]), Ok(None));
    assert_eq!(header_length([&b"12"[..]]), Ok(Some(12)));
    for wrong in [&b""[..], b"-1", b"+1", b" 1", b"1 ", b"0x1", b"1,2", b"99999999999999999999999", b"\xff"] {
        assert!(header_length([wrong]).is_err(), "{}", wrong.escape_ascii());
    }
    assert!(header_length([&b"1"[..], b"1"]).is_err());
    assert!(refusal(binary("", &[1])).contains("is 0: JSON is expected"));
    let beyond = decode(&PATH, Some(3), &Bytes::from_static(b"{}"), &Limits::default());
    assert_eq!(refusal(beyond), "inference-header-content-length is 3, but the body has only 2 bytes");
}
