//! HTTP's own words for freshness (RFC 9111, RFC 5861): `Cache-Control` values in, directives out, and back.

use crate::field_value::{delta_seconds, directive, members};
use std::fmt;

/// The directive of [`RequestDirectives::ttl`].
const TTL: &[u8] = b"forebay-ttl";

/// What a request says. Directives that are not known are ignored, as the RFC asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// Neither answer from a cache nor store.
    pub no_store: bool,
    /// Don't answer from a cache; storing is fine.
    pub no_cache: bool,
    /// Only an answer at most that old, in seconds.
    pub max_age: Option<u32>,
    /// Only an answer that stays fresh for at least that long, in seconds.
    pub min_fresh: Option<u32>,
    /// An answer that is not fresh any more will do too, for at most that many seconds.
    pub max_stale: Option<u32>,
    /// Nothing but a cached answer.
    pub only_if_cached: bool,
    /// If its answer is computed for it, that one is kept for no longer than that, in seconds: an extension (RFC 9111, 5.2.3).
    pub ttl: Option<u32>,
}

impl RequestDirectives {
    /// Reads all values of the request's `Cache-Control`. What can't be read asks for the strictest reading: a number that is
    /// none, and a value whose quotes don't end, which is taken for `no-store`.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut found = Self::default();
        for value in values {
            let Ok(members) = members(value) else {
                found.no_store = true;
                continue;
            };
            for (name, value) in members.into_iter().map(directive) {
                match name.to_ascii_lowercase().as_slice() {
                    b"no-store" => found.no_store = true,
                    b"no-cache" => found.no_cache = true,
                    b"only-if-cached" => found.only_if_cached = true,
                    b"max-age" => {
                        let most = value.and_then(delta_seconds).unwrap_or(0);
                        found.max_age = Some(found.max_age.map_or(most, |earlier| earlier.min(most)));
                    }
                    b"min-fresh" => {
                        let least = value.and_then(delta_seconds).unwrap_or(u32::MAX);
                        found.min_fresh = Some(found.min_fresh.map_or(least, |earlier| earlier.max(least)));
                    }
                    TTL => {
                        let most = value.and_then(delta_seconds).unwrap_or(0);
                        found.ttl = Some(found.ttl.map_or(most, |earlier| earlier.min(most)));
                    }
                    // Without a number any will do (RFC 9111, 5.2.1.2).
                    b"max-stale" => {
                        let most = value.map_or(u32::MAX, |value| delta_seconds(value).unwrap_or(0));
                        found.max_stale = Some(found.max_stale.map_or(most, |earlier| earlier.min(most)));
                    }
                    _ => {}
                }
            }
        }
        // What may be kept for no time isn't kept.
        found.no_store |= found.ttl == Some(0);
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

impl Freshness {
    /// The same, fresh for no longer than that.
    #[must_use]
    pub fn within(self, ttl: Option<u32>) -> Self {
        Self { max_age_s: ttl.map_or(self.max_age_s, |ttl| ttl.min(self.max_age_s)), ..self }
    }
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

/// What a response says that may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// For how long.
    pub freshness: Freshness,
    /// It may also be kept for, and given to, requests with `Authorization` (RFC 9111, 3.5): it says `public`, `s-maxage` or
    /// `must-revalidate`.
    pub with_authorization: bool,
}

impl ResponseDirectives {
    /// Reads all values of the response's `Cache-Control`; `None` when it may not be stored in a shared cache: no `max-age` (or
    /// `s-maxage`), `no-store`, `no-cache`, `private`, or a value that can't be read. `must-revalidate` takes staleness away. Of
    /// a directive that comes twice, the shorter time counts (RFC 9111, 4.2.1).
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let (mut max_age, mut shared_max_age) = (None, None);
        let (mut stale_while_revalidate, mut stale_if_error) = (None, None);
        let (mut must_revalidate, mut with_authorization) = (false, false);
        for value in values {
            for (name, value) in members(value).ok()?.into_iter().map(directive) {
                let time = match name.to_ascii_lowercase().as_slice() {
                    b"no-store" | b"no-cache" | b"private" => return None,
                    b"public" => {
                        with_authorization = true;
                        continue;
                    }
                    b"must-revalidate" => {
                        (must_revalidate, with_authorization) = (true, true);
                        continue;
                    }
                    b"proxy-revalidate" => {
                        must_revalidate = true;
                        continue;
                    }
                    b"max-age" => &mut max_age,
                    b"s-maxage" => &mut shared_max_age,
                    b"stale-while-revalidate" => &mut stale_while_revalidate,
                    b"stale-if-error" => &mut stale_if_error,
                    _ => continue,
                };
                let found = delta_seconds(value?)?;
                *time = Some(time.map_or(found, |earlier: u32| earlier.min(found)));
            }
        }
        // RFC 9111, 5.2.2.10: s-maxage means proxy-revalidate too.
        let may_be_stale = !must_revalidate && shared_max_age.is_none();
        let stale = |time: Option<u32>| time.filter(|_| may_be_stale).unwrap_or(0);
        let freshness = Freshness {
            max_age_s: shared_max_age.or(max_age).filter(|seconds| *seconds > 0)?,
            stale_while_revalidate_s: stale(stale_while_revalidate),
            stale_if_error_s: stale(stale_if_error),
        };
        Some(Self { freshness, with_authorization: with_authorization || shared_max_age.is_some() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> RequestDirectives {
        RequestDirectives::parse([text.as_bytes()])
    }

    fn response(text: &str) -> Option<Freshness> {
        ResponseDirectives::parse([text.as_bytes()]).map(|directives| directives.freshness)
    }

    #[test]
    fn requests_say_what_they_want() {
        let all = request(
            "No-Cache, max-age=5 ,only-if-cached,no-store, min-fresh=7, max-stale=9, x=y, Forebay-TTL=11",
        );
        let wanted = RequestDirectives {
            no_store: true,
            no_cache: true,
            max_age: Some(5),
            min_fresh: Some(7),
            max_stale: Some(9),
            only_if_cached: true,
            ttl: Some(11),
        };
        assert_eq!(all, wanted);
        assert_eq!(request("max-age=soon").max_age, Some(0));
        assert_eq!(request("min-fresh").min_fresh, Some(u32::MAX));
        assert_eq!(request("max-stale").max_stale, Some(u32::MAX));
        assert_eq!(request("forebay-ttl=9, forebay-ttl=7").ttl, Some(7));
        assert!(request("forebay-ttl=0").no_store && request("forebay-ttl=soon").no_store);
        assert_eq!(request("max-stale=soon").max_stale, Some(0));
        assert_eq!(request("\u{0}\u{7f}"), RequestDirectives::default());
    }

    #[test]
    fn what_forbids_is_found_beside_bytes_that_are_no_text_and_within_quotes_it_is_not() {
        assert!(RequestDirectives::parse([&b"x=\xff, no-store"[..]]).no_store);
        assert!(RequestDirectives::parse([&b"\xff"[..], b"no-store"]).no_store);
        assert!(!request("x=\"a, no-store\"").no_store);
        assert!(request("x=\"a, max-age=5").no_store, "quotes that don't end");
        assert!(ResponseDirectives::parse([&b"max-age=5, \xff, no-store"[..]]).is_none());
        assert!(response("max-age=5, x=\"private, no-store\"").is_some());
        assert!(response("max-age=5, x=\"").is_none());
    }

    #[test]
    fn responses_are_stored_only_when_they_say_for_how_long() {
        assert_eq!(response("max-age=60").unwrap().max_age_s, 60);
        assert_eq!(response("max-age=60, s-maxage=\"5\"").unwrap().max_age_s, 5);
        assert_eq!(response("max-age=99999999999").unwrap().max_age_s, u32::MAX);
        for text in [
            "",
            "public",
            "max-age=0",
            "max-age=-1",
            "max-age",
            "max-age=5, private",
            "max-age=5, private=\"x\"",
            "no-store, max-age=5",
        ] {
            assert_eq!(response(text), None, "{text}");
        }
    }

    #[test]
    fn only_some_answers_are_shared_among_requests_with_authorization() {
        let shared = |text: &str| ResponseDirectives::parse([text.as_bytes()]).unwrap().with_authorization;
        for text in ["max-age=5, public", "s-maxage=5", "max-age=5, must-revalidate"] {
            assert!(shared(text), "{text}");
        }
        assert!(!shared("max-age=5") && !shared("max-age=5, proxy-revalidate"));
    }

    #[test]
    fn the_stricter_reading_wins() {
        assert_eq!(response("max-age=60, max-age=5").unwrap().max_age_s, 5);
        for text in ["max-age=5, must-revalidate", "s-maxage=5", "max-age=5, proxy-revalidate"] {
            let revalidated =
                response(&format!("{text}, stale-while-revalidate=9, stale-if-error=9")).unwrap();
            let never_stale = Freshness { max_age_s: 5, stale_while_revalidate_s: 0, stale_if_error_s: 0 };
            assert_eq!(revalidated, never_stale, "{text}");
        }
        assert_eq!(request("max-age=9, max-age=3").max_age, Some(3));
        assert_eq!(request("min-fresh=9, min-fresh=3").min_fresh, Some(9));
    }

    #[test]
    fn freshness_reads_back() {
        let freshness = Freshness { max_age_s: 60, stale_while_revalidate_s: 5, stale_if_error_s: 600 };
        assert_eq!(response(&freshness.to_string()), Some(freshness));
    }
}
