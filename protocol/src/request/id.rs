//! The id out of a request whose first member it is, without reading the rest: requests that differ in nothing else are then the same
//! bytes. Clients that send one write it first (Triton's do, for each request another).

use crate::limits::Limits;
use std::ops::Range;

/// Takes the value of `id` out of `body`, whose JSON has `json_bytes`, and leaves `""` in its place, which asks the same without an
/// id. `None`: nothing is taken, for it does not come first, is not plain, or is longer than [`super::decode`] takes.
pub fn take_id(body: &mut Vec<u8>, json_bytes: usize, limits: &Limits) -> Option<String> {
    let place = first_id(body.get(..json_bytes)?)?;
    let id = std::str::from_utf8(body.get(place.clone())?).ok()?.to_owned();
    if id.is_empty() || id.len() > limits.max_id_bytes {
        return None;
    }
    body.drain(place);
    Some(id)
}

/// Where it is, between its quotes. What comes before is looked at in full, so this is the object's own member; its text ends at the
/// next quote where nothing in it is escaped.
fn first_id(json: &[u8]) -> Option<Range<usize>> {
    let mut rest = json;
    for token in [&b"{"[..], b"\"id\"", b":", b"\""] {
        rest = rest.trim_ascii_start().strip_prefix(token)?;
    }
    let start = json.len().checked_sub(rest.len())?;
    let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
    (rest.get(length) == Some(&b'"')).then(|| start..start.saturating_add(length))
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;
    use crate::path::InferPath;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn taken(json: &str) -> (Option<String>, String) {
        let mut body = json.as_bytes().to_vec();
        let id = take_id(&mut body, json.len(), &Limits::default());
        (id, String::from_utf8(body).unwrap())
    }

    #[test]
    fn a_plain_id_in_front_is_taken() {
        for (json, id, left) in [
            (r#"{"id":"7","inputs":[]}"#, "7", r#"{"id":"","inputs":[]}"#),
            ("{ \"id\" :\n\"a b\u{e9}\" }", "a b\u{e9}", "{ \"id\" :\n\"\" }"),
            (" {\"id\":\"x\"", "x", " {\"id\":\"\""),
        ] {
            assert_eq!(taken(json), (Some(id.to_owned()), left.to_owned()));
        }
        let mut binary = br#"{"id":"77"}"#.to_vec();
        binary.extend([0xff, b'"']);
        assert_eq!(take_id(&mut binary, 11, &Limits::default()).as_deref(), Some("77"));
        assert_eq!(binary, b"{\"id\":\"\"}\xff\"");
    }

    #[test]
    fn all_else_is_left_as_it_is() {
        for json in [
            "",
            "{",
            r#"{"id":"7"#,
            r#"{"id":"","inputs":[]}"#,
            r#"{"id":7}"#,
            r#"{"inputs":[],"id":"7"}"#,
            r#"[{"id":"7"}]"#,
            r#"{"id":"a\n"}"#,
            r#"{"id":"\u0061"}"#,
            r#"{"i\u0064":"7"}"#,
            "{\"id\":\"a\u{1}\"}",
            "\u{a0}{\"id\":\"7\"}",
        ] {
            assert_eq!(taken(json), (None, json.to_owned()));
        }
        let mut body = [&b"{\"id\":\"\xff\"}"[..], &[b'x'; 20]].concat();
        assert_eq!(take_id(&mut body, 10, &Limits::default()), None, "no text");
        assert_eq!(take_id(&mut body, 8, &Limits::default()), None, "its end lies behind the JSON");
        assert_eq!(take_id(&mut body, 99, &Limits::default()), None, "JSON longer than the body");
        let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(5000));
        assert_eq!(taken(&long).0, None);
    }

    proptest! {
        /// Whatever is taken of whatever comes, the request is understood as before, but for its id; and so are faults found.
        #[test]
        fn a_request_without_its_id_asks_the_same(
            front in r"[ \n\{]{0,2}",
            name in r#""id"|"i\\u0064"|"inputs"|"ID""#,
            id in r#"[a-z"\\\n{}:,é ]{0,6}"#,
            rest in r#"(,"id":"x")?(,"inputs":\[\{"name":"x","datatype":"INT8","shape":\[1\],"data":\[1\]\}\])?[\}\]]?"#,
        ) {
            let json = format!("{{{front}{name}:\"{id}\"{rest}}}");
            let read = |text: &str| {
                let path = InferPath { model: "m", version: "" };
                decode(&path, None, &Bytes::copy_from_slice(text.as_bytes()), &Limits::default())
            };
            if let (Some(id), left) = taken(&json) {
                match (read(&json), read(&left)) {
                    (Ok(mut whole), Ok(without)) => {
                        prop_assert_eq!(std::mem::take(&mut whole.id), id);
                        prop_assert_eq!(whole, without);
                    }
                    (whole, without) => prop_assert!(whole.is_err() && without.is_err(), "{}", json),
                }
            }
        }
    }
}
