//! A page for people who run a gate (`/ui`), of what it knows: what proxies report, what it holds, what backends computed, who is alive.
//! `/metrics` and the room `hold` enter, again and again; the page leaves, and what it shows as JSON (`/ui/state`).
//!
//! ```text
//! figures    what `/metrics` says at a moment
//! history    the figures of the last minutes
//! state      what the page shows
//! page.html  the page, whole: it asks nobody but its own gate
//! ```

mod figures;
mod history;
mod state;

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use ring::digest::{SHA256, digest};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::gate::Gate;
use crate::hold::{Handover, Work};
use crate::observe::metrics::Metrics;
use figures::Figures;
use history::History;

const PAGE: &str = include_str!("ui/page.html");
/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);

/// What the page is made of.
pub(crate) struct Ui {
    metrics: Metrics,
    gate: Arc<Gate>,
    held: Option<Held>,
    /// What a GPU hour costs, where it is known.
    price: Option<f64>,
    history: Mutex<History>,
}

/// What a gate that holds knows beside.
pub(crate) struct Held {
    pub(crate) handover: Arc<Handover>,
    pub(crate) work: watch::Receiver<Work>,
    /// Whose backends they are.
    pub(crate) service: String,
}

impl Ui {
    pub(crate) fn new(metrics: Metrics, gate: Arc<Gate>, held: Option<Held>, price: Option<f64>) -> Self {
        Self { metrics, gate, held, price, history: Mutex::default() }
    }

    /// Looks at all figures now.
    fn look(&self) {
        self.gate.sweep(Instant::now());
        let figures = Figures::read(&self.metrics.render());
        let work = self.held.as_ref().map(|held| held.work.borrow().clone());
        self.lock().add(figures, work.unwrap_or_default());
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks again and again until `stop`.
pub(crate) async fn follow(ui: Arc<Ui>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let ui = ui.clone();
        // Reading the metrics of a thousand models takes some milliseconds.
        if tokio::task::spawn_blocking(move || ui.look()).await.is_err() {
            return;
        }
    }
}

/// The page's routes.
pub(crate) fn routes(ui: Arc<Ui>) -> Router {
    Router::new().route("/ui", get(page)).route("/ui/state", get(state)).with_state(ui)
}

async fn state(State(ui): State<Arc<Ui>>) -> Response {
    let headers = [
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    ];
    (headers, Json(state::State::of(&ui))).into_response()
}

/// What is said of the page with it.
struct Said {
    policy: HeaderValue,
    tag: HeaderValue,
}

/// Nothing runs but the page's own script, which asks nobody but where it came from.
static SAID: LazyLock<Said> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
    let of = |element: &str| hash(inside(element));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        of("script"),
        of("style")
    );
    let value = |text: String| HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    Said { policy: value(policy), tag: value(format!("\"{}\"", hash(PAGE))) }
});

/// What stands in the page's only element of that name.
fn inside(element: &str) -> &'static str {
    let after = PAGE.split_once(&format!("<{element}>")).map_or("", |(_, after)| after);
    after.split_once(&format!("</{element}>")).map_or("", |(inside, _)| inside)
}

async fn page(headers: HeaderMap) -> Response {
    let Said { policy, tag } = &*SAID;
    let said = [
        (CONTENT_SECURITY_POLICY, policy.clone()),
        (ETAG, tag.clone()),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    if headers.get(IF_NONE_MATCH) == Some(tag) {
        return (StatusCode::NOT_MODIFIED, said).into_response();
    }
    (said, [(CONTENT_TYPE, "text/html; charset=utf-8")], PAGE).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_script_and_one_style_and_names_no_other_place() {
        for element in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{element}")).count(), 1, "{element}");
            assert!(inside(element).len() > 100, "{element}");
        }
        for way in
            ["http://", "https://", " src=", "url(", "@import", "innerHTML", "eval(", " style=", " onclick"]
        {
            // The name of SVG's elements is no place.
            let found = PAGE.replace("http://www.w3.org/2000/svg", "").matches(way).count();
            assert_eq!(found, 0, "{way}");
        }
    }
}
