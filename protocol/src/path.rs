//! Targets of requests, read once and everywhere the same (RFC 3986): a path in; the model and version that an infer path names
//! out. Segments are told apart before anything is decoded, so `%2F` parts nothing, and what is decoded is not decoded again:
//! `%2541` names `%41`. Names alone are decoded. The words of a route are compared as they stand, so that whoever guards routes in
//! front of us by comparing bytes sees the routes that we see.

use std::borrow::Cow;

/// Whom an infer path asks: names, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InferPath<'a> {
    /// The model's name.
    pub model: &'a str,
    /// The version asked for; "" when none is.
    pub version: &'a str,
}

/// Why a path can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A `%` that is none of an escape.
    #[error("the path has a '%' that two hexadecimal digits don't follow; '%' itself is written '%25'")]
    Escape,
    /// Escapes that stand for no text.
    #[error("the path is not UTF-8 when its escapes are decoded")]
    NotText,
}

/// A path that is an infer path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InferTarget<'a> {
    /// The model's name.
    pub model: Cow<'a, str>,
    /// The version asked for; "" when none is.
    pub version: Cow<'a, str>,
    /// Something follows the path: a query.
    pub has_query: bool,
}

impl<'a> InferTarget<'a> {
    /// Reads `/v2/models/M/infer` or `/v2/models/M/versions/V/infer`, with any query. `None` for other paths, and for names that can't
    /// be read, are empty or dot segments.
    pub fn parse(target: &'a str) -> Option<Self> {
        let (path, has_query) = match target.split_once(['?', '#']) {
            Some((path, _)) => (path, true),
            None => (target, false),
        };
        let rest = path.strip_prefix("/v2/models/")?.strip_suffix("/infer")?;
        let (model, version) = match rest.split_once('/') {
            None => (rest, Cow::Borrowed("")),
            Some((model, rest)) => (model, name(rest.strip_prefix("versions/")?)?),
        };
        Some(Self { model: name(model)?, version, has_query })
    }

    /// What it names.
    pub fn names(&self) -> InferPath<'_> {
        InferPath { model: &self.model, version: &self.version }
    }
}

/// The model that a target of V2 or V1 is about, whatever it asks of it. `None` for other targets, and for names that can't be read.
pub fn model(target: &str) -> Option<Cow<'_, str>> {
    let path = target.split_once(['?', '#']).map_or(target, |(path, _)| path);
    if let Some(rest) = path.strip_prefix("/v2/models/") {
        return name(rest.split_once('/').map_or(rest, |(model, _)| model));
    }
    let rest = path.strip_prefix("/v1/models/")?;
    name(rest.strip_suffix(":predict").unwrap_or(rest))
}

/// Whether all segments of a path can be read.
///
/// # Errors
/// [`PathError`]: no two parsers need agree on what it says.
pub fn check(path: &str) -> Result<(), PathError> {
    if path.contains('%') {
        path.split('/').try_for_each(|segment| decoded(segment).map(drop))
    } else {
        Ok(())
    }
}

/// The text that a segment of a path stands for.
///
/// # Errors
/// [`PathError`].
pub fn decoded(segment: &str) -> Result<Cow<'_, str>, PathError> {
    if !segment.contains('%') {
        return Ok(Cow::Borrowed(segment));
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment;
    while let Some((before, after)) = rest.split_once('%') {
        let (byte, after) = escaped(after)?;
        bytes.extend_from_slice(before.as_bytes());
        bytes.push(byte);
        rest = after;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| PathError::NotText)
}

/// A name as a segment of a path (RFC 3986, 2.3); what [`decoded`] reads is the name.
pub fn encoded(name: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |value: u8| HEX.get(usize::from(value & 15)).map_or('0', |digit| char::from(*digit));
    let mut segment = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            segment.extend(['%', digit(byte >> 4), digit(byte)]);
        }
    }
    segment
}

/// The byte whose two digits come first, and what follows them.
fn escaped(after: &str) -> Result<(u8, &str), PathError> {
    let (digits, rest) = after.split_at_checked(2).ok_or(PathError::Escape)?;
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(PathError::Escape);
    }
    u8::from_str_radix(digits, 16).map(|byte| (byte, rest)).map_err(|_| PathError::Escape)
}

/// A segment that is a name. Dot segments are none: whoever comes before us may have resolved them.
fn name(segment: &str) -> Option<Cow<'_, str>> {
    let name = decoded(segment).ok()?;
    (!segment.contains('/') && !["", ".", ".."].contains(&name.as_ref())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(target: &str) -> Option<(String, String)> {
        let target = InferTarget::parse(target)?;
        let InferPath { model, version } = target.names();
        Some((model.to_owned(), version.to_owned()))
    }

    #[test]
    fn a_name_that_is_encoded_is_a_segment_that_is_decoded_to_it() {
        assert_eq!(encoded("a b/ä.1"), "a%20b%2F%C3%A4.1");
        for name in ["a", "a%2Fb", "..", "ä ~_-", "?#:"] {
            assert_eq!(decoded(&encoded(name)).unwrap(), name);
        }
    }

    #[test]
    fn both_routes_name_a_model_decoded_once() {
        for (target, model, version) in [
            ("/v2/models/m/infer", "m", ""),
            ("/v2/models/m.x-1/versions/3/infer", "m.x-1", "3"),
            ("/v2/models/m/infer?x=1", "m", ""),
            ("/v2/models/m/infer?/../%zz", "m", ""),
            ("/v2/models/m/infer#x", "m", ""),
            ("/v2/models/my%20model/infer", "my model", ""),
            ("/v2/models/%6d/infer", "m", ""),
            ("/v2/models/m/versions/%31/infer", "m", "1"),
            ("/v2/models/a%2fb/infer", "a/b", ""),
            ("/v2/models/a%2Finfer/infer", "a/infer", ""),
            ("/v2/models/%2e%2E%2f/infer", "../", ""),
            ("/v2/models/%2541/infer", "%41", ""),
            ("/v2/models/a%3Fb%23c/infer", "a?b#c", ""),
            ("/v2/models/m%C3%A9/infer", "m\u{e9}", ""),
            ("/v2/models/m\u{e9}/infer", "m\u{e9}", ""),
            ("/v2/models/m;a/infer", "m;a", ""),
            ("/v2/models/a:b\\c/infer", "a:b\\c", ""),
            ("/v2/models/infer/infer", "infer", ""),
            ("/v2/models/versions/infer", "versions", ""),
            ("/v2/models/versions/versions/versions/infer", "versions", "versions"),
        ] {
            assert_eq!(names(target), Some((model.to_owned(), version.to_owned())), "{target}");
            let has_query = target.contains(['?', '#']);
            assert_eq!(InferTarget::parse(target).unwrap().has_query, has_query, "{target}");
        }
    }

    #[test]
    fn other_paths_are_not_inference() {
        for target in [
            "",
            "/",
            "*",
            "/v2",
            "v2/models/m/infer",
            "/v2/models/infer",
            "/v2/models//infer",
            "/v2/models/m/infer/",
            "/v2/models/m/Infer",
            "/v2/models/m?/infer",
            "/v2/models/m/versions//infer",
            "/v2/models/m/versions/infer",
            "/v2/models/m/versions/1/2/infer",
            "/v2/models/m/version/1/infer",
            "/v2/models/../infer",
            "/v2/models/./infer",
            "/v2/models/%2e%2e/infer",
            "/v2/models/m/versions/%2E/infer",
            "/v2/models/m%2Finfer",
            "/v2%2Fmodels/m/infer",
            "/v2/models/m/%69nfer",
            "/%76%32/models/m/infer",
            "/v2/models/m/version%73/1/infer",
            "/v2/models/m%/infer",
            "/v2/models/m%4/infer",
            "/v2/models/m%4g/infer",
            "/v2/models/m%+1/infer",
            "/v2/models/%\u{e9}/infer",
            "/v2/models/%ff/infer",
            "/v2/models/%C3/%A9/infer",
            "//v2/models/m/infer",
            "/v2//models/m/infer",
            "/v2/./models/m/infer",
            "http://host/v2/models/m/infer",
            "/v2/models/m/generate",
            "/v2/models/m/versions/../infer",
        ] {
            assert_eq!(InferTarget::parse(target), None, "{target}");
        }
    }

    #[test]
    fn whatever_is_asked_of_a_model_is_about_it() {
        for (target, model) in [
            ("/v2/models/m", "m"),
            ("/v2/models/m/", "m"),
            ("/v2/models/m/ready?x=/y", "m"),
            ("/v2/models/m/versions/1/infer", "m"),
            ("/v2/models/a%2Fb/config", "a/b"),
            ("/v1/models/m", "m"),
            ("/v1/models/m:predict", "m"),
            ("/v1/models/m%3Apredict", "m:predict"),
            ("/v1/models/a:b:predict", "a:b"),
        ] {
            assert_eq!(super::model(target).as_deref(), Some(model), "{target}");
        }
        for target in [
            "/v2",
            "/v2/models",
            "/v2/models/",
            "/v2/models/../infer",
            "/v2/models/%ff",
            "/v1/models/a/b",
            "/v2/health/live",
        ] {
            assert_eq!(super::model(target), None, "{target}");
        }
    }

    #[test]
    fn a_path_can_be_read_whose_escapes_are_escapes_and_stand_for_text() {
        for path in ["/v2/models/m/infer", "/a%2Fb%2fc/%25", "/%2541", "/%C3%A9\u{e9}%20%00", "*", ""] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
        for (path, error) in [
            ("/%", PathError::Escape),
            ("/a%2", PathError::Escape),
            ("/%2/0", PathError::Escape),
            ("/%g0", PathError::Escape),
            ("/%+1", PathError::Escape),
            ("/%ff", PathError::NotText),
            ("/%C3/%A9", PathError::NotText),
            ("/%C0%AF", PathError::NotText),
            ("/%ED%A0%80", PathError::NotText),
        ] {
            assert_eq!(check(path), Err(error), "{path}");
        }
    }
}
