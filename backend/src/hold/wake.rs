//! One is wanted and none is there -> Kubernetes' API is asked to start one: the scale of what runs backends goes from 0 to 1. Never
//! further, and never down. What is written names the version of the scale that was read, so gates that do the same at once, and whoever
//! else scales, undo nothing of each other's. Next: the backend comes, and `handover` finds it by its name.

use std::time::Duration;

use http::StatusCode;
use metrics::counter;
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::kubernetes::{Api, ApiError, CALL};
use crate::settings::WakeBy;

/// After a call that failed, and after as many as have failed. One that went well is followed by a look after the longest, for as long
/// as no backend is there: somebody may have taken it back.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Times that the scale is read anew in one call because somebody else wrote it.
const TRIES: usize = 3;

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    /// It was at 0, and is at 1.
    Woken,
    /// It was at 1 or more: a backend starts already.
    There,
}

/// As a metric's label.
fn result(error: &ApiError) -> &'static str {
    match error {
        ApiError::Refused { .. } => "refused",
        ApiError::Late => "late",
        ApiError::Token { .. } | ApiError::Ca(_) | ApiError::Lost(_) => "failed",
    }
}

/// A scale as the API says it; 0 replicas are left out.
#[derive(Deserialize)]
struct Scale {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "resourceVersion")]
    version: String,
}

#[derive(Default, Deserialize)]
struct Spec {
    #[serde(default)]
    replicas: u64,
}

/// Asks whenever a backend is wanted, until `stop`.
pub(crate) async fn follow(by: WakeBy, mut wanted: watch::Receiver<bool>, stop: CancellationToken) {
    let asking = async {
        let mut pause = PAUSE;
        while wanted.wait_for(|is_wanted| *is_wanted).await.is_ok() {
            let came_to = tokio::time::timeout(CALL, wake(&by)).await.unwrap_or(Err(ApiError::Late));
            let went_well = came_to.is_ok();
            tell(&by, came_to);
            // Who comes and goes has nobody asked more often.
            tokio::time::sleep(pause).await;
            if went_well {
                pause = PAUSE;
                let _ = tokio::time::timeout(LONGEST_PAUSE, wanted.wait_for(|is_wanted| !*is_wanted)).await;
            } else {
                pause = LONGEST_PAUSE.min(2 * pause);
            }
        }
    };
    stop.run_until_cancelled(asking).await;
}

fn tell(by: &WakeBy, came_to: Result<Woken, ApiError>) {
    let scale = &by.scale;
    let result = match came_to {
        Ok(Woken::Woken) => {
            tracing::info!(%scale, "a backend is woken: it was at 0 replicas, and is at 1");
            "woken"
        }
        Ok(Woken::There) => {
            tracing::debug!(%scale, "a backend starts already");
            "there"
        }
        Err(error) => {
            tracing::warn!(%scale, "no backend is woken: {error}");
            result(&error)
        }
    };
    counter!("forebay_hold_wake_calls", "result" => result).increment(1);
}

async fn wake(by: &WakeBy) -> Result<Woken, ApiError> {
    let api = Api::open(&by.account, right).await?;
    let mut tries = TRIES;
    loop {
        let scale: Scale = serde_json::from_slice(&api.get(&by.scale).await?)
            .map_err(|error| ApiError::Lost(format!("its answer is no scale: {error}")))?;
        if scale.spec.replicas > 0 {
            return Ok(Woken::There);
        }
        let patch = serde_json::json!({
            "metadata": { "resourceVersion": scale.metadata.version },
            "spec": { "replicas": 1 },
        });
        tries -= 1;
        match api.patch(&by.scale, patch.to_string()).await {
            Ok(_) => return Ok(Woken::Woken),
            Err(ApiError::Refused { status: StatusCode::CONFLICT, .. }) if tries > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

/// What would be right where the API refuses so.
fn right(status: StatusCode) -> &'static str {
    match status {
        StatusCode::FORBIDDEN => {
            "a Role that gives the gate's ServiceAccount the verbs get and patch of that one scale: resources: \
             [deployments/scale], resourceNames: [NAME]"
        }
        StatusCode::NOT_FOUND => "--hold-wake-scale to name what runs backends",
        StatusCode::CONFLICT => "nobody to write that scale all the time",
        _ => "200",
    }
}
