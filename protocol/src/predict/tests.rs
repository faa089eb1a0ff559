//! Predictions in and out, and that their numbers are V2's.

use proptest::prelude::*;

use super::*;
use crate::digest::{Scope, digest};
use crate::messages::{InferOutputTensor, ModelInferResponse};
use crate::path::InferPath;
use crate::wants::Wants;
use crate::{request, response};

const X: Input<'_> = input("x", DataType::Fp32);

const fn input(name: &str, datatype: DataType) -> Input<'_> {
    Input { name, datatype, is_optional: false }
}

fn read(inputs: &[Input<'_>], text: &str) -> Result<ModelInferRequest, PredictError> {
    decode("m", inputs, &Bytes::copy_from_slice(text.as_bytes()), &Limits::default())
}

fn refusal(inputs: &[Input<'_>], text: &str) -> String {
    read(inputs, text).unwrap_err().to_string()
}

fn v2(text: &str) -> ModelInferRequest {
    let path = InferPath { model: "m", version: "" };
    request::decode(&path, None, &Bytes::copy_from_slice(text.as_bytes()), &Limits::default()).unwrap()
}

fn answer(outputs: &[(&str, DataType, &[i64], &[u8])]) -> ModelInferResponse {
    let tensor = |(name, datatype, shape, _): &(&str, DataType, &[i64], &[u8])| InferOutputTensor {
        name: (*name).to_owned(),
        datatype: datatype.as_str().to_owned(),
        shape: shape.to_vec(),
        ..InferOutputTensor::default()
    };
    ModelInferResponse {
        outputs: outputs.iter().map(tensor).collect(),
        raw_output_contents: outputs.iter().map(|(.., raw)| Bytes::copy_from_slice(raw)).collect(),
        ..ModelInferResponse::default()
    }
}

fn written(outputs: &[(&str, DataType, &[i64], &[u8])]) -> String {
    String::from_utf8(encode(&answer(outputs)).unwrap()).unwrap()
}

#[test]
fn rows_and_columns_are_v2s_tensors() {
    let ab = [input("a", DataType::Int8), input("b", DataType::Bytes)];
    let x = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[2,2],"data":[1,2,0.1,NaN]}]}"#;
    let two = r#"{"inputs":[{"name":"a","datatype":"INT8","shape":[2],"data":[1,-2]},
        {"name":"b","datatype":"BYTES","shape":[2,1],"data":["ä","\n"]}]}"#;
    let scalar = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[],"data":[7]}]}"#;
    for (inputs, text, expected) in [
        (&[X][..], r#"{"instances":[[1,2],[0.1,NaN]]}"#, x),
        (&[X], r#"{"signature":{"a":[1]},"instances":[{"x":[1,2]},{"x":[0.1,NaN]}],"inputs":null}"#, x),
        (&[X], r#"{"inputs":[[1,2],[0.1,NaN]]}"#, x),
        (&[X], r#"{"inputs":{"x":[[1,2],[0.1,NaN]]}}"#, x),
        (&[X], r#"{"inputs":{"x":7}}"#, scalar),
        (&ab, r#"{"instances":[{"a":1,"b":["ä"]},{"b":["\n"],"a":-2}]}"#, two),
        (&ab, r#"{"inputs":{"a":[1,-2],"b":[["ä"],["\n"]]}}"#, two),
    ] {
        assert_eq!(read(inputs, text).unwrap(), v2(expected), "{text}");
    }
    assert_eq!(read(&[X], r#"{"instances":[]}"#).unwrap().inputs, []);
}

#[test]
fn what_cannot_be_said_is_named() {
    let ab = [X, input("b", DataType::Uint8)];
    let deep = format!("{{\"instances\":[{}1{}]}}", "[".repeat(32), "]".repeat(32));
    let half = [input("h", DataType::Fp16)];
    for (inputs, text, expected) in [
        (&[X][..], "{}", "either 'instances'"),
        (&[X], r#"{"instances":[[1]],"inputs":[[1]]}"#, "either 'instances'"),
        (&[X], "[1]", "the prediction must be an object"),
        (&[X], r#"{"instances":{"x":1}}"#, "'instances' must be an array"),
        (&ab, r#"{"instances":[[1]]}"#, "name each: x, b"),
        (&ab, r#"{"instances":[{"x":1,"b":1},{"x":1}]}"#, "instance 1 has other inputs"),
        (&ab, r#"{"instances":[{"x":1},{"x":1,"b":1}]}"#, "instance 1 has other inputs"),
        (&[X], r#"{"inputs":{"y":1}}"#, "unexpected inference input 'y': the model has x"),
        (&[X], r#"{"instances":[[1],[1,2]]}"#, "input 'x': an array has 2 members, what came before it 1"),
        (
            &[X],
            r#"{"instances":[[{"b64":"AA=="}]]}"#,
            r#"is not a number: a FP32 is expected, not {"b64":"AA=="}"#,
        ),
        (&[X], r#"{"instances":[{"x":1,"x":2}]}"#, "has the key 'x' twice"),
        (&[X], r#"{"instances":[[1e99]]}"#, "is out of range"),
        (&half, r#"{"instances":[[1]]}"#, "FP16 data via JSON is not supported"),
        (&[X], r#"{"instances":[[1]]"#, "EOF"),
        (&[X], deep.as_str(), "dimensions of a shape"),
    ] {
        let error = refusal(inputs, text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn bytes_that_are_no_text_come_in_base64() {
    let x = [input("x", DataType::Bytes)];
    let bytes = |shape: &[i64], raw: &'static [u8]| (shape.to_vec(), Bytes::from_static(raw));
    for (text, expected) in [
        (r#"{"instances":[{"b64":"/wA="},"a"]}"#, bytes(&[2], b"\x02\0\0\0\xff\0\x01\0\0\0a")),
        (r#"{"instances":[["a",{"b64":""}]]}"#, bytes(&[1, 2], b"\x01\0\0\0a\0\0\0\0")),
        (r#"{"instances":[{"x":{"b64":"YQ=="}}]}"#, bytes(&[1], b"\x01\0\0\0a")),
        (r#"{"inputs":[{"b64":"YQ=="}]}"#, bytes(&[1], b"\x01\0\0\0a")),
        (r#"{"inputs":{"x":[{"b64":"YQ=="}]}}"#, bytes(&[1], b"\x01\0\0\0a")),
        (r#"{"inputs":{"b64":"YQ=="}}"#, bytes(&[], b"\x01\0\0\0a")),
    ] {
        let read = read(&x, text).unwrap();
        assert_eq!((read.inputs[0].shape.clone(), read.raw_input_contents[0].clone()), expected, "{text}");
    }
    // An input may have that name.
    let named = read(&[input("b64", DataType::Bytes)], r#"{"instances":[{"b64":"YQ=="}]}"#).unwrap();
    assert_eq!(named.raw_input_contents, [&b"\x04\0\0\0YQ=="[..]]);
    for (text, expected) in [
        (r#"{"instances":[{"b64":"?"}]}"#, r#"value 0 is not base64: a BYTES is expected, not {"b64":"?"}"#),
        (r#"{"instances":[[{"b64":1}]]}"#, "not one of 'b64' and a string alone"),
        (r#"{"instances":[[{"b64":"YQ==","x":1}]]}"#, "not one of 'b64' and a string alone"),
        (r#"{"instances":[[{}]]}"#, "not one of 'b64' and a string alone"),
        (r#"{"instances":[[1]]}"#, "is not a string"),
    ] {
        assert!(refusal(&x, text).contains(expected), "{text}: {}", refusal(&x, text));
    }
}

#[test]
fn a_value_without_a_name_is_for_the_one_input_that_is_needed() {
    let optional = Input { is_optional: true, ..input("o", DataType::Int8) };
    let alone = read(&[X, optional], r#"{"instances":[[1,2]]}"#).unwrap();
    assert_eq!((alone.inputs.len(), alone.inputs[0].name.as_str()), (1, "x"));
    let both = read(&[X, optional], r#"{"instances":[{"x":1,"o":2}]}"#).unwrap();
    assert_eq!(both.inputs.len(), 2);
    assert!(refusal(&[optional, optional], r#"{"instances":[1]}"#).contains("name each"));
}

#[test]
fn predictions_are_a_value_or_an_object_a_row() {
    use DataType::{Bool, Bytes, Fp32, Int8};
    let strings = b"\x01\0\0\0a\0\0\0\0\x02\0\0\0\"b";
    for (outputs, expected) in [
        (&[("y", Int8, &[2][..], &[1, 255][..])][..], "[1,-1]"),
        (&[("y", Int8, &[2, 1], &[1, 2])], "[[1],[2]]"),
        (&[("y", Int8, &[1, 2, 2], &[1, 2, 3, 4])], "[[[1,2],[3,4]]]"),
        (&[("y", Int8, &[2, 0], &[])], "[[],[]]"),
        (&[("y", Int8, &[0, 3], &[])], "[]"),
        (&[("y", Bytes, &[3], strings)], r#"["a","","\"b"]"#),
        (&[("y", Bytes, &[1, 3], strings)], r#"[["a","","\"b"]]"#),
        (&[("y", Bytes, &[2], b"\x01\0\0\0\xff\x01\0\0\0\0")], r#"[{"b64":"/w=="},"\u0000"]"#),
        (
            &[("y", Bool, &[2], &[1, 0]), ("\n", Int8, &[2, 1], &[5, 6])],
            r#"[{"y":true,"\n":[5]},{"y":false,"\n":[6]}]"#,
        ),
        (&[("y", Fp32, &[1, 2], &[0, 0, 0xc0, 0x7f, 0, 0, 0x80, 0xff])], "[[NaN,-Infinity]]"),
        (&[], "[]"),
    ] {
        assert_eq!(written(outputs), format!("{{\"predictions\":{expected}}}"));
    }
    for (outputs, expected) in [
        (&[("y", Int8, &[][..], &[1][..])][..], "output 'y' is a scalar"),
        (&[("y", Int8, &[1], &[1]), ("z", Int8, &[2], &[1, 2])], "different numbers of rows"),
        (&[("y", DataType::Fp16, &[1], &[0, 0])], "FP16 data via JSON is not supported"),
        (&[("y", Int8, &[2, 2], &[1, 2, 3])], "more values than it has"),
        (&[("y", Bytes, &[4], strings)], "more values than it has"),
    ] {
        let error = encode(&answer(outputs)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// A datatype and the raw form of some values of it: any bits of floats, and often the ends of integers.
fn values() -> impl Strategy<Value = (DataType, Vec<u8>)> {
    macro_rules! integers {
        ($datatype:ident, $type:ty) => {
            prop::collection::vec(prop_oneof![Just(<$type>::MIN), Just(<$type>::MAX), any::<$type>()], 1..20)
                .prop_map(|values| {
                    (
                        DataType::$datatype,
                        values.into_iter().flat_map(<$type>::to_le_bytes).collect::<Vec<u8>>(),
                    )
                })
        };
    }
    let singles = prop::collection::vec(any::<u32>(), 1..20)
        .prop_map(|bits| (DataType::Fp32, bits.into_iter().flat_map(u32::to_le_bytes).collect::<Vec<u8>>()));
    let doubles = prop::collection::vec(any::<u64>(), 1..20)
        .prop_map(|bits| (DataType::Fp64, bits.into_iter().flat_map(u64::to_le_bytes).collect::<Vec<u8>>()));
    prop_oneof![
        4 => singles,
        4 => doubles,
        1 => integers!(Int8, i8),
        1 => integers!(Int16, i16),
        1 => integers!(Int32, i32),
        1 => integers!(Int64, i64),
        1 => integers!(Uint8, u8),
        1 => integers!(Uint16, u16),
        1 => integers!(Uint32, u32),
        1 => integers!(Uint64, u64),
    ]
}

/// The raw form with the only NaN that JSON has.
fn canonical(datatype: DataType, raw: &[u8]) -> Vec<u8> {
    let single = |bits: &[u8; 4]| {
        let value = f32::from_le_bytes(*bits);
        (if value.is_nan() { f32::from_bits(0x7fc0_0000) } else { value }).to_le_bytes()
    };
    let double = |bits: &[u8; 8]| {
        let value = f64::from_le_bytes(*bits);
        (if value.is_nan() { f64::from_bits(0x7ff8_0000_0000_0000) } else { value }).to_le_bytes()
    };
    match datatype {
        DataType::Fp32 => raw.as_chunks().0.iter().flat_map(single).collect(),
        DataType::Fp64 => raw.as_chunks().0.iter().flat_map(double).collect(),
        _ => raw.to_vec(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn numbers_go_in_and_out_without_a_change_as_in_v2((datatype, raw) in values()) {
        let count = raw.len() / datatype.size().unwrap();
        let shape = [i64::try_from(count).unwrap()];
        let response = answer(&[("y", datatype, &shape, &raw)]);
        let out = written(&[("y", datatype, &shape, &raw)]);
        let texts = out.strip_prefix("{\"predictions\":").and_then(|rest| rest.strip_suffix('}')).unwrap();
        // What V1 writes is what V2 writes.
        let wants = Wants::of(&ModelInferRequest::default());
        let in_v2 = String::from_utf8(response::encode(&response, &wants, "").unwrap().body).unwrap();
        prop_assert!(in_v2.contains(&format!("\"data\":{texts}}}")), "{in_v2} {texts}");
        // What was written is read back, in every form, as V2 reads it.
        let input = input("x", datatype);
        let columns = read(&[input], &format!("{{\"inputs\":{texts}}}")).unwrap();
        let rows = read(&[input], &format!("{{\"instances\":{texts}}}")).unwrap();
        let same = v2(&format!("{{\"inputs\":[{{\"name\":\"x\",\"datatype\":\"{datatype}\",\"shape\":[{count}],\"data\":{texts}}}]}}"));
        let expected = canonical(datatype, &raw);
        prop_assert_eq!(&columns.raw_input_contents[0][..], &expected[..]);
        prop_assert_eq!(&columns, &rows);
        prop_assert_eq!(&columns, &same);
        let scope = Scope { service: "s", tenant: None };
        prop_assert_eq!(digest(&scope, &columns).unwrap(), digest(&scope, &same).unwrap());
    }

    #[test]
    fn long_decimals_are_read_as_v2_reads_them(texts in prop::collection::vec("-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?", 1..9), double in any::<bool>()) {
        let (datatype, count) = (if double { DataType::Fp64 } else { DataType::Fp32 }, texts.len());
        let list = texts.join(",");
        let one = read(&[input("x", datatype)], &format!("{{\"instances\":[{list}]}}"));
        let text = format!("{{\"inputs\":[{{\"name\":\"x\",\"datatype\":\"{datatype}\",\"shape\":[{count}],\"data\":[{list}]}}]}}");
        let path = InferPath { model: "m", version: "" };
        let two = request::decode(&path, None, &Bytes::from(text), &Limits::default());
        match (one, two) {
            (Ok(one), Ok(two)) => prop_assert_eq!(one, two),
            (one, two) => prop_assert!(one.is_err() && two.is_err()),
        }
    }
}
