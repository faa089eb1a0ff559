//! `--model-control-mode poll`: looks at the repository for ever. A change is taken up once it stands still. Next:
//! `control` loads and unloads.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::control::{Control, ControlError};
use super::repository;
use crate::observe::logs::Seldom;

/// A folder that changed must stay the same for so long before it is read: files may still be on their way.
const SETTLE: Duration = Duration::from_millis(200);

/// Follows the repository until `stop`.
pub(crate) async fn follow(control: Arc<Control>, every: Duration, stop: CancellationToken) {
    let lines = Seldom::new();
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let before = control.herald.changes();
        match control.follow(stands_still).await {
            Ok(()) if control.herald.changes() == before => lines.forget(),
            Ok(()) => {
                if let Err(error) = control.herald.settled().await {
                    tracing::error!("a change of the repository: {error}");
                }
            }
            Err(ControlError::Ended { reason }) => {
                tracing::error!("a look at the repository ended early: {reason}");
            }
            Err(error) => {
                let words = error.to_string();
                if let Some(left_out) = lines.due(&words) {
                    tracing::error!(left_out, "the repository can't be followed: {words}");
                }
            }
        }
    }
}

/// Whether the folder is the same after a while. If not, the next look tries again.
fn stands_still(root: &Path, name: &str) -> bool {
    let before = repository::fingerprint(root, name);
    std::thread::sleep(SETTLE);
    match (before, repository::fingerprint(root, name)) {
        (Ok(before), Ok(after)) => before == after,
        _ => false,
    }
}
