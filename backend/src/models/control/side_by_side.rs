//! Models are loaded side by side, at start and as the repository changes: most of a load is one thread's work. Names enter, what came of
//! each leaves.

use std::path::Path;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::set::{has_changed, keep_only};
use super::{Control, ControlError, blocking};

impl Control {
    /// Loads each on a thread of the runtime for what takes long, so many at a time as the loader may; what came of them, in their order.
    ///
    /// # Errors
    /// `Ended`: a load came to no end.
    pub(super) async fn side_by_side<T: Send + 'static>(
        self: &Arc<Self>,
        names: Vec<String>,
        load: impl Fn(&Self, &str) -> T + Clone + Send + 'static,
    ) -> Result<Vec<T>, ControlError> {
        let (control, at_a_time) = (self.clone(), self.loader.at_a_time);
        let each = names.into_iter().enumerate().map(move |(number, name)| {
            let (control, load) = (control.clone(), load.clone());
            blocking(move || Ok((number, load(&control, &name))))
        });
        // In their order none would begin after one that ended before another.
        let mut came: Vec<(usize, T)> = stream::iter(each).buffer_unordered(at_a_time).try_collect().await?;
        came.sort_unstable_by_key(|(number, _)| *number);
        Ok(came.into_iter().map(|(_, what)| what).collect())
    }

    /// One look at the repository: unloads what is gone, then loads what changed and `stands_still`.
    ///
    /// # Errors
    /// When the repository can't be read.
    pub(crate) async fn follow(
        self: &Arc<Self>,
        stands_still: fn(&Path, &str) -> bool,
    ) -> Result<(), ControlError> {
        let control = self.clone();
        // What is gone is let go before anything is loaded: its memory may be what that needs.
        let changed = blocking(move || control.let_go_and_see_changed()).await?;
        let load = move |control: &Self, name: &str| {
            let root = &control.loader.root;
            if stands_still(root, name) {
                // One that may not wait now is looked at again.
                let _ = control.load_from(root, name, |set| has_changed(root, set, name));
            }
        };
        self.side_by_side(changed, load).await.map(drop)
    }

    fn let_go_and_see_changed(&self) -> Result<Vec<String>, ControlError> {
        let root = &self.loader.root;
        let names = self.loader.names()?;
        let set = self.models.current();
        if set.models.keys().chain(set.failed.keys()).any(|name| !names.contains(name)) {
            self.change(|set| keep_only(set, &names));
        }
        Ok(names.into_iter().filter(|name| has_changed(root, &set, name)).collect())
    }
}
