//! What kind of trouble an error is. Each stage says it of its own errors; the edges turn it into a status of HTTP (`http::error`)
//! or a code of gRPC (`grpc::status`), and the statistics into a reason of theirs. This is the only place where they meet.

/// The kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// The request is not as it should be.
    Wrong,
    /// It is larger than it may be.
    TooLarge,
    /// Its content coding is not known.
    Coding,
    /// Who sends it shows no credential.
    Unproven,
    /// Who sends it may not.
    Forbidden,
    /// It names what is not there.
    Unknown,
    /// It asks for what this server doesn't do.
    Unimplemented,
    /// Another request undid it.
    Conflict,
    /// The client was too slow to send it.
    Slow,
    /// The client left before it was there.
    Left,
    /// The answer came too late, or would have.
    Late,
    /// It wants a cached answer only, and there is none.
    Uncached,
    /// It may ask for that, but not so often.
    Often,
    /// Not now: too many came at once, or it is not the time for it.
    Rejected,
    /// No room for its bytes now.
    Full,
    /// What it needs is gone, and comes back.
    Away,
    /// This server failed.
    Failed,
}
