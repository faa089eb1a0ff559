//! May a kept answer be given to this request, now? An answer and what the request's headers said enter; for how long it is still
//! fresh leaves, or why it can't be given. The same rules hold for every tier and for those who joined: one check is one line here.

use crate::cache_status::{Detail, Forward, Fwd};
use crate::config::Config;
use crate::l1::Answer;
use crate::live::{Live, Standing};
use crate::wanted::{Incoming, Wanted};
use forebay_protocol::digest::Digest;
use forebay_protocol::freshness::{Stale, Unusable, Usable};

/// What the rules go by.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// The settings.
    pub config: &'a Config,
    /// Live generations.
    pub live: &'a Live,
    /// The name of the service that is asked.
    pub service: &'a str,
    /// The time.
    pub now_ms: u64,
    /// The answer has just come from the upstream, to those who wait for it.
    pub just_came: bool,
}

impl Rules<'_> {
    /// For how long `answer` may be given to this request, and how old it is.
    ///
    /// # Errors
    /// Why it may not: what the request goes upstream for.
    pub fn suits(&self, wanted: &Wanted, answer: &Answer) -> Result<Usable, Forward> {
        self.usable(&wanted.incoming, (wanted.digest(), wanted.id()), answer)
    }

    /// The same for a request that was not parsed, but for its `id`; its digest where it was parsed before.
    ///
    /// # Errors
    /// As [`Self::suits`].
    pub fn usable(
        &self,
        incoming: &Incoming,
        (digest, id): (Option<&Digest>, &str),
        answer: &Answer,
    ) -> Result<Usable, Forward> {
        // Bytes that are kept as they came take no id.
        if answer.verbatim && !id.is_empty() {
            return Err(Detail::Unsuited.into());
        }
        let usable = answer.stored().usable(&incoming.directives, self.now_ms).map_err(|why| match why {
            Unusable::Future => Forward { fwd: Fwd::Stale, detail: Some(Detail::FromTheFuture) },
            Unusable::Stale => Fwd::Stale.into(),
            Unusable::Request => Fwd::Request.into(),
        })?;
        self.may_have(incoming, digest, answer)?;
        Ok(usable)
    }

    /// For what `answer`, which is not fresh any more, may be given all the same.
    pub fn stale(&self, wanted: &Wanted, answer: &Answer) -> Option<Stale> {
        let (incoming, takes_id) = (&wanted.incoming, wanted.id().is_empty() || !answer.verbatim);
        let stale = Stale::of(answer.created_ms, answer.freshness, &incoming.directives, self.now_ms)?;
        (takes_id && self.may_have(incoming, wanted.digest(), answer).is_ok()).then_some(stale)
    }

    /// Whatever its age: is the request one that may have it, and its model one that lives?
    fn may_have(&self, incoming: &Incoming, digest: Option<&Digest>, answer: &Answer) -> Result<(), Forward> {
        if self.live.is_dropped(digest, answer) {
            return Err(Detail::GenerationGone.into());
        }
        if incoming.restricted && !answer.with_authorization {
            return Err(Forward { fwd: Fwd::Request, detail: Some(Detail::Authorization) });
        }
        self.computed_by_a_live_model(incoming, answer)
    }

    fn computed_by_a_live_model(&self, incoming: &Incoming, answer: &Answer) -> Result<(), Forward> {
        if answer.is_said_so {
            // The operator's word is the only one, and may be another one by now.
            let policy = self.config.policies.of(self.service, incoming.path.infer().model);
            let is_still =
                policy.is_some_and(|policy| answer.generation.as_ref() == Some(policy.generation()));
            return if is_still { Ok(()) } else { Err(Detail::GenerationGone.into()) };
        }
        let Some(gate) = &self.config.gate else { return Ok(()) };
        let asked = incoming.asked(self.service);
        match self.live.standing(answer, asked, self.now_ms, gate.stale_ms) {
            Standing::Live => Ok(()),
            // Nobody could have given a newer one: sent one after the other, those who wait would only wait longer.
            Standing::Unknown if self.just_came => Ok(()),
            Standing::Unknown | Standing::Gone => Err(Detail::GenerationGone.into()),
        }
    }
}
