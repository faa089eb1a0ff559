//! Laws of digest and codecs, over requests made up by proptest.

#[path = "shared/case.rs"]
mod case;

use bytes::Bytes;
use case::{Case, Style, case, tensor};
use forebay_protocol::digest::{Digest, Generation, Key, Scope, digest};
use forebay_protocol::entry::{Entry, Secret};
use forebay_protocol::limits::Limits;
use forebay_protocol::messages::{
    Choice, InferOutputTensor, InferParameter, InferRequestedOutputTensor, ModelInferRequest,
    ModelInferResponse,
};
use forebay_protocol::path::InferPath;
use forebay_protocol::tenant::Tenant;
use forebay_protocol::wants::{Form, Wants};
use forebay_protocol::{request, response};
use proptest::prelude::*;

fn digest_of(case: &Case, request: &ModelInferRequest) -> Digest {
    let tenant = case.tenant.as_ref().map(|name| Tenant::parse(name).unwrap());
    digest(&Scope { service: &case.service, tenant: tenant.as_ref() }, request).unwrap()
}

fn read(case: &Case, json: &str, raw: Option<&[u8]>) -> ModelInferRequest {
    let path = InferPath { model: &case.request.model_name, version: &case.request.model_version };
    let body = Bytes::from([json.as_bytes(), raw.unwrap_or_default()].concat());
    let header_length = raw.map(|_| json.len());
    request::decode(&path, header_length, &body, &Limits::default()).unwrap()
}

/// The case, each time with one thing changed that can change the answer.
fn changes(case: &Case) -> Vec<Case> {
    let mut changed = Vec::new();
    let mut change = |edit: &dyn Fn(&mut Case)| {
        let mut other = case.clone();
        edit(&mut other);
        changed.push(other);
    };
    change(&|case| case.service.push('x'));
    change(&|case| case.tenant = Some(case.tenant.take().map_or("x".to_owned(), |name| name + "x")));
    change(&|case| case.tenant = case.tenant.is_none().then(|| "y".to_owned()));
    change(&|case| case.request.model_name.push('x'));
    change(&|case| case.request.model_version.push('x'));
    change(&|case| {
        let tenant = case.tenant.take().unwrap_or_default();
        case.tenant = Some(std::mem::replace(&mut case.service, tenant));
    });
    let five = || InferParameter { choice: Some(Choice::Int64(5)) };
    change(&|case| _ = case.request.parameters.insert("new".to_owned(), five()));
    change(&|case| _ = case.request.parameters.insert("binary_data".to_owned(), five()));
    change(&|case| {
        case.request
            .outputs
            .push(InferRequestedOutputTensor { name: "NEW".to_owned(), ..Default::default() });
    });
    for index in 0..case.request.inputs.len() {
        change(&|case| case.request.inputs[index].name.push('X'));
        change(&|case| case.request.inputs[index].datatype.push('X'));
        change(&|case| case.request.inputs[index].shape.push(1));
        change(&|case| case.request.inputs[index].shape.insert(0, 2));
        change(&|case| _ = case.request.inputs[index].parameters.insert("new".to_owned(), five()));
        change(&|case| {
            let mut raw = case.request.raw_input_contents[index].to_vec();
            match raw.last_mut() {
                Some(byte) => *byte ^= 1,
                None => raw.push(0),
            }
            case.request.raw_input_contents[index] = raw.into();
        });
        change(&|case| {
            case.request.inputs.remove(index);
            case.request.raw_input_contents.remove(index);
        });
    }
    for index in 0..case.request.outputs.len() {
        change(&|case| case.request.outputs[index].name.push('X'));
        change(&|case| {
            _ = case.request.outputs[index].parameters.insert("classification".to_owned(), five());
        });
        change(&|case| _ = case.request.outputs.remove(index));
    }
    changed
}

proptest! {
    #[test]
    fn json_in_any_style_gives_one_request_and_digest(case in case(true), seed: u64) {
        let (json, _) = Style(seed).write(&case.request, true);
        let read = read(&case, &json, None);
        prop_assert_eq!(&read.inputs, &case.request.inputs);
        prop_assert_eq!(&read.raw_input_contents, &case.request.raw_input_contents);
        prop_assert_eq!(digest_of(&case, &read), digest_of(&case, &case.request));
    }

    #[test]
    fn binary_tensors_give_the_digest_of_json(case in case(false), seed: u64) {
        let (json, raw) = Style(seed).write(&case.request, false);
        let read = read(&case, &json, Some(&raw));
        prop_assert_eq!(&read.inputs, &case.request.inputs);
        prop_assert_eq!(&read.raw_input_contents, &case.request.raw_input_contents);
        prop_assert_eq!(digest_of(&case, &read), digest_of(&case, &case.request));
        prop_assert!(request::validate(&read, &Limits::default()).is_ok());
    }

    #[test]
    fn any_one_change_gives_another_digest(case in case(false)) {
        let mut digests: Vec<Digest> = changes(&case).iter().map(|other| digest_of(other, &other.request)).collect();
        digests.push(digest_of(&case, &case.request));
        let count = digests.len();
        digests.sort();
        digests.dedup();
        prop_assert_eq!(digests.len(), count);
    }

    #[test]
    fn answers_read_back_in_every_form(
        tensors in proptest::collection::vec((tensor(false), any::<bool>()), 0..4),
        id in "\\PC{0,8}",
    ) {
        let mut answer = ModelInferResponse { model_name: "m".to_owned(), ..Default::default() };
        let mut wants = Wants { default: Form::Binary, outputs: Vec::new() };
        for (index, ((datatype, shape, raw), binary)) in tensors.into_iter().enumerate() {
            let name = format!("y{index}");
            let form = if binary || !datatype.has_json_form() { Form::Binary } else { Form::Json };
            wants.outputs.push((name.clone(), form));
            let datatype = datatype.as_str().to_owned();
            answer.outputs.push(InferOutputTensor { name, datatype, shape, ..Default::default() });
            answer.raw_output_contents.push(Bytes::from(raw));
        }
        let plain = response::encode(&answer, &wants, "").unwrap();
        let read = response::decode(plain.header_length, &plain.body.clone().into(), &Limits::default()).unwrap();
        prop_assert_eq!(&read, &answer);
        let named = response::encode(&answer, &wants, &id).unwrap();
        prop_assert_eq!(&response::with_id(&plain.body, plain.header_length, &id), &named);
        prop_assert_eq!(&response::without_id(&named.body, named.header_length).unwrap(), &plain);
    }

    #[test]
    fn entries_open_only_as_they_were_sealed(raw: Vec<u8>, cost_us: u64, flip: prop::sample::Index) {
        let response = ModelInferResponse {
            outputs: vec![InferOutputTensor::default()],
            raw_output_contents: vec![raw.into()],
            ..Default::default()
        };
        let generation = Bytes::from_static(&[1; 32]);
        let entry = Entry { response: Some(response), generation, cost_us, ..Default::default() };
        let (key, secret) = (Key([2; 32]), Secret::from_bytes(&[3; 32]).unwrap());
        let mut sealed = entry.seal(&key, &secret, |_| None);
        prop_assert_eq!(&Entry::open(sealed.clone().into(), &key, &secret, |_, _| None).unwrap(), &entry);
        let flip = flip.index(sealed.len());
        sealed[flip] ^= 0x10;
        prop_assert!(Entry::open(sealed.into(), &key, &secret, |_, _| None).is_err());
    }

    #[test]
    fn hashes_read_back_from_hex(bytes: [u8; 32]) {
        let generation = Generation(bytes);
        prop_assert_eq!(generation.to_string().parse(), Ok(generation));
    }

    #[test]
    fn damaged_requests_are_refused_or_read_but_never_panic(
        case in case(false), seed: u64, at: prop::sample::Index, byte: u8, cut: bool,
    ) {
        let (json, raw) = Style(seed).write(&case.request, false);
        let mut body = [json.as_bytes(), &raw].concat();
        let at = at.index(body.len());
        if cut { body.truncate(at) } else { body[at] = byte }
        let path = InferPath { model: "m", version: "" };
        let _ = request::decode(&path, Some(json.len()), &body.clone().into(), &Limits::default());
        let _ = request::decode(&path, None, &body.clone().into(), &Limits::default());
        let _ = response::without_id(&body, Some(json.len()));
    }
}
