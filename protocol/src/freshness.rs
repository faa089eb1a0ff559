//! May a stored answer be given now? When it was computed, for how long it is fresh and what the request says enter; its age
//! and the rest of its time leave, or the reason why not. One law for filter, gate and `serve`.

use crate::cache_control::{Freshness, RequestDirectives};

/// How far an answer may seem to come from the future, in milliseconds: clocks of machines that are kept in step differ by
/// less. More is a clock that was set, and then nothing is known of the answer's age.
pub const TOLERANCE_MS: u64 = 1000;

/// The times of a stored answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// When it was computed, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// For how long it is fresh from then, in seconds.
    pub max_age_s: u32,
}

/// A stored answer that may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usable {
    /// Whole seconds since it was computed.
    pub age_s: u64,
    /// Seconds for which it stays fresh; more than 0.
    pub ttl_s: u64,
}

/// Why a stored answer may not be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unusable {
    /// It seems to come from the future, so its age is not known.
    Future,
    /// It is not fresh any more.
    Stale,
    /// It is fresh, but the request asks for a younger one, or for one that stays fresh for longer.
    Request,
}

impl Stored {
    /// May it be given to a request that says `directives`?
    ///
    /// # Errors
    /// [`Unusable`] says why not.
    pub fn usable(self, directives: &RequestDirectives, now_ms: u64) -> Result<Usable, Unusable> {
        if self.created_ms > now_ms.saturating_add(TOLERANCE_MS) {
            return Err(Unusable::Future);
        }
        let age_s = now_ms.saturating_sub(self.created_ms) / 1000;
        let ttl_s = u64::from(self.max_age_s).saturating_sub(age_s);
        if ttl_s == 0 {
            return Err(Unusable::Stale);
        }
        let too_old = directives.max_age.is_some_and(|most| age_s > u64::from(most));
        let ends_early = directives.min_fresh.is_some_and(|least| ttl_s < u64::from(least));
        if directives.no_cache || directives.no_store || too_old || ends_early {
            return Err(Unusable::Request);
        }
        Ok(Usable { age_s, ttl_s })
    }
}

/// A stored answer that is not fresh any more, and may be given all the same (RFC 5861; RFC 9111, 4.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Whole seconds since it was computed.
    pub age_s: u64,
    /// Seconds since it was fresh.
    pub stale_s: u64,
    /// The request takes it as it is (`max-stale`).
    pub is_accepted: bool,
    /// It may be given while a new one is made (`stale-while-revalidate`).
    pub while_revalidate: bool,
    /// It may be given where none can be made (`stale-if-error`).
    pub if_error: bool,
}

impl Stale {
    /// Of an answer that was computed then. `None`: it is fresh, or may not be given to a request that says `directives`.
    pub fn of(
        created_ms: u64,
        freshness: Freshness,
        directives: &RequestDirectives,
        now_ms: u64,
    ) -> Option<Self> {
        let stored = Stored { created_ms, max_age_s: freshness.max_age_s };
        if stored.usable(&RequestDirectives::default(), now_ms) != Err(Unusable::Stale) {
            return None;
        }
        let age_s = now_ms.saturating_sub(created_ms) / 1000;
        let stale_s = age_s.saturating_sub(freshness.max_age_s.into());
        let is_accepted = directives.max_stale.is_some_and(|most| stale_s <= most.into());
        // Who says how old or how fresh it is to be wants no stale one, unless he says that too.
        let too_old = directives.max_age.is_some_and(|most| age_s > most.into()) && !is_accepted;
        if directives.no_cache || directives.no_store || directives.min_fresh.is_some() || too_old {
            return None;
        }
        let within = |seconds: u32| stale_s < seconds.into();
        let stale = Self {
            age_s,
            stale_s,
            is_accepted,
            while_revalidate: within(freshness.stale_while_revalidate_s),
            if_error: within(freshness.stale_if_error_s),
        };
        (stale.is_accepted || stale.while_revalidate || stale.if_error).then_some(stale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STORED: Stored = Stored { created_ms: 100_000, max_age_s: 60 };

    fn asked(text: &str, now_ms: u64) -> Result<Usable, Unusable> {
        STORED.usable(&RequestDirectives::parse([text.as_bytes()]), now_ms)
    }

    #[test]
    fn fresh_answers_are_given_with_their_age_and_stale_ones_are_not() {
        assert_eq!(asked("", 100_999), Ok(Usable { age_s: 0, ttl_s: 60 }));
        assert_eq!(asked("", 159_999), Ok(Usable { age_s: 59, ttl_s: 1 }));
        assert_eq!(asked("", 160_000), Err(Unusable::Stale));
    }

    #[test]
    fn an_answer_from_the_future_is_not_fresh_but_clocks_may_differ_a_little() {
        assert_eq!(asked("", 99_000), Ok(Usable { age_s: 0, ttl_s: 60 }));
        assert_eq!(asked("", 98_999), Err(Unusable::Future));
        assert_eq!(asked("", 0), Err(Unusable::Future));
    }

    #[test]
    fn a_request_may_ask_for_more_than_fresh() {
        for text in ["max-age=4", "min-fresh=56", "no-cache", "no-store", "max-age=0", "min-fresh=soon"] {
            assert_eq!(asked(text, 105_000), Err(Unusable::Request), "{text}");
        }
        for text in ["max-age=5", "min-fresh=55", "max-stale", "max-stale=9"] {
            assert!(asked(text, 105_000).is_ok(), "{text}");
        }
    }

    const FRESHNESS: Freshness =
        Freshness { max_age_s: 60, stale_while_revalidate_s: 5, stale_if_error_s: 600 };

    fn stale(text: &str, now_ms: u64) -> Option<(u64, bool, bool, bool)> {
        let directives = RequestDirectives::parse([text.as_bytes()]);
        let stale = Stale::of(100_000, FRESHNESS, &directives, now_ms)?;
        Some((stale.stale_s, stale.is_accepted, stale.while_revalidate, stale.if_error))
    }

    #[test]
    fn a_stale_answer_is_given_for_what_it_says_and_the_request_takes() {
        assert_eq!(stale("", 159_999), None, "it is fresh");
        assert_eq!(stale("", 160_000), Some((0, false, true, true)));
        assert_eq!(stale("", 165_000), Some((5, false, false, true)));
        assert_eq!(stale("", 759_999), Some((599, false, false, true)));
        assert_eq!(stale("", 760_000), None);
        assert_eq!(stale("max-stale", 760_000), Some((600, true, false, false)));
        assert_eq!(stale("max-stale=600", 760_000), Some((600, true, false, false)));
        assert_eq!(stale("max-stale=599", 760_000), None);
        assert_eq!(stale("max-age=60, max-stale=9", 161_000), Some((1, true, true, true)));
        for text in ["no-cache", "no-store", "max-age=60", "max-age=60, max-stale=soon", "min-fresh=0"] {
            assert_eq!(stale(text, 162_000), None, "{text}");
        }
        assert_eq!(stale("", 0), None, "it comes from the future");
    }

    proptest! {
        #[test]
        fn no_answer_is_fresh_and_stale_at_once(created_ms: u64, max_age_s: u32, more_s: u32, now_ms: u64) {
            let freshness = Freshness { max_age_s, stale_while_revalidate_s: more_s, stale_if_error_s: more_s };
            let none = RequestDirectives::default();
            let fresh = Stored { created_ms, max_age_s }.usable(&none, now_ms);
            let stale = Stale::of(created_ms, freshness, &none, now_ms);
            prop_assert!(fresh.is_err() || stale.is_none());
            if let Some(stale) = stale {
                prop_assert_eq!(stale.age_s, stale.stale_s + u64::from(max_age_s));
                prop_assert!(stale.stale_s < u64::from(more_s));
            }
        }

        #[test]
        fn whatever_the_clock_says_age_and_ttl_make_the_lifetime(created_ms: u64, max_age_s: u32, now_ms: u64) {
            let stored = Stored { created_ms, max_age_s };
            if let Ok(usable) = stored.usable(&RequestDirectives::default(), now_ms) {
                prop_assert_eq!(usable.age_s + usable.ttl_s, u64::from(max_age_s));
                prop_assert!(usable.ttl_s > 0 && created_ms <= now_ms.saturating_add(TOLERANCE_MS));
            }
        }
    }
}
