//! Answers: taking the id out and putting another in changes nothing else.

use bytes::Bytes;
use forebay_protocol::contents::canonicalize_answer;
use forebay_protocol::limits::Limits;
use forebay_protocol::messages::ModelInferResponse;
use forebay_protocol::response::{decode, encode, with_id, without_id};
use forebay_protocol::wants::{Form, Wants};
use prost::Message as _;

/// What is read has its id exchanged, and is written so that it can be read.
pub(crate) fn response(data: &[u8]) {
    let Some((selector, body)) = data.split_first_chunk::<2>() else { return };
    let limits = Limits { max_tensor_bytes: 1 << 20, ..Limits::default() };
    let length = usize::from(u16::from_le_bytes(*selector));
    let header_length = (length < 0x8000).then_some(length);
    let without = without_id(body, header_length);
    let Ok(response) = decode(header_length, &Bytes::copy_from_slice(body), &limits) else { return };
    let without = without.expect("what is read has its id taken out");
    let plain =
        decode(without.header_length, &Bytes::from(without.body.clone()), &limits).expect("still readable");
    same(&plain, &ModelInferResponse { id: String::new(), ..response.clone() });
    let named = with_id(&without.body, without.header_length, "q\"");
    let read = decode(named.header_length, &Bytes::from(named.body), &limits).expect("still readable");
    same(&read, &ModelInferResponse { id: "q\"".to_owned(), ..response.clone() });
    for form in [Form::Binary, Form::Json] {
        if let Ok(encoded) = encode(&response, &Wants { default: form, outputs: Vec::new() }, &response.id) {
            let read = decode(encoded.header_length, &Bytes::from(encoded.body), &limits)
                .expect("our own is readable");
            assert_eq!(read.raw_output_contents.len(), response.raw_output_contents.len());
        }
    }
}

/// An upstream's answer that becomes canonical stays as it is, and can be written in binary.
pub(crate) fn of_upstream(data: &[u8]) {
    let limits = Limits { max_tensor_bytes: 1 << 20, ..Limits::default() };
    let Ok(mut response) = ModelInferResponse::decode(data) else { return };
    if canonicalize_answer(&mut response, &limits).is_err() {
        return;
    }
    assert!(response.outputs.iter().all(|output| output.contents.is_none()));
    let mut again = response.clone();
    canonicalize_answer(&mut again, &limits).expect("what is canonical stays so");
    same(&again, &response);
    encode(&response, &Wants { default: Form::Binary, outputs: Vec::new() }, "").expect("it can be written");
}

/// Parameters may hold a NaN, which equals nothing: compared by their text.
fn same(left: &ModelInferResponse, right: &ModelInferResponse) {
    assert_eq!(format!("{left:?}"), format!("{right:?}"));
}
