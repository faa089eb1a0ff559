//! A recorded request -> its answer in the pool, by a version that takes no requests yet. Next: `replay` goes through all of them.

use std::sync::Arc;

use forebay_protocol::cache_control::RequestDirectives;
use forebay_protocol::messages::ModelInferRequest;
use http::HeaderMap;

use super::{Caller, InferError, Inference, Source};
use crate::models::Version;
use crate::observe::trace::Trace;
use crate::trust::Whose;

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replayed {
    /// What computing the answer costs, in microseconds.
    pub(crate) cost_us: u64,
    /// This was spent now; it was kept before otherwise.
    pub(crate) is_computed: bool,
    /// The answer is in the pool, as far as is known.
    pub(crate) is_kept: bool,
}

impl Inference {
    /// Has it computed, as everybody's, unless its answer is kept already; what is kept is fresh for no longer than `ttl` seconds.
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub(crate) async fn replay(
        &self,
        version: &Arc<Version>,
        request: ModelInferRequest,
        ttl: u32,
    ) -> Result<Replayed, InferError> {
        let caller = Caller {
            whose: Whose::Everybodys,
            private: false,
            restricted: false,
            directives: RequestDirectives { ttl: Some(ttl), ..RequestDirectives::default() },
            deadline: None,
            parent: None,
            passed: HeaderMap::new(),
        };
        let (generation, may_give) = self.generation(version, &caller);
        let asked = (version, generation, may_give);
        let (_, cost_us, source) = self.answer_from(asked, request, &caller, &Trace::default()).await?;
        let (is_computed, is_kept) = match source {
            Source::Session { stored, .. } => (true, stored),
            Source::Pool { .. } | Source::Collapsed => (false, true),
        };
        Ok(Replayed { cost_us, is_computed, is_kept })
    }
}
