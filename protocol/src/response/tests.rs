//! Answers in every form, and ids in and out.

use super::*;
use crate::messages::ModelInferRequest;

fn answer(tensors: &[(&str, &str, &[i64], &[u8])]) -> ModelInferResponse {
    ModelInferResponse {
        model_name: "m".to_owned(),
        model_version: "1".to_owned(),
        outputs: tensors
            .iter()
            .map(|(name, datatype, shape, _)| InferOutputTensor {
                name: (*name).to_owned(),
                datatype: (*datatype).to_owned(),
                shape: shape.to_vec(),
                ..InferOutputTensor::default()
            })
            .collect(),
        raw_output_contents: tensors.iter().map(|(.., raw)| Bytes::copy_from_slice(raw)).collect(),
        ..ModelInferResponse::default()
    }
}

fn wants(outputs: &[(&str, Form)]) -> Wants {
    Wants {
        default: Form::Json,
        outputs: outputs.iter().map(|(name, form)| ((*name).to_owned(), *form)).collect(),
    }
}

fn text(encoded: &Encoded) -> &str {
    std::str::from_utf8(&encoded.body).unwrap()
}

#[test]
fn json_is_as_triton_writes_it() {
    let raw = [1f32, 0.1, f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(f32::to_le_bytes).concat();
    let encoded = encode(&answer(&[("y", "FP32", &[5], &raw)]), &wants(&[]), "a\"\u{1}").unwrap();
    assert_eq!(
        text(&encoded),
        r#"{"id":"a\"\u0001","model_name":"m","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[5],"data":[1.0,0.1,NaN,Infinity,-Infinity]}]}"#
    );
    assert_eq!((encoded.header_length, encoded.content_type()), (None, "application/json"));
}

#[test]
fn outputs_come_in_the_order_and_form_asked() {
    let response =
        answer(&[("a", "INT8", &[1], &[1]), ("b", "BOOL", &[2], &[0, 1]), ("c", "UINT8", &[1], &[255])]);
    let encoded =
        encode(&response, &wants(&[("c", Form::Binary), ("b", Form::Json), ("a", Form::Binary)]), "")
            .unwrap();
    let head = r#"{"model_name":"m","model_version":"1","outputs":[{"name":"c","datatype":"UINT8","shape":[1],"parameters":{"binary_data_size":1}},{"name":"b","datatype":"BOOL","shape":[2],"data":[false,true]},{"name":"a","datatype":"INT8","shape":[1],"parameters":{"binary_data_size":1}}]}"#;
    assert_eq!(encoded.header_length, Some(head.len()));
    assert_eq!(encoded.body, [head.as_bytes(), &[255, 1]].concat());
    assert_eq!(
        encode(&response, &wants(&[("d", Form::Json)]), "").unwrap_err().to_string(),
        "unexpected inference output 'd' for model 'm'"
    );
}

#[test]
fn what_json_cannot_carry_is_refused() {
    for datatype in ["FP16", "BF16"] {
        let response = answer(&[("y", datatype, &[1], &[0, 0])]);
        let refused = encode(&response, &wants(&[]), "").unwrap_err().to_string();
        assert_eq!(
            refused,
            format!(
                "sending {datatype} data via JSON is not supported. Please use the binary data format for output y"
            )
        );
        assert!(encode(&response, &wants(&[("y", Form::Binary)]), "").is_ok());
    }
    let response = answer(&[("y", "BYTES", &[1], b"\x01\0\0\0\xff")]);
    assert_eq!(encode(&response, &wants(&[]), "").unwrap_err(), ResponseError::NotText("y".to_owned()));
    for (datatype, raw) in [("FP32", &[1u8, 2, 3][..]), ("BYTES", b"\x09\0\0\0a")] {
        let broken = encode(&answer(&[("y", datatype, &[1], raw)]), &wants(&[]), "");
        assert!(matches!(broken, Err(ResponseError::NotCanonical { .. })));
    }
}

#[test]
fn answers_read_back() {
    let tensors: &[(&str, &str, &[i64], &[u8])] = &[
        ("a", "INT64", &[1], &i64::MIN.to_le_bytes()),
        ("b", "UINT64", &[1], &u64::MAX.to_le_bytes()),
        ("c", "BYTES", &[2], b"\x03\0\0\0\"\\\n\0\0\0\0"),
        ("d", "FP64", &[], &5e-324f64.to_le_bytes()),
    ];
    let response = answer(tensors);
    for form in [Form::Json, Form::Binary] {
        let encoded = encode(&response, &Wants { default: form, outputs: Vec::new() }, "").unwrap();
        let read = decode(encoded.header_length, &encoded.body.into(), &Limits::default()).unwrap();
        assert_eq!(read, response, "{form:?}");
    }
}

#[test]
fn an_answer_of_the_kserve_sdk_is_read() {
    let body = r#"{"model_name":"m","model_version":null,"id":"x","parameters":null,"outputs":[{"name":"y","shape":[1],"datatype":"INT32","parameters":null,"data":[1]}]}"#;
    let read = decode(None, &Bytes::from_static(body.as_bytes()), &Limits::default()).unwrap();
    assert_eq!((read.id.as_str(), read.model_version.as_str(), read.outputs.len()), ("x", "", 1));
}

#[test]
fn an_id_goes_in_and_out() {
    let response = answer(&[("a", "INT8", &[1], &[1]), ("b", "BOOL", &[2], &[0, 1])]);
    for wants in [wants(&[]), wants(&[("a", Form::Binary)])] {
        let without = encode(&response, &wants, "").unwrap();
        for id in ["1", "a\"b", "\u{1f600}", "\n"] {
            let with = encode(&response, &wants, id).unwrap();
            assert_eq!(with_id(&without.body, without.header_length, id), with);
            assert_eq!(without_id(&with.body, with.header_length).unwrap(), without, "{id}");
        }
        assert_eq!(with_id(&without.body, without.header_length, ""), without);
        assert_eq!(without_id(&without.body, without.header_length).unwrap(), without);
    }
}

#[test]
fn an_id_is_found_wherever_it_is() {
    for (with, without) in [
        (r#"{ "id" : "x" , "a" : 1 }"#, r#"{ "a" : 1 }"#),
        (r#"{"a":{"id":"in"},"id":"x","b":[]}"#, r#"{"a":{"id":"in"},"b":[]}"#),
        (r#"{"a":1 , "id":"x"}"#, r#"{"a":1}"#),
        (r#"{"id":null}"#, "{}"),
        (r#"{"id":"\"","a":","}"#, r#"{"a":","}"#),
        (r#"{"i\u0064":"x","a":1}"#, r#"{"a":1}"#),
    ] {
        let cut = without_id(with.as_bytes(), None).unwrap();
        let (cut, without) = (text(&cut).replace(' ', ""), without.replace(' ', ""));
        assert_eq!(cut, without, "{with}");
    }
    for broken in ["", "[]", "{", r#"{"a":1,"id":"x","id":"y"}"#, r#"{"a":1}x"#] {
        assert!(without_id(broken.as_bytes(), None).is_err(), "{broken}");
    }
    assert!(without_id(b"{}", Some(3)).is_err());
}

#[test]
fn wants_come_from_the_request() {
    let request: ModelInferRequest = crate::request::decode(
        &crate::path::InferPath { model: "m", version: "" },
        None,
        &Bytes::from_static(br#"{"inputs":[],"parameters":{"binary_data_output":true},"outputs":[{"name":"a"},{"name":"b","parameters":{"binary_data":false}}]}"#),
        &Limits::default(),
    )
    .unwrap();
    let wanted = Wants::of(&request);
    let expected = Wants {
        default: Form::Binary,
        outputs: vec![("a".to_owned(), Form::Binary), ("b".to_owned(), Form::Json)],
    };
    assert_eq!(wanted, expected);
    assert_ne!(wanted.fingerprint(), Wants { outputs: Vec::new(), ..expected }.fingerprint());
}

#[test]
fn error_bodies_are_json() {
    assert_eq!(error_body("a \"b\"\n"), br#"{"error":"a \"b\"\n"}"#);
}
