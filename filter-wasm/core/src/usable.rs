//! May a kept answer be given to this request, now? An answer and what the request's headers said enter; for how long it is still
//! fresh leaves, or why it can't be given. The same rules hold for every tier and for those who joined: one check is one line here.

use crate::cache_status::{Detail, Forward, Fwd};
use crate::config::Config;
use crate::l1::Answer;
use crate::live::{Asked, Live};
use crate::wanted::Incoming;

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
}

impl Rules<'_> {
    /// How long `answer` may be given to this request, in seconds.
    ///
    /// # Errors
    /// Why it may not: what the request goes upstream for.
    pub fn usable(&self, incoming: &Incoming, answer: &Answer) -> Result<u64, Forward> {
        let ttl_s = answer.ttl_s(self.now_ms).ok_or(Fwd::Stale)?;
        self.young_enough(incoming, answer)?;
        self.computed_by_a_live_model(incoming, answer)?;
        Ok(ttl_s)
    }

    fn young_enough(&self, incoming: &Incoming, answer: &Answer) -> Result<(), Forward> {
        let too_old = |max: u32| answer.age_s(self.now_ms) > u64::from(max);
        if incoming.directives.max_age.is_some_and(too_old) { Err(Fwd::Request.into()) } else { Ok(()) }
    }

    fn computed_by_a_live_model(&self, incoming: &Incoming, answer: &Answer) -> Result<(), Forward> {
        let Some(gate) = &self.config.gate else { return Ok(()) };
        let path = incoming.path.infer();
        let asked = Asked { service: self.service, model: path.model, version: path.version };
        let unverified_ms = self.config.l1.unverified_max_age_ms;
        if self.live.allows(answer, asked, self.now_ms, gate.stale_ms, unverified_ms) {
            Ok(())
        } else {
            Err(Detail::GenerationGone.into())
        }
    }
}
