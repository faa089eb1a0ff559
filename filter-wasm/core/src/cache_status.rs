//! `Cache-Status` (RFC 9211): what became of a request and why, as the one list member that this cache adds.

use std::fmt;

/// Our name in the list.
const CACHE: &str = "forebay";

/// Why a request went past the cache altogether.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bypass {
    /// The request said `no-store`.
    NoStore,
    /// The body is, or grew, larger than `max_body_bytes`.
    BodyTooLarge,
    /// The body is encoded (`Content-Encoding`), so it is not looked into.
    Encoded,
    /// A header that must come once came more than once.
    AmbiguousHeaders,
    /// The body is not a request that can be understood without doubt: the upstream says what is wrong.
    Malformed,
    /// JSON over `max_json_bytes` with an `id`: exact repeats are not to be expected.
    JsonTooLarge,
    /// A stateful sequence request.
    Sequence,
    /// Inputs or outputs in shared memory.
    SharedMemory,
    /// The tenant's property is missing or is not text.
    NoTenant,
}

impl Bypass {
    fn detail(self) -> &'static str {
        match self {
            Self::NoStore => "no-store",
            Self::BodyTooLarge => "body-too-large",
            Self::Encoded => "content-encoding",
            Self::AmbiguousHeaders => "ambiguous-headers",
            Self::Malformed => "malformed",
            Self::JsonTooLarge => "json-too-large",
            Self::Sequence => "sequence",
            Self::SharedMemory => "shared-memory",
            Self::NoTenant => "no-tenant",
        }
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
        tier: &'static str,
    },
    /// Answered with the upstream's answer to an equal request that was on its way.
    Collapsed,
    /// Sent upstream: nothing usable was there.
    Miss {
        /// `miss`, `stale`, or `request` when the request's own directives forbade a lookup or its result.
        fwd: &'static str,
        /// The answer is being stored.
        stored: bool,
        /// More of the reason, where there is more.
        detail: Option<&'static str>,
    },
    /// Sent upstream unlooked-at.
    Bypass(Bypass),
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit { ttl_s, tier } => write!(f, "{CACHE}; hit; ttl={ttl_s}; detail={tier}"),
            Self::Collapsed => write!(f, "{CACHE}; fwd=miss; collapsed"),
            Self::Miss { fwd, stored, detail } => {
                write!(f, "{CACHE}; fwd={fwd}")?;
                if *stored {
                    f.write_str("; stored")?;
                }
                detail.map_or(Ok(()), |detail| write!(f, "; detail={detail}"))
            }
            Self::Bypass(reason) => write!(f, "{CACHE}; fwd=bypass; detail={}", reason.detail()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_rfc_9211_members() {
        for (status, text) in [
            (CacheStatus::Hit { ttl_s: 59, tier: "l1" }, "forebay; hit; ttl=59; detail=l1"),
            (CacheStatus::Collapsed, "forebay; fwd=miss; collapsed"),
            (CacheStatus::Miss { fwd: "miss", stored: true, detail: None }, "forebay; fwd=miss; stored"),
            (
                CacheStatus::Miss { fwd: "stale", stored: false, detail: Some("no-store") },
                "forebay; fwd=stale; detail=no-store",
            ),
            (CacheStatus::Bypass(Bypass::Encoded), "forebay; fwd=bypass; detail=content-encoding"),
        ] {
            assert_eq!(status.to_string(), text);
        }
    }
}
