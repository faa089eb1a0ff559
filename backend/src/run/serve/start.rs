//! The start: the models are loaded while the ports answer that the server isn't ready. All that could be loaded is served at once, when
//! it is known that the start succeeds; then the repository is followed, if that was asked for.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::models::control::{self, Control, ControlError};
use crate::models::{ModelSet, follow};
use crate::run::end::End;
use crate::settings::{ModelControlMode, ModelSettings};

/// As `--load-model`: every model of the repository.
const EVERY_MODEL: &str = "*";
/// A load that is to stop gets so long: a build ends within milliseconds, and takes its process along; what ONNX Runtime reads can't be
/// stopped.
const STOPS: Duration = Duration::from_secs(1);

/// A start that has begun.
pub(super) struct Start {
    loading: JoinHandle<Result<ModelSet, ControlError>>,
}

impl Start {
    /// Begins to load the models.
    pub(super) fn begin(settings: &ModelSettings, control: &Arc<Control>) -> Self {
        let explicit = settings.model_control_mode == ModelControlMode::Explicit;
        let all = settings.load_model.iter().any(|name| name == EVERY_MODEL);
        let names = (explicit && !all).then(|| settings.load_model.clone());
        Self { loading: tokio::spawn(control.clone().load_at_start(names)) }
    }

    /// Waits until they are loaded, and serves them; what follows the repository, if something does.
    ///
    /// # Errors
    /// When the repository can't be read, or with `--exit-on-error` a model can't be loaded: nothing was served then.
    pub(super) async fn opened(
        &mut self,
        settings: &ModelSettings,
        control: &Arc<Control>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<JoinHandle<()>>> {
        let set = (&mut self.loading).await?.context("the model repository can't be served")?;
        let failed = set.failed.iter().filter(|(name, failed)| {
            // A folder without a version is one only of what was named.
            !failed.is_empty || settings.load_model.contains(name)
        });
        let reasons: Vec<_> =
            failed.map(|(name, failed)| format!("model {name:?}: {}", failed.reason)).collect();
        if settings.exit_on_error && !reasons.is_empty() {
            anyhow::bail!("{}", reasons.join("; "));
        }
        control.open(set);
        tokio::spawn(control::retry(control.clone(), stop.clone()));
        let follows = settings.model_control_mode == ModelControlMode::Poll;
        Ok(follows.then(|| {
            let every = settings.repository_poll_secs;
            tokio::spawn(follow::follow(control.clone(), every, stop.clone()))
        }))
    }

    /// The end came first. Nobody was served: nothing but the load is waited for, and that not for long.
    ///
    /// # Errors
    /// None; as every order of an end.
    pub(super) async fn given_up(self, end: &End) -> anyhow::Result<bool> {
        end.goes_on_with("the models that are being loaded");
        let is_whole = tokio::time::timeout(end.left(STOPS), self.loading).await.is_ok();
        if !is_whole {
            tracing::warn!("cut: models are being loaded, and that can't be stopped");
        }
        Ok(is_whole)
    }
}
