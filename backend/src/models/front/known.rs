//! What is known of a model's files in front of an upstream, look by look: which they are now, and which the upstream has loaded. Only
//! the first can be seen. The second follows from what is seen of loads: one that went through here, and a version that was not there
//! and now is; each with files that stood still meanwhile. Files that changed since leave a doubt, until the next load is seen.

use std::collections::BTreeMap;

use crate::models::repository::{Fingerprint, RepositoryError};

/// A digest of the files of one version.
pub(super) type Digest = [u8; 32];

/// What is known of one model.
#[derive(Default, Clone)]
pub(super) struct Known {
    /// Of its folder at the last look, or at the first of those that found it absent.
    fingerprint: Option<Fingerprint>,
    is_absent: bool,
    versions: BTreeMap<String, Files>,
    /// It was loaded through here from that, since the last look.
    loaded_from: Option<Fingerprint>,
    /// A load through here was of other files than its folder's, or failed: nothing but another load ends that doubt.
    is_strange: bool,
}

#[derive(Clone)]
struct Files {
    now: Digest,
    /// `None`: in doubt.
    loaded: Option<Digest>,
}

/// What one look finds.
pub(super) struct Look<'a> {
    pub(super) fingerprint: Fingerprint,
    pub(super) versions: &'a [String],
    /// The operator's word: files never change once the upstream may have loaded them.
    pub(super) are_loaded: bool,
}

impl Known {
    /// The upstream serves these versions.
    ///
    /// # Errors
    /// Files can't be read; all is in doubt then.
    pub(super) fn look(
        &mut self,
        look: Look<'_>,
        digest: impl Fn(&str) -> Result<Digest, RepositoryError>,
    ) -> Result<(), RepositoryError> {
        let before = std::mem::take(self);
        let stood_still = before.fingerprint.as_ref() == Some(&look.fingerprint);
        let was_loaded = before.loaded_from.as_ref() == Some(&look.fingerprint);
        let is_strange = before.is_strange && !was_loaded;
        let mut versions = before.versions;
        for version in look.versions {
            let seen = versions.remove(version);
            let is_new = seen.is_none();
            let now = match &seen {
                Some(files) if stood_still => files.now,
                _ => digest(version).inspect_err(|_| self.is_strange())?,
            };
            let has_come = is_new && !is_strange && (stood_still || look.are_loaded);
            let loaded = if was_loaded || has_come {
                Some(now)
            } else {
                seen.and_then(|files| files.loaded).filter(|loaded| *loaded == now)
            };
            self.versions.insert(version.clone(), Files { now, loaded });
        }
        (self.fingerprint, self.is_strange) = (Some(look.fingerprint), is_strange);
        Ok(())
    }

    /// The upstream doesn't serve it, or isn't running; its folder is like that.
    pub(super) fn is_absent(&mut self, fingerprint: Option<Fingerprint>) {
        if !self.is_absent {
            *self = Self { fingerprint, is_absent: true, ..Self::default() };
        }
    }

    /// It was loaded through here, from a folder that was like that before and after.
    pub(super) fn is_loaded(&mut self, from: Fingerprint) {
        self.loaded_from = Some(from);
    }

    /// What was loaded through here isn't known.
    pub(super) fn is_strange(&mut self) {
        *self = Self { is_strange: true, ..Self::default() };
    }

    /// What a version was loaded from; `None` in doubt.
    pub(super) fn loaded(&self, version: &str) -> Option<Digest> {
        self.versions.get(version)?.loaded
    }
}

#[cfg(test)]
mod tests;
