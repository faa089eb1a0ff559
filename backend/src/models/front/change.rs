//! A load or an unload that came here and goes on to the server. What is known of the model's generation ends first, for all who go by
//! it; then the server changes the model; then it is looked at anew. It is done to its end though its caller leaves.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Changes, Front, Ground};
use crate::cache::live::{Untold, random_name};
use crate::models::repository::{self, Fingerprint};

/// A change that came here.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) model: String,
    /// It is of files that come with it, and not of the model's folder.
    pub(crate) brings_files: bool,
}

impl Front {
    /// Makes a change, by what passes it on; that says whether the server made it. What was passed back, and whether everybody knows.
    ///
    /// # Errors
    /// It ended early.
    pub(crate) async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        change: Change,
        passing: impl Future<Output = (T, bool)> + Send + 'static,
    ) -> Result<(T, Result<(), Untold>), tokio::task::JoinError> {
        let front = self.clone();
        let changing = async move {
            let was_kept = front.begin(&change.model);
            // Who isn't told goes by what it heard until it finds the pool silent; the caller hears of that.
            let _ = front.herald.settled().await;
            let before = front.fingerprint(&change.model).await;
            let (passed, is_done) = passing.await;
            let after = front.fingerprint(&change.model).await;
            let from = before.filter(|before| !change.brings_files && after.as_ref() == Some(before));
            front.end(&change.model, (was_kept, is_done), from);
            if let Err(error) = front.look_at(&change.model).await {
                tracing::warn!(model = change.model, "it is looked at again later: {error}");
            }
            (passed, front.herald.settled().await)
        };
        tokio::spawn(changing).await
    }

    /// From here on nothing of the model is given from the pool, kept or joined; whether something was.
    fn begin(&self, model: &str) -> bool {
        let was_kept = self.models.current().models.contains_key(model);
        let mut state = self.state();
        let Changes { begun, on, .. } = state.changes.entry(model.to_owned()).or_default();
        (*begun, *on) = (*begun + 1, *on + 1);
        self.publish(model, BTreeMap::new());
        was_kept
    }

    /// The server is done with it. `from`: what it was loaded from, if that is known.
    fn end(&self, model: &str, (was_kept, is_done): (bool, bool), from: Option<Fingerprint>) {
        let is_known = was_kept || is_done || from.is_some() || self.rules.listed.contains_key(model);
        let mut state = self.state();
        if !is_known && !state.models.contains_key(model) {
            // A name that there is nothing of: those have no end.
            state.changes.remove(model);
            return;
        }
        let changes = state.changes.entry(model.to_owned()).or_default();
        changes.on = changes.on.saturating_sub(1);
        if matches!(self.rules.ground, Ground::Said(_)) {
            changes.since_said = Some(random_name());
        }
        let known = state.models.entry(model.to_owned()).or_default();
        match from.filter(|_| is_done) {
            Some(from) => known.is_loaded(from),
            None => known.is_strange(),
        }
    }

    async fn fingerprint(&self, model: &str) -> Option<Fingerprint> {
        let (root, model) = (self.root_of(model)?.to_owned(), model.to_owned());
        let seen = tokio::task::spawn_blocking(move || repository::fingerprint(&root, &model).ok());
        seen.await.ok().flatten()
    }
}
