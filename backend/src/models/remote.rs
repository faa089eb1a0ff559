//! What computes for a version in front of an upstream: the other server, and whether its answers are still this version's.

use std::path::PathBuf;
use std::sync::Arc;

use forebay_protocol::digest::Generation;
use tokio_util::sync::CancellationToken;

use super::policy::Policy;
use super::repository::{self, Fingerprint};
use super::served::{Computes, Version};
use crate::upstream::Upstream;

/// The other server.
#[derive(Clone)]
pub(crate) struct Remote {
    pub(crate) upstream: Arc<Upstream>,
    pub(super) made_of: Arc<MadeOf>,
    /// Cancelled once another model may answer.
    pub(super) ended: CancellationToken,
}

/// What makes a version what it is. Another one has another of these.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MadeOf {
    pub(super) model: String,
    /// What the server says of itself, and of the model.
    pub(super) said: (String, String),
    /// `None`: it isn't known what was loaded, and nothing is kept.
    pub(super) generation: Option<Generation>,
    pub(super) policy: Policy,
    /// Where the files are that it was loaded from, and how they were.
    pub(super) files: Option<(PathBuf, Fingerprint)>,
}

impl Remote {
    /// Whether answers that are there now were computed by what is known of this version: neither has a change begun, nor have its files
    /// become others. It looks at the files, which is for who has just waited for the upstream.
    pub(crate) async fn is_sure(&self) -> bool {
        if self.ended.is_cancelled() || self.made_of.generation.is_none() {
            return false;
        }
        let made_of = self.made_of.clone();
        let stood_still = move || match &made_of.files {
            None => true,
            Some((root, before)) => {
                repository::fingerprint(root, &made_of.model).is_ok_and(|now| now == *before)
            }
        };
        tokio::task::spawn_blocking(stood_still).await.unwrap_or(false)
    }

    /// Whether it is known what was loaded.
    pub(super) fn has_generation(&self) -> bool {
        self.made_of.generation.is_some()
    }
}

impl Version {
    /// Another model may answer from here on: what it computes is not kept any more.
    pub(super) fn end(&self) {
        if let Computes::Upstream(remote) = &self.computes {
            remote.ended.cancel();
        }
    }

    /// Whether it is what would be made of that.
    pub(super) fn is_still(&self, made_of: &MadeOf) -> bool {
        match &self.computes {
            Computes::Upstream(remote) => !remote.ended.is_cancelled() && *remote.made_of == *made_of,
            Computes::Sessions(_) => false,
        }
    }
}
