use std::collections::HashSet;

use forebay_protocol::datatype::ALL;
use forebay_protocol::header::INFERENCE_HEADER_CONTENT_LENGTH;
use forebay_protocol::messages::{InferInputTensor, ModelInferRequest};
use forebay_protocol::path::InferPath;
use forebay_protocol::request::decode;

use super::*;
use crate::client::connection::tests::server;
use crate::client::inputs::{Elements, LIMITS};

/// A request with an input of every datatype, of two rows.
fn every_datatype(with_json_form: bool) -> Asked {
    let datatypes = ALL.into_iter().filter(|datatype| datatype.has_json_form() || !with_json_form);
    let (mut request, mut elements) =
        (ModelInferRequest { model_name: "m".into(), ..Default::default() }, vec![]);
    for datatype in datatypes {
        let one = Elements::of(datatype, None, 3).unwrap();
        let mut raw = vec![0; one.size()];
        one.raw(1, &mut raw);
        let length = u32::try_from(raw.len()).unwrap().to_le_bytes();
        let raw = if datatype.size().is_none() { [&length[..], &raw].concat() } else { raw };
        request.inputs.push(InferInputTensor {
            name: format!("the \"{datatype}\""),
            datatype: datatype.as_str().to_owned(),
            shape: vec![2, 1],
            ..InferInputTensor::default()
        });
        request.raw_input_contents.push(raw.repeat(2).into());
        elements.push(one);
    }
    Asked { request, elements }
}

/// What a server reads of it.
fn read_back(request: &Request, encoding: Encoding) -> ModelInferRequest {
    if encoding == Encoding::Grpc {
        assert_eq!(request.message(), request.bytes());
        return ModelInferRequest::decode(&request.bytes()[PREFIX..]).unwrap();
    }
    let text = request.bytes();
    let end = text.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let head = std::str::from_utf8(&text[..end]).unwrap();
    let number = |name: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            .map(|value| value.parse().unwrap())
    };
    assert_eq!(number("content-length"), Some(text.len() - end), "{head}");
    let body = Bytes::copy_from_slice(&text[end..]);
    let mut read = decode(
        &InferPath { model: "m", version: "" },
        number(INFERENCE_HEADER_CONTENT_LENGTH),
        &body,
        &LIMITS,
    )
    .unwrap();
    read.parameters.clear();
    read.inputs.iter_mut().for_each(|input| input.parameters.clear());
    read
}

#[test]
fn every_encoding_carries_the_same_request() {
    for encoding in [Encoding::Json, Encoding::Binary, Encoding::Grpc] {
        let asked = every_datatype(encoding == Encoding::Json);
        let request = Request::infer(&server(encoding), encoding, &asked, false).unwrap();
        assert_eq!(read_back(&request, encoding), asked.request, "{encoding:?}");
    }
}

#[test]
fn varied_requests_differ_and_stay_requests_of_the_same_tensors() {
    for encoding in [Encoding::Json, Encoding::Binary, Encoding::Grpc] {
        let asked = every_datatype(encoding == Encoding::Json);
        let mut request = Request::infer(&server(encoding), encoding, &asked, true).unwrap();
        let mut seen = HashSet::new();
        for number in (0..500).chain([1 << 20, 1 << 40, request.variants() - 1]) {
            request.vary(number);
            let read = read_back(&request, encoding);
            assert_eq!(read.inputs, asked.request.inputs, "{encoding:?}");
            assert!(seen.insert(read.raw_input_contents), "{encoding:?}: {number} is not new");
        }
        let first = request.bytes().to_vec();
        request.vary(3);
        request.vary(request.variants() - 1);
        assert_eq!(request.bytes(), first, "the same number, the same bytes");
    }
}

#[test]
fn ids_differ_and_nothing_else_does() {
    for encoding in [Encoding::Json, Encoding::Binary, Encoding::Grpc] {
        let mut asked = every_datatype(encoding == Encoding::Json);
        asked.request.model_version = "3".into();
        asked.request.id = "0".repeat(12);
        let mut request = Request::infer(&server(encoding), encoding, &asked, false).unwrap();
        for (number, id) in
            [(0, "000000000000"), (36 * 36 + 10, "00000000010a"), ((1 << 47) + 7, "001dvxwqtyx3")]
        {
            request.name(number);
            let mut read = read_back(&request, encoding);
            read.model_version = "3".into();
            asked.request.id = id.into();
            assert_eq!(read, asked.request, "{encoding:?}");
        }
    }
}

#[test]
fn inputs_with_few_values_say_how_many_requests_differ() {
    let one = Elements::of("BOOL".parse().unwrap(), None, 0).unwrap();
    let input =
        InferInputTensor { name: "x".into(), datatype: "BOOL".into(), shape: vec![3], ..Default::default() };
    let request = ModelInferRequest {
        model_name: "m".into(),
        inputs: vec![input],
        raw_input_contents: vec![Bytes::from_static(&[0, 0, 0])],
        ..ModelInferRequest::default()
    };
    let asked = Asked { request, elements: vec![one] };
    let request =
        |is_varied| Request::infer(&server(Encoding::Json), Encoding::Json, &asked, is_varied).unwrap();
    assert_eq!((request(true).variants(), request(false).variants()), (8, 1));
}

#[test]
fn what_json_can_not_carry_is_told() {
    let asked = every_datatype(false);
    let Err(error) = Request::infer(&server(Encoding::Json), Encoding::Json, &asked, true) else {
        panic!("accepted")
    };
    assert!(error.to_string().contains("FP16") && error.to_string().contains("--encoding"), "{error}");
}

#[test]
fn a_name_that_a_header_says_is_host_and_authority() {
    let of = |encoding| {
        let mut server = server(encoding);
        for header in ["x-other: 1", "host: models.example.com"] {
            server.headers.push(header.parse().unwrap());
        }
        Request::infer(&server, encoding, &every_datatype(true), false).unwrap()
    };
    let head = String::from_utf8(of(Encoding::Json).bytes().to_vec()).unwrap();
    let names = head.lines().filter(|line| line.starts_with("host: "));
    assert_eq!(names.collect::<Vec<_>>(), ["host: models.example.com"], "{head}");
    let call = of(Encoding::Grpc).call.unwrap();
    assert_eq!(call.uri().authority().unwrap(), "models.example.com");
    assert!(call.headers().get("host").is_none() && call.headers()["x-other"] == "1", "{call:?}");
}
