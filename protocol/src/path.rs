//! The infer routes: a request's path in, model and version out.

/// The model and version that an infer path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InferPath<'a> {
    /// The model's name.
    pub model: &'a str,
    /// The version asked for; "" when none is.
    pub version: &'a str,
}

impl<'a> InferPath<'a> {
    /// Reads `/v2/models/M/infer` or `/v2/models/M/versions/V/infer`.
    ///
    /// Anything that two parsers could read differently is `None`: queries, percent escapes, empty or dot segments, characters
    /// outside of printable ASCII.
    pub fn parse(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix("/v2/models/")?.strip_suffix("/infer")?;
        let (model, version) = match rest.split_once('/') {
            None => (rest, ""),
            Some((model, rest)) => {
                (model, rest.strip_prefix("versions/").filter(|version| is_plain(version))?)
            }
        };
        is_plain(model).then_some(Self { model, version })
    }
}

fn is_plain(segment: &str) -> bool {
    !segment.is_empty()
        && segment != "."
        && segment != ".."
        && segment.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?%#\\;".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_routes() {
        assert_eq!(InferPath::parse("/v2/models/m/infer"), Some(InferPath { model: "m", version: "" }));
        assert_eq!(
            InferPath::parse("/v2/models/m.x-1/versions/3/infer"),
            Some(InferPath { model: "m.x-1", version: "3" })
        );
    }

    #[test]
    fn odd_paths_are_not_inference() {
        for path in [
            "",
            "/",
            "/v2",
            "/v2/models/infer",
            "/v2/models//infer",
            "/v2/models/m/infer/",
            "/v2/models/m/infer?x=1",
            "/v2/models/m/versions//infer",
            "/v2/models/m/versions/1/2/infer",
            "/v2/models/m/version/1/infer",
            "/v2/models/../infer",
            "/v2/models/./infer",
            "/v2/models/a%2fb/infer",
            "/v2/models/a b/infer",
            "/v2/models/m\u{e9}/infer",
            "/v2/models/m;a/infer",
            "//v2/models/m/infer",
            "/v2/models/m/generate",
            "/v2/models/m/versions/../infer",
        ] {
            assert_eq!(InferPath::parse(path), None, "{path}");
        }
    }
}
