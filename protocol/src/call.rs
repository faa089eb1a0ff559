//! gRPC calls of V2, as far as who routes and caches them must read them: a call's body in, or its beginning; the model that it names
//! out, and [`message`]s.

pub mod message;

use crate::messages::{Choice, ModelInferRequest};
use message::HEAD_BYTES;
use prost::bytes::Buf as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use std::time::Duration;

/// The path of the call that asks for an inference.
pub const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
/// A call's `content-type`, but for what may follow behind a `+`.
pub const CONTENT_TYPE: &str = "application/grpc";
/// How long a call wants to wait for its answer.
pub const TIMEOUT: &str = "grpc-timeout";
/// How a call's messages are compressed; `identity` without it.
pub const ENCODING: &str = "grpc-encoding";
/// Says whether a stream's last answers may be empty.
const EMPTY_FINAL: &str = "triton_enable_empty_final_response";
/// The service of V2's calls, as paths begin.
const SERVICE: &str = "/inference.GRPCInferenceService/";
/// Its calls whose messages name a model, each in its first field.
const ABOUT_A_MODEL: [&str; 6] =
    ["ModelInfer", "ModelStreamInfer", "ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"];
/// What the beginning of a call's body says of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// Its name.
    Model(&'a str),
    /// There is none, or it can't be read: the message is compressed, or is none.
    Nobody,
    /// More has to come first.
    NotYet,
}

/// Whether that `content-type` is a call's. gRPC-Web's, which begin alike, are not.
pub fn is_content_type(value: &[u8]) -> bool {
    let rest = value.strip_prefix(CONTENT_TYPE.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'+'))
}

/// Whether messages of a call to that path name a model.
pub fn is_about_a_model(path: &str) -> bool {
    path.strip_prefix(SERVICE).is_some_and(|call| ABOUT_A_MODEL.contains(&call))
}

/// The model that the first message of a body names, of which this much has come.
pub fn model(body: &[u8]) -> Named<'_> {
    let Some((frame, rest)) = body.split_first_chunk::<HEAD_BYTES>() else { return Named::NotYet };
    let [compressed, length @ ..] = *frame;
    if compressed != 0 {
        return Named::Nobody;
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    match rest.get(..length) {
        Some(message) => named(message).unwrap_or(Named::Nobody),
        None => named(rest).unwrap_or(Named::NotYet),
    }
}

/// `None`: it ends before the name does, or is no message.
fn named(mut message: &[u8]) -> Option<Named<'_>> {
    while message.has_remaining() {
        let (tag, kind) = decode_key(&mut message).ok()?;
        if (tag, kind) == (1, WireType::LengthDelimited) {
            let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
            return Some(std::str::from_utf8(message.get(..length)?).map_or(Named::Nobody, Named::Model));
        }
        skip_field(kind, tag, &mut message, DecodeContext::default()).ok()?;
    }
    None
}

/// A value of [`TIMEOUT`]: at most eight digits and a unit (gRPC over HTTP/2). `None`: it is none.
pub fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_hours(amount),
        b'M' => Duration::from_mins(amount),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// Takes the wish for empty last answers off a request: it says how answers travel, not what is asked.
///
/// # Errors
/// Triton's words for one that is no boolean.
pub fn take_wish(request: &mut ModelInferRequest) -> Result<(), String> {
    match request.parameters.remove(EMPTY_FINAL).map(|parameter| parameter.choice) {
        None | Some(Some(Choice::Bool(_))) => Ok(()),
        Some(_) => Err(format!("invalid value type for '{EMPTY_FINAL}' parameter, expected bool_param.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message as _;

    fn framed(message: &[u8]) -> Vec<u8> {
        [&[0], &u32::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
    }

    #[test]
    fn calls_about_a_model_are_known_by_their_path() {
        assert!(is_about_a_model("/inference.GRPCInferenceService/ModelInfer"));
        for path in
            ["/inference.GRPCInferenceService/ServerLive", "/grpc.health.v1.Health/Check", "/ModelInfer", ""]
        {
            assert!(!is_about_a_model(path), "{path}");
        }
    }

    #[test]
    fn a_call_is_known_by_its_content_type() {
        assert!(
            ["application/grpc", "application/grpc+proto"].iter().all(|it| is_content_type(it.as_bytes()))
        );
        for other in ["", "application/grpc-web", "application/grpc-web+proto", "application/json"] {
            assert!(!is_content_type(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn what_has_no_name_or_cannot_be_read_names_nobody() {
        let compressed = [&[1], &framed(b"\x0a\x01m")[1..]].concat();
        for body in [
            framed(b""),
            framed(b"\x0a\x05m"),
            framed(b"\x0a\x01\xff"),
            framed(b"\x07"),
            framed(b"\x08\x01"),
            compressed,
        ] {
            assert_eq!(model(&body), Named::Nobody, "{body:?}");
        }
    }

    proptest! {
        /// However much has come, it is the name or not known yet; with the name's last byte it is known.
        #[test]
        fn a_name_is_known_as_soon_as_it_is_there(name in "\\PC{1,40}", version in "[0-9]{0,3}", at in any::<prop::sample::Index>()) {
            let request = ModelInferRequest { model_name: name.clone(), model_version: version, ..Default::default() };
            let body = framed(&request.encode_to_vec());
            let there = HEAD_BYTES + 1 + prost::length_delimiter_len(name.len()) + name.len();
            let cut = at.index(body.len() + 1);
            prop_assert_eq!(model(&body[..cut]), if cut < there { Named::NotYet } else { Named::Model(&name) });
        }

        #[test]
        fn no_bytes_are_too_strange(body in prop::collection::vec(any::<u8>(), 0..100)) {
            model(&body);
        }
    }
}
