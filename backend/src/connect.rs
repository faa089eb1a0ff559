//! Connections to other servers of HTTP's: who resolves names, how long connecting may take and how long the other side may be silent
//! enter; what connects leaves.

use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;

/// What connects within `patience`. Whoever says nothing for as long as `silent` is gone, whether it owes an acknowledgement or nothing:
/// while something is to be acknowledged, the kernel doesn't ask whether it is there.
pub(crate) fn connector<R>(resolver: R, patience: Duration, silent: Duration) -> HttpConnector<R> {
    let mut plain = HttpConnector::new_with_resolver(resolver);
    plain.enforce_http(false);
    plain.set_nodelay(true);
    plain.set_connect_timeout(Some(patience));
    plain.set_keepalive(Some(silent / 3));
    plain.set_keepalive_interval(Some(silent / 3));
    plain.set_keepalive_retries(Some(2));
    plain.set_tcp_user_timeout(Some(silent));
    plain
}
