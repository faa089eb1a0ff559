//! What an error of Redis' means: for its settings, for a connection, for the server that answers.

use ::redis::{ErrorKind, RedisError, RetryMethod, ServerErrorKind};

/// Codes of answers to who may not do what it asks for.
const FORBIDDEN: [&str; 3] = ["NOAUTH", "WRONGPASS", "NOPERM"];
/// Codes of answers that only a member of a cluster gives.
const CLUSTER: [ServerErrorKind; 4] =
    [ServerErrorKind::Moved, ServerErrorKind::Ask, ServerErrorKind::CrossSlot, ServerErrorKind::ClusterDown];

/// Of a round trip's errors the first that the server gave, by itself.
pub(super) fn first(error: RedisError) -> RedisError {
    let given = error.clone().into_server_errors();
    let first = given.and_then(|given| given.first().map(|(_, error)| error.clone()));
    first.map_or(error, RedisError::from)
}

/// Whether no other answer can come until the settings change, here or there.
pub(super) fn is_setting(error: &RedisError) -> bool {
    let kind = error.kind();
    matches!(kind, ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig)
        || error.code().is_some_and(|code| FORBIDDEN.contains(&code))
        // As the client words what SELECT answered.
        || error.to_string().contains("refused to switch database")
}

/// Whether it is about the user or the password.
pub(super) fn is_proof(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed
        || error.code().is_some_and(|code| code == "NOAUTH" || code == "WRONGPASS")
}

/// Whether the connection is of no use any more.
pub(super) fn is_connection_lost(error: &RedisError) -> bool {
    matches!(error.retry_method(), RetryMethod::Reconnect)
        || error.is_io_error()
        || error.code().is_some_and(|code| code == "NOAUTH")
}

/// Whether it isn't this server that should be asked: one that became a replica takes no writes, and what it answers to reads
/// grows old; one of a cluster has but a part.
pub(super) fn is_other_server_needed(error: &RedisError) -> bool {
    let ErrorKind::Server(kind) = error.kind() else { return is_replica(error) };
    kind == ServerErrorKind::ReadOnly || CLUSTER.contains(&kind) || is_replica(error)
}

/// A script's error has the code of its own and names the command's in its words.
fn is_replica(error: &RedisError) -> bool {
    error.to_string().contains("READONLY") || error.to_string().contains("read only replica")
}
