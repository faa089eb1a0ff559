//! `Cache-Status` (RFC 9211): what became of a request and why, as the one list member that this cache adds. Every reason that the
//! filter has is named here, once, with its text.

use crate::acts::Act;
use crate::host::Headers;
use forebay_protocol::{header, poll};
use std::fmt;

/// Our name in the list.
const CACHE: &str = "forebay";

/// Reasons as an enum, each with the text that stands for it.
macro_rules! reasons {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $reason:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $reason,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$reason),+];

            /// As it is written.
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$reason => $text,)+
                }
            }
        }
    };
}

reasons! {
    /// Where a hit came from.
    Tier {
        /// The same bytes came before, but for an id in front: this worker's map, without parsing.
        Raw = "raw",
        /// The same digest, from this worker's map.
        Vm = "vm",
        /// The same digest, from the slots that the workers share.
        Shared = "shared",
        /// The pool, through the gate.
        L2 = "l2",
    }
}

impl Tier {
    /// As the gate is told of it.
    pub fn as_told(self) -> poll::Tier {
        match self {
            Self::Raw => poll::Tier::Raw,
            Self::Vm => poll::Tier::Vm,
            Self::Shared => poll::Tier::Shared,
            Self::L2 => poll::Tier::L2,
        }
    }
}

reasons! {
    /// Why a request went past the cache altogether.
    Bypass {
        /// The request said `no-store`.
        NoStore = "no-store",
        /// The body is, or grew, larger than `max_body_bytes`.
        BodyTooLarge = "body-too-large",
        /// The body took longer after the headers than it is held for.
        BodyTooSlow = "body-too-slow",
        /// The body is encoded (`Content-Encoding`), so it is not looked into.
        Encoded = "content-encoding",
        /// A header that must come once came more than once.
        AmbiguousHeaders = "ambiguous-headers",
        /// The body is not a request that can be understood without doubt: the upstream says what is wrong.
        Malformed = "malformed",
        /// JSON over `max_json_bytes` with an `id`: exact repeats are not to be expected.
        JsonTooLarge = "json-too-large",
        /// A stateful sequence request.
        Sequence = "sequence",
        /// Inputs or outputs in shared memory.
        SharedMemory = "shared-memory",
        /// The tenant's property is missing or is not text.
        NoTenant = "no-tenant",
        /// What the worker may hold for requests under way is spent.
        OutOfMemory = "out-of-memory",
        /// It would have to be held at its body, and nothing says that a `buffer` filter comes next.
        NotBuffered = "not-buffered",
    }
}

reasons! {
    /// Why a request that was looked up goes upstream, in RFC 9211's words for `fwd`.
    Fwd {
        /// Nothing is kept for it.
        Miss = "miss",
        /// What is kept is no longer fresh.
        Stale = "stale",
        /// The request's own directives forbid a lookup or its result.
        Request = "request",
    }
}

reasons! {
    /// More of the reason, where there is more.
    Detail {
        /// The model that computed the kept answer is not served any more, or nobody can say what is.
        GenerationGone = "generation-gone",
        /// What is kept seems to come from the future: a clock was set, and its age is not known.
        FromTheFuture = "from-the-future",
        /// The request has an `Authorization` (or a `Cookie`, where the settings say so), and what is kept is not for all.
        Authorization = "authorization",
        /// The gate does not let this proxy ask, or not for this tenant.
        GateRefused = "gate-refused",
        /// Gate and filter are of different versions, and don't understand each other.
        UnknownFormat = "unknown-format",
        /// The callout to the gate failed or was too slow.
        GateFailed = "gate-failed",
        /// The gate was not asked: it seldom has answers of this model.
        NotAsked = "not-asked",
        /// It waited for an equal request, which failed or went away: it leads now.
        Promoted = "promoted",
        /// The answer to an equal request does not suit it (another encoding, too old, of a model that is gone, encoded bytes that take
        /// no id).
        Unsuited = "unsuited",
        /// The equal request that it waited for has had its time, or it has waited twice as long itself: it was sent after it.
        WaitedTooLong = "waited-too-long",
        /// The answer to an equal request could not be shared.
        Unshareable = "unshareable",
        /// What the worker may hold for requests under way is spent.
        OutOfMemory = "out-of-memory",
        /// An equal request is on its way, but no more may wait.
        TooManyWaiters = "too-many-waiters",
        /// Not sent at all: the request wants nothing but a kept answer.
        OnlyIfCached = "only-if-cached",
        /// There was an answer to a call, but no route that gives it: the proxy's own settings lack it.
        NoRoute = "no-hit-route",
    }
}

reasons! {
    /// Why an answer was given that is not fresh any more.
    StaleFor {
        /// A new one is made meanwhile.
        Revalidation = "stale-while-revalidate",
        /// The request takes it.
        MaxStale = "max-stale",
        /// No backend is there.
        NoBackend = "no-backend",
        /// The backend answered with an error.
        Error = "stale-if-error",
    }
}

reasons! {
    /// Why an upstream's answer is not kept, as its headers say.
    NotStored {
        /// Its status is not 200.
        Status = "status",
        /// Its `Cache-Control` does not say for how long, or says not to.
        Uncacheable = "uncacheable",
        /// It is encoded (`Content-Encoding`), and its request has an id, which can't be taken out.
        Encoded = "content-encoding",
        /// It varies with more than `Accept-Encoding`.
        Varies = "varies",
        /// It sets a cookie, or its header fields are too many or no text.
        Fields = "fields",
        /// The request has an `Authorization` (or a `Cookie`, where the settings say so), and the answer is not for all.
        Authorized = "authorized",
        /// A header that must come once came more than once.
        AmbiguousHeaders = "ambiguous-headers",
        /// It is larger than an entry may be.
        TooLarge = "answer-too-large",
        /// With a gate an answer must say which generation computed it.
        NoGeneration = "no-generation",
        /// It has no body.
        Empty = "empty",
    }
}

/// Why a request goes upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The reason.
    pub fwd: Fwd,
    /// More of it.
    pub detail: Option<Detail>,
}

impl Forward {
    /// The most that is known of why, as it is written.
    pub fn text(self) -> &'static str {
        self.detail.map_or(self.fwd.text(), Detail::text)
    }
}

impl From<Fwd> for Forward {
    fn from(fwd: Fwd) -> Self {
        Self { fwd, detail: None }
    }
}

impl From<Detail> for Forward {
    fn from(detail: Detail) -> Self {
        Self { fwd: Fwd::Miss, detail: Some(detail) }
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheStatus {
    /// Answered from the cache; fresh for that many seconds more.
    Hit {
        /// Remaining freshness in seconds.
        ttl_s: u64,
        /// Which tier answered.
        tier: Tier,
    },
    /// Answered from the cache, with what is not fresh any more.
    Stale {
        /// Why.
        why: StaleFor,
        /// Since when, in seconds.
        stale_s: u64,
    },
    /// Answered with the upstream's answer to an equal request that was on its way.
    Collapsed,
    /// Sent upstream: nothing usable was there.
    Miss {
        /// Why.
        forward: Forward,
        /// The answer is being stored. Only said where its length is known beforehand.
        stored: bool,
        /// Why it is not.
        not_stored: Option<NotStored>,
    },
    /// Sent upstream unlooked-at.
    Bypass(Bypass),
}

impl CacheStatus {
    /// Said in an answer that has those headers: in one field, behind what the caches before this one said. (Many who read or log a
    /// field look at the first alone.) What is no text is no member, and goes.
    pub fn tell(&self, headers: &Headers) -> Act {
        let said = headers.values(header::CACHE_STATUS).filter_map(|value| std::str::from_utf8(value).ok());
        let own = self.to_string();
        let value = said.filter(|said| !said.is_empty()).chain([own.as_str()]).collect::<Vec<_>>().join(", ");
        Act::SetResponseHeader { name: header::CACHE_STATUS, value }
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit { ttl_s, tier } => write!(f, "{CACHE}; hit; ttl={ttl_s}; detail={}", tier.text()),
            // It was sent upstream, or would have been.
            Self::Stale { why: why @ (StaleFor::NoBackend | StaleFor::Error), .. } => {
                write!(f, "{CACHE}; fwd=stale; detail={}", why.text())
            }
            Self::Stale { why, stale_s } => write!(f, "{CACHE}; hit; ttl=-{stale_s}; detail={}", why.text()),
            Self::Collapsed => write!(f, "{CACHE}; fwd=miss; collapsed"),
            Self::Miss { forward, stored, not_stored } => {
                write!(f, "{CACHE}; fwd={}", forward.fwd.text())?;
                if *stored {
                    f.write_str("; stored")?;
                }
                let detail = forward.detail.map(Detail::text).or(not_stored.map(NotStored::text));
                detail.map_or(Ok(()), |detail| write!(f, "; detail={detail}"))
            }
            Self::Bypass(reason) => write!(f, "{CACHE}; fwd=bypass; detail={}", reason.text()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_rfc_9211_members() {
        let stale = |why| CacheStatus::Stale { why, stale_s: 5 };
        let miss = |forward, stored, not_stored| CacheStatus::Miss { forward, stored, not_stored };
        for (status, text) in [
            (CacheStatus::Hit { ttl_s: 59, tier: Tier::Vm }, "forebay; hit; ttl=59; detail=vm"),
            (CacheStatus::Collapsed, "forebay; fwd=miss; collapsed"),
            (miss(Fwd::Miss.into(), true, None), "forebay; fwd=miss; stored"),
            (miss(Fwd::Stale.into(), false, Some(NotStored::Varies)), "forebay; fwd=stale; detail=varies"),
            (
                miss(Detail::Promoted.into(), false, Some(NotStored::Varies)),
                "forebay; fwd=miss; detail=promoted",
            ),
            (CacheStatus::Bypass(Bypass::Encoded), "forebay; fwd=bypass; detail=content-encoding"),
            (stale(StaleFor::Revalidation), "forebay; hit; ttl=-5; detail=stale-while-revalidate"),
            (stale(StaleFor::Error), "forebay; fwd=stale; detail=stale-if-error"),
        ] {
            assert_eq!(status.to_string(), text);
        }
    }

    #[test]
    fn is_the_last_member_of_one_field() {
        let own = CacheStatus::Collapsed;
        for (before, told) in [
            (&[][..], "forebay; fwd=miss; collapsed"),
            (&[""], "forebay; fwd=miss; collapsed"),
            (&["a; hit"], "a; hit, forebay; fwd=miss; collapsed"),
            (&["a; hit, b; fwd=miss", "c"], "a; hit, b; fwd=miss, c, forebay; fwd=miss; collapsed"),
        ] {
            let lines =
                before.iter().map(|value| (header::CACHE_STATUS.to_owned(), value.as_bytes().to_vec()));
            let others = [("age".to_owned(), b"1".to_vec())];
            let headers: Headers = lines.chain(others).collect();
            let value = told.to_owned();
            assert_eq!(own.tell(&headers), Act::SetResponseHeader { name: header::CACHE_STATUS, value });
        }
        let broken = [(header::CACHE_STATUS, b"\xff")].into_iter().collect();
        assert_eq!(own.tell(&broken), own.tell(&Headers::default()));
    }

    #[test]
    fn the_page_names_every_reason() {
        let page = include_str!("../../README.md");
        let texts = (Tier::ALL.iter().map(|tier| tier.text()))
            .chain(Bypass::ALL.iter().map(|bypass| bypass.text()))
            .chain(Fwd::ALL.iter().map(|fwd| fwd.text()))
            .chain(Detail::ALL.iter().map(|detail| detail.text()))
            .chain(StaleFor::ALL.iter().map(|why| why.text()))
            .chain(NotStored::ALL.iter().map(|not_stored| not_stored.text()));
        for text in texts {
            assert!(page.contains(text), "filter-wasm/README.md does not say what `{text}` means");
        }
    }
}
