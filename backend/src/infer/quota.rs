//! How often requests may pass by the cache: `no-cache` and `no-store` have computed what is kept already. Whose request enters; whether
//! it may leaves. Next: what may not is refused before anything is computed.

use std::num::NonZeroU32;

use governor::clock::MonotonicClock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::trust::Whose;

/// Tenants that are counted by themselves; more share one count.
const MOST_TENANTS: usize = 16_384;

type Limiter =
    RateLimiter<String, HashMapStateStore<String>, MonotonicClock, NoOpMiddleware<std::time::Instant>>;

/// A tenant has passed by the cache too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "more requests of this tenant say no-cache or no-store than {0} a second, as --bypass-quota lets: others have answers that are kept"
)]
pub(crate) struct OverQuota(NonZeroU32);

/// What each tenant, or everybody together where there are none, has left.
pub(crate) struct BypassQuota {
    a_second: NonZeroU32,
    limiter: Limiter,
}

impl BypassQuota {
    /// So many requests a second, and at once after a while without any.
    pub(crate) fn new(a_second: NonZeroU32) -> Self {
        let limiter =
            RateLimiter::new(Quota::per_second(a_second), HashMapStateStore::default(), MonotonicClock);
        Self { a_second, limiter }
    }

    /// Counts a request of theirs.
    ///
    /// # Errors
    /// It is one too many.
    pub(super) fn take(&self, whose: &Whose) -> Result<(), OverQuota> {
        if self.limiter.len() >= MOST_TENANTS {
            // Who has all that a second gives needs no count.
            self.limiter.retain_recent();
        }
        let tenant = match whose {
            Whose::Tenants(tenant) if self.limiter.len() < MOST_TENANTS => tenant.as_str(),
            // Of those whose tenant isn't proven nothing is kept: they share what is nobody's.
            Whose::Tenants(_) | Whose::Everybodys | Whose::Nobodys(_) => "",
        };
        self.limiter.check_key(&tenant.to_owned()).map_err(|_| OverQuota(self.a_second))
    }
}

#[cfg(test)]
mod tests {
    use forebay_protocol::tenant::Tenant;

    use super::*;

    fn tenant(name: &str) -> Whose {
        Whose::Tenants(Tenant::parse(name).unwrap())
    }

    #[test]
    fn a_tenant_that_has_used_its_quota_takes_nothing_from_another() {
        let quota = BypassQuota::new(NonZeroU32::new(3).unwrap());
        let (a, b) = (tenant("a"), tenant("b"));
        assert!((0..3).all(|_| quota.take(&a).is_ok()));
        assert!(quota.take(&a).unwrap_err().to_string().contains("than 3 a second"));
        assert!((0..3).all(|_| quota.take(&b).is_ok()));
        assert!(quota.take(&Whose::Everybodys).is_ok());
    }

    #[test]
    fn there_is_a_bound_on_tenants_that_are_counted() {
        let quota = BypassQuota::new(NonZeroU32::new(1).unwrap());
        for number in 0..MOST_TENANTS + 100 {
            let _ = quota.take(&tenant(&number.to_string()));
        }
        assert!(quota.limiter.len() <= MOST_TENANTS + 1);
    }
}
