//! The models that are loaded at start: their names enter, those that could be loaded and why the others couldn't leave. Next: `open`, once
//! it is known that the start succeeds.

use std::sync::{Arc, MutexGuard, PoisonError};

use super::set::{Attempt, Then, enter};
use super::{Control, ControlError, blocking};
use crate::models::load::LoadError;
use crate::models::served::ModelSet;

impl Control {
    /// Loads `names`, or every model of the repository, for [`open`](Self::open).
    ///
    /// # Errors
    /// When the repository can't be read, there is no ONNX Runtime, or the server ends. Models that can't be loaded are
    /// logged and listed in the set.
    pub(crate) async fn load_at_start(
        self: Arc<Self>,
        names: Option<Vec<String>>,
    ) -> Result<ModelSet, ControlError> {
        let control = self.clone();
        let all = || blocking(move || Ok(control.loader.names()?));
        let names = match names {
            Some(names) => names,
            None => all().await?,
        };
        self.at_start().clone_from(&names);
        if !names.is_empty() {
            let control = self.clone();
            blocking(move || match control.loader.engines.onnxruntime.engine() {
                Ok(_) => Ok(()),
                Err(reason) => Err(ControlError::Engine { reason: reason.to_owned() }),
            })
            .await?;
        }
        let mut set = ModelSet::default();
        let load = |control: &Self, name: &str| control.first_attempt(name);
        for (name, attempt) in names.iter().zip(self.side_by_side(names.clone(), load).await?) {
            // The set says what failed.
            let _ = enter(&mut set, name, attempt?, Then::Retried);
        }
        Ok(set)
    }

    /// Blocks its thread, which is one of the runtime's.
    fn first_attempt(&self, name: &str) -> Result<Attempt, ControlError> {
        if self.stop.is_cancelled() {
            return Err(ControlError::Stopped { model: name.to_owned(), source: LoadError::Stopped.into() });
        }
        let turn = self.turn_here(name)?;
        Ok(self.attempt(&turn, &self.loader.root, name, None))
    }

    /// Serves what was loaded at start. Calls may change it from here on.
    pub(crate) fn open(&self, set: ModelSet) {
        self.change(|served| *served = set);
        self.models.open();
        self.at_start().clear();
        self.to_retry.notify_one();
    }

    pub(super) fn at_start(&self) -> MutexGuard<'_, Vec<String>> {
        self.at_start.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
