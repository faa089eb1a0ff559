//! A response that is given: its own, or the one of an entry that others are given too, which is not copied for those who only
//! read it.

use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use forebay_protocol::entry::Entry;
use forebay_protocol::messages::ModelInferResponse;

/// What an entry without a response would give; none is kept.
static NOTHING: LazyLock<ModelInferResponse> = LazyLock::new(ModelInferResponse::default);

/// A response, without its request's id.
#[derive(Debug, Clone)]
pub(crate) enum Given {
    Own(ModelInferResponse),
    Kept(Arc<Entry>),
}

impl Given {
    /// How long it is fresh, if it is kept.
    pub(crate) fn max_age_s(&self) -> Option<u32> {
        match self {
            Self::Own(_) => None,
            Self::Kept(entry) => Some(entry.max_age_s),
        }
    }

    /// The response, to be changed: copied if others have it too, but not its tensors.
    pub(crate) fn into_own(self) -> ModelInferResponse {
        match self {
            Self::Own(response) => response,
            Self::Kept(entry) => Arc::unwrap_or_clone(entry).response.unwrap_or_default(),
        }
    }
}

impl Deref for Given {
    type Target = ModelInferResponse;

    fn deref(&self) -> &ModelInferResponse {
        match self {
            Self::Own(response) => response,
            Self::Kept(entry) => entry.response.as_ref().unwrap_or(&NOTHING),
        }
    }
}
