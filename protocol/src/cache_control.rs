//! HTTP's own words for freshness (RFC 9111, RFC 5861): `Cache-Control` values in, directives out, and back.

use std::fmt;

/// What a request says. Directives that are not known are ignored, as the RFC asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// Neither answer from a cache nor store.
    pub no_store: bool,
    /// Don't answer from a cache; storing is fine.
    pub no_cache: bool,
    /// Only an answer at most that old, in seconds.
    pub max_age: Option<u32>,
    /// Nothing but a cached answer.
    pub only_if_cached: bool,
}

impl RequestDirectives {
    /// Reads all values of the request's `Cache-Control`.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut found = Self::default();
        for (name, value) in values.into_iter().flat_map(directives) {
            match name.to_ascii_lowercase().as_str() {
                "no-store" => found.no_store = true,
                "no-cache" => found.no_cache = true,
                "only-if-cached" => found.only_if_cached = true,
                // A value that can't be read asks for the strictest reading.
                "max-age" => {
                    let seconds = value.and_then(seconds).unwrap_or(0);
                    found.max_age = Some(found.max_age.map_or(seconds, |earlier| earlier.min(seconds)));
                }
                _ => {}
            }
        }
        found
    }
}

/// How long an answer may be given, in seconds from when it was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Fresh for that long.
    pub max_age_s: u32,
    /// Then usable for that long while a new one is made.
    pub stale_while_revalidate_s: u32,
    /// And usable for that long when none can be made.
    pub stale_if_error_s: u32,
}

impl fmt::Display for Freshness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "max-age={}", self.max_age_s)?;
        if self.stale_while_revalidate_s > 0 {
            write!(f, ", stale-while-revalidate={}", self.stale_while_revalidate_s)?;
        }
        if self.stale_if_error_s > 0 {
            write!(f, ", stale-if-error={}", self.stale_if_error_s)?;
        }
        Ok(())
    }
}

/// What a response says.
#[derive(Debug)]
pub struct ResponseDirectives;

impl ResponseDirectives {
    /// How long the response may be given from a shared cache; `None` when it may not be stored: no `max-age` (or `s-maxage`),
    /// `no-store`, `no-cache`, `private`, or a value that can't be read. `must-revalidate` takes staleness away. Of a directive
    /// that comes twice, the shorter time counts (RFC 9111, 4.2.1).
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<Freshness> {
        let (mut max_age, mut shared_max_age) = (None, None);
        let (mut stale_while_revalidate, mut stale_if_error) = (None, None);
        let mut must_revalidate = false;
        for (name, value) in values.into_iter().flat_map(directives) {
            let time = match name.to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" | "private" => return None,
                "must-revalidate" | "proxy-revalidate" => {
                    must_revalidate = true;
                    continue;
                }
                "max-age" => &mut max_age,
                "s-maxage" => &mut shared_max_age,
                "stale-while-revalidate" => &mut stale_while_revalidate,
                "stale-if-error" => &mut stale_if_error,
                _ => continue,
            };
            let found = seconds(value?)?;
            *time = Some(time.map_or(found, |earlier: u32| earlier.min(found)));
        }
        let stale = |time: Option<u32>| time.filter(|_| !must_revalidate).unwrap_or(0);
        Some(Freshness {
            max_age_s: shared_max_age.or(max_age).filter(|seconds| *seconds > 0)?,
            stale_while_revalidate_s: stale(stale_while_revalidate),
            stale_if_error_s: stale(stale_if_error),
        })
    }
}

/// The directives of one header value; bytes that are not text make it empty.
fn directives(value: &[u8]) -> impl Iterator<Item = (&str, Option<&str>)> {
    let text = std::str::from_utf8(value).unwrap_or("");
    text.split(',').map(|directive| match directive.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
        None => (directive.trim(), None),
    })
}

/// RFC 9111, 1.2.2: digits only; more than fits is as good as for ever.
fn seconds(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> RequestDirectives {
        RequestDirectives::parse([text.as_bytes()])
    }

    fn response(text: &str) -> Option<Freshness> {
        ResponseDirectives::parse([text.as_bytes()])
    }

    #[test]
    fn requests_say_what_they_want() {
        let all = request("No-Cache, max-age=5 ,only-if-cached,no-store, x=y");
        assert_eq!(
            all,
            RequestDirectives { no_store: true, no_cache: true, max_age: Some(5), only_if_cached: true }
        );
        assert_eq!(request("max-age=soon").max_age, Some(0));
        assert_eq!(request("\u{0}\u{7f}"), RequestDirectives::default());
        assert_eq!(RequestDirectives::parse([&b"\xff"[..]]), RequestDirectives::default());
    }

    #[test]
    fn responses_are_stored_only_when_they_say_for_how_long() {
        assert_eq!(response("max-age=60").unwrap().max_age_s, 60);
        assert_eq!(response("max-age=60, s-maxage=\"5\"").unwrap().max_age_s, 5);
        assert_eq!(response("max-age=99999999999").unwrap().max_age_s, u32::MAX);
        for text in
            ["", "public", "max-age=0", "max-age=-1", "max-age", "max-age=5, private", "no-store, max-age=5"]
        {
            assert_eq!(response(text), None, "{text}");
        }
    }

    #[test]
    fn the_stricter_reading_wins() {
        assert_eq!(response("max-age=60, max-age=5").unwrap().max_age_s, 5);
        let revalidated = response("max-age=5, stale-while-revalidate=9, must-revalidate").unwrap();
        assert_eq!(revalidated, Freshness { max_age_s: 5, stale_while_revalidate_s: 0, stale_if_error_s: 0 });
        assert_eq!(request("max-age=9, max-age=3").max_age, Some(3));
    }

    #[test]
    fn freshness_reads_back() {
        let freshness = Freshness { max_age_s: 60, stale_while_revalidate_s: 5, stale_if_error_s: 600 };
        assert_eq!(response(&freshness.to_string()), Some(freshness));
    }
}
