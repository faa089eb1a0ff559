//! Messages of gRPC's calls as bytes: a call's body in, its one message out, and what a cache must know of it without decoding it:
//! whom a request asks, and where ids are. A message's fields may come in any order and more than once, where the last one counts
//! (protobuf's encoding); every serializer writes them by number, so a name and an id are at its beginning.

use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};
use std::ops::Range;

/// What stands before a message: a flag and its length (gRPC over HTTP/2, "Length-Prefixed-Message").
pub const HEAD_BYTES: usize = 5;

/// Fields of a request.
const MODEL: u32 = 1;
const VERSION: u32 = 2;
const REQUEST_ID: u32 = 3;
/// A field of an answer.
const ANSWER_ID: u32 = 3;

/// How the one message of a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Plain,
    /// As the call's `grpc-encoding` says.
    Compressed,
}

/// What a request says at its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The model.
    pub model: String,
    /// The version asked for; "": none.
    pub version: String,
    /// The client's id; "": none.
    pub id: String,
    /// Where the id's field is; empty: nowhere.
    pub id_at: Range<usize>,
}

/// How the message of `body` is encoded, which follows its [`HEAD_BYTES`]. `None`: it is not one message, and nothing else.
pub fn coding(body: &[u8]) -> Option<Coding> {
    let ([flag, length @ ..], message) = body.split_first_chunk::<HEAD_BYTES>()?;
    if u32::try_from(message.len()) != Ok(u32::from_be_bytes(*length)) {
        return None;
    }
    match flag {
        0 => Some(Coding::Plain),
        1 => Some(Coding::Compressed),
        _ => None,
    }
}

/// What stands before a message of that length that is not compressed. `None`: no message can be so long.
pub fn head(length: usize) -> Option<[u8; HEAD_BYTES]> {
    let [a, b, c, d] = u32::try_from(length).ok()?.to_be_bytes();
    Some([0, a, b, c, d])
}

/// What a request says in the fields before its parameters and tensors. `None`: it can't be read, or not its model's name.
pub fn asked(request: &[u8]) -> Option<Asked> {
    let mut asked = Asked::default();
    for field in (Fields { message: request, at: 0 }) {
        let Field { tag, whole, value } = field.ok()?;
        let text = || std::str::from_utf8(request.get(value?)?).ok().map(str::to_owned);
        match tag {
            MODEL => asked.model = text()?,
            VERSION => asked.version = text()?,
            REQUEST_ID => (asked.id, asked.id_at) = (text()?, whole),
            _ => break,
        }
    }
    (!asked.model.is_empty()).then_some(asked)
}

/// Takes every id out of an answer. `None`: it can't be read.
pub fn without_id(mut answer: Vec<u8>) -> Option<Vec<u8>> {
    let mut ids = Vec::new();
    for field in (Fields { message: &answer, at: 0 }) {
        let Field { tag, whole, .. } = field.ok()?;
        if tag == ANSWER_ID {
            ids.push(whole);
        }
    }
    for id in ids.into_iter().rev() {
        answer.drain(id);
    }
    Some(answer)
}

/// The field that says an answer's id, to be put behind an answer that has none; of "" there is none.
pub fn id_field(id: &str) -> Vec<u8> {
    let mut field = Vec::new();
    if !id.is_empty() {
        encode_key(ANSWER_ID, WireType::LengthDelimited, &mut field);
        encode_varint(id.len() as u64, &mut field);
        field.extend_from_slice(id.as_bytes());
    }
    field
}

/// A field of a message.
struct Field {
    tag: u32,
    whole: Range<usize>,
    /// Its bytes, where it has a length.
    value: Option<Range<usize>>,
}

/// What is no field.
struct Unreadable;

/// The fields of a message, in order.
struct Fields<'a> {
    message: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn field(&mut self, left: usize) -> Option<Field> {
        let start = self.at;
        let mut rest = self.message.get(start..)?;
        let (tag, kind) = decode_key(&mut rest).ok()?;
        let value = if kind == WireType::LengthDelimited {
            let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
            let from = start.checked_add(left.checked_sub(rest.len())?)?;
            rest = rest.get(length..)?;
            Some(from..from.checked_add(length)?)
        } else {
            skip_field(kind, tag, &mut rest, DecodeContext::default()).ok()?;
            None
        };
        self.at = start.checked_add(left.checked_sub(rest.len())?)?;
        Some(Field { tag, whole: start..self.at, value })
    }
}

impl Iterator for Fields<'_> {
    type Item = Result<Field, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.message.len().checked_sub(self.at).filter(|left| *left > 0)?;
        Some(self.field(left).ok_or(Unreadable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{InferOutputTensor, ModelInferRequest, ModelInferResponse};
    use proptest::prelude::*;
    use prost::Message as _;

    #[test]
    fn a_body_is_one_message_or_none() {
        assert_eq!(coding(&[0, 0, 0, 0, 0]), Some(Coding::Plain));
        assert_eq!(coding(&[1, 0, 0, 0, 2, 7, 7]), Some(Coding::Compressed));
        for body in [&[][..], &[0, 0, 0, 0], &[0, 0, 0, 0, 1], &[0, 0, 0, 0, 0, 0], &[2, 0, 0, 0, 0]] {
            assert_eq!(coding(body), None, "{body:?}");
        }
        assert_eq!(head(258), Some([0, 0, 0, 1, 2]));
        assert_eq!(head(usize::MAX), None);
    }

    #[test]
    fn a_request_without_a_readable_model_asks_nobody() {
        for request in
            [&b""[..], b"\x0a\x00", b"\x0a\x05m", b"\x0a\x01\xff", b"\x08\x01", b"\x0a\x01m\x12\x09"]
        {
            assert_eq!(asked(request), None, "{request:?}");
        }
    }

    fn answer(id: &str) -> ModelInferResponse {
        let output = InferOutputTensor { name: "y".into(), shape: vec![1], ..InferOutputTensor::default() };
        ModelInferResponse {
            model_name: "m".into(),
            id: id.into(),
            outputs: vec![output],
            raw_output_contents: vec![vec![7; 4].into()],
            ..ModelInferResponse::default()
        }
    }

    proptest! {
        #[test]
        fn what_is_asked_is_at_the_beginning_and_an_id_can_be_taken_out(
            model in "\\PC{1,20}", version in "[0-9]{0,3}", id in "\\PC{0,20}", raw in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let request = ModelInferRequest {
                model_name: model.clone(), model_version: version.clone(), id: id.clone(),
                raw_input_contents: vec![raw.into()], ..Default::default()
            };
            let mut message = request.encode_to_vec();
            let found = asked(&message).unwrap();
            prop_assert_eq!((&found.model, &found.version, &found.id), (&model, &version, &id));
            message.drain(found.id_at);
            let rest = ModelInferRequest { id: String::new(), ..request };
            prop_assert_eq!(ModelInferRequest::decode(&message[..]), Ok(rest));
        }

        /// Ids go out of an answer, however many there are, and one goes in.
        #[test]
        fn ids_of_answers_come_and_go(first in "\\PC{0,9}", second in "\\PC{0,9}") {
            let twice = [answer(&first).encode_to_vec(), id_field(&second)].concat();
            let none = without_id(twice).unwrap();
            prop_assert_eq!(&none, &answer("").encode_to_vec());
            let with = [none, id_field(&second)].concat();
            prop_assert_eq!(ModelInferResponse::decode(&with[..]), Ok(answer(&second)));
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            coding(&bytes);
            asked(&bytes);
            without_id(bytes);
        }
    }
}
