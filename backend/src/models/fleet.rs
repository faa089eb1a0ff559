//! One service, one answer: which variants are out is decided for all servers of a service, by way of a ledger in the pool. Every
//! [`LOOK`] this server says which variants its processor keeps it from serving and what its shadows counted, hears what all others
//! said, and loads those models again whose answer is another one now. Without a pool that servers share it decides for itself alone,
//! and says so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::chosen::Why;
use super::control::Control;
use super::outs::{Ground, Which};
use super::served::{Model, ModelSet};
use crate::cache::live::ledger::{Fields, Ledger, Note};
use crate::cache::pool::PoolError;
use crate::observe::logs::Seldom;
use crate::settings::Broken;
use crate::shadow::evidence::{self, LEVEL};
use crate::shadow::{Counts, Shadow};
use crate::time::clock::now_ms;

/// Between two looks: for about so long, and as long as loading takes, two servers may answer by two versions.
const LOOK: Duration = Duration::from_secs(2);
/// What this server says of its processor is said again so often.
const SAID_AGAIN: Duration = Duration::from_secs(10);
/// A model that could not be loaded with another choice is tried again after it.
const TRIED_AGAIN: Duration = Duration::from_mins(1);

/// Fields of counts, by what they name.
const COMPARED: &str = "compared";
const DISAGREED: &str = "disagreed";

/// What one server has with the others of its service.
pub(crate) struct Fleet {
    control: Arc<Control>,
    /// `None`: no pool is shared.
    ledger: Option<Arc<dyn Ledger>>,
    broken: Broken,
    said: Option<Instant>,
    said_by_cpu: BTreeMap<Which, String>,
    /// Models that were loaded again for another choice, and when.
    tried: BTreeMap<String, Instant>,
    lines: Seldom,
    has_said_alone: bool,
}

impl Fleet {
    pub(crate) fn new(control: Arc<Control>, ledger: Option<Arc<dyn Ledger>>, broken: Broken) -> Self {
        let (lines, tried, said_by_cpu) = (Seldom::new(), BTreeMap::new(), BTreeMap::new());
        Self { control, ledger, broken, said: None, said_by_cpu, tried, lines, has_said_alone: false }
    }

    /// Hears what is out before models are loaded. A pool that doesn't answer is heard later.
    pub(crate) async fn hear(&self) {
        let Some(ledger) = &self.ledger else { return };
        match ledger.note(Vec::new()).await {
            Ok(fields) => self.control.loader.outs.hear(&fields, now_ms()),
            // That there is no pool is told elsewhere.
            Err(error @ PoolError::Down(_)) => {
                tracing::debug!("which variants are out is not known yet: {error}");
            }
            Err(error) => tracing::warn!("which variants are out is not known yet: {error}"),
        }
    }

    /// Goes on until `stop`.
    pub(crate) async fn follow(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            self.look().await;
            self.choose_again().await;
        }
    }

    async fn look(&mut self) {
        let set = self.control.models.current();
        if set.models.values().all(|model| model.out.is_empty() && !model.has_variants()) {
            return;
        }
        let shadows = shadows(&set);
        let Some(ledger) = self.ledger.clone() else {
            self.say_alone(&set);
            for (which, shadow) in shadows {
                if let Some(counts) = shadow.broken_at() {
                    self.judge(which, shadow, counts);
                }
            }
            return;
        };
        let untold: Vec<Counts> = shadows.iter().map(|(_, shadow)| shadow.untold()).collect();
        let mut notes: Vec<Note> =
            shadows.iter().zip(&untold).flat_map(|((which, _), counts)| added(which, *counts)).collect();
        let by_cpu: BTreeMap<Which, String> = by_cpu(&set).collect();
        let is_due = self.said_by_cpu != by_cpu || self.said.is_none_or(|said| said.elapsed() >= SAID_AGAIN);
        if is_due {
            notes.extend(self.control.loader.outs.notes(by_cpu.clone().into_iter(), now_ms()));
        }
        match ledger.note(notes).await {
            Ok(fields) => {
                self.lines.forget();
                if is_due {
                    (self.said, self.said_by_cpu) = (Some(Instant::now()), by_cpu);
                }
                self.control.loader.outs.hear(&fields, now_ms());
                let mut is_out = false;
                for (which, shadow) in shadows {
                    is_out |= self.judge(which.clone(), shadow, counted(&fields, &which));
                }
                if is_out {
                    // Before this server goes over: others that start then hear of it.
                    let notes = self.control.loader.outs.notes(std::iter::empty(), now_ms());
                    if let Err(error) = ledger.note(notes).await {
                        tracing::warn!("other servers are told later that a variant is out: {error}");
                        self.said = None;
                    }
                }
            }
            Err(error) => {
                if matches!(error, PoolError::Down(_)) {
                    // Nothing was sent. What may have been is not told again: twice would be evidence that there isn't.
                    shadows.iter().zip(untold).for_each(|((_, shadow), counts)| shadow.take_back(counts));
                }
                let words = error.to_string();
                if let Some(left_out) = self.lines.due(&words) {
                    tracing::warn!(
                        left_out,
                        "which variants are out can't be told to other servers, nor heard: {words}"
                    );
                }
            }
        }
    }

    /// Looks whether a budget is broken by what was counted, by all servers or by this one alone. Whether the variant is out by that.
    fn judge(&self, which: Which, shadow: &Shadow, counts: Counts) -> bool {
        let budget = shadow.budget();
        if !evidence::is_broken(budget, counts) || !shadow.note_broken() {
            return false;
        }
        let Counts { compared, disagreed } = counts;
        let (model, version) = (which.model.as_str(), which.version);
        let what = format!(
            "{disagreed} of {compared} requests disagreed with the original, and {budget} of them may: a false alarm has a chance of \
             {LEVEL} at most"
        );
        let then = match (self.broken, &self.ledger) {
            (Broken::Alert, _) => "it is served all the same (--shadow-broken alert)",
            (Broken::Original, Some(_)) => {
                "its original answers from now on, for all servers of this service"
            }
            (Broken::Original, None) => {
                "its original answers from now on, for this server alone: no pool is shared"
            }
        };
        tracing::error!(
            model,
            version,
            compared,
            disagreed,
            budget,
            "the budget of a variant is broken: {what}; {then}"
        );
        let is_out = self.broken == Broken::Original;
        if is_out {
            self.control.loader.outs.broke(which, what);
        }
        is_out
    }

    /// Loads the models again whose choice is another one now.
    async fn choose_again(&mut self) {
        let set = self.control.models.current();
        let due = set.models.iter().filter(|(name, model)| self.is_another(name, model));
        let due: Vec<String> = due.map(|(name, _)| name.clone()).collect();
        drop(set);
        // What was tried and is due still could not be loaded.
        self.tried.retain(|name, _| due.contains(name));
        for name in due {
            if self.tried.get(&name).is_some_and(|tried| tried.elapsed() < TRIED_AGAIN) {
                continue;
            }
            self.tried.insert(name.clone(), Instant::now());
            let control = self.control.clone();
            let loading = tokio::task::spawn_blocking(move || {
                if let Err(error) = control.choose_again(&name) {
                    tracing::error!(model = name, "its variants can't be chosen anew: {error}");
                }
            });
            if let Err(error) = loading.await {
                tracing::error!("a model's variants can't be chosen anew: {error}");
            }
        }
    }

    /// Whether a version is served that is out, or one is out by the word of others who don't say it any more.
    fn is_another(&self, name: &str, model: &Model) -> bool {
        let outs = &self.control.loader.outs;
        let mut served = model
            .versions
            .iter()
            .filter_map(|(number, version)| Some(Which::of(name, *number, &version.variant.as_ref()?.known)));
        let mut out = model.out.iter().filter(|(_, out)| matches!(out.why, Why::Told { .. }));
        served.any(|which| outs.why(&which).is_some())
            || out.any(|(number, out)| outs.why(&Which::of(name, *number, &out.variant)).is_none())
    }

    /// Says once that others aren't told.
    fn say_alone(&mut self, set: &ModelSet) {
        let is_out = set.models.values().any(|model| !model.out.is_empty());
        if is_out && !std::mem::replace(&mut self.has_said_alone, true) {
            tracing::warn!(
                "originals answer in place of variants, and no other server of this service is told: no pool is shared (--pool redis \
                 or memcached)"
            );
        }
    }
}

/// The shadows of what is served.
fn shadows(set: &ModelSet) -> Vec<(Which, &Shadow)> {
    let versions =
        set.models.iter().flat_map(|(name, model)| model.versions.iter().map(move |of| (name, of)));
    let shadowed = versions.filter_map(|(name, (number, version))| {
        let lighter = version.variant.as_ref()?;
        Some((Which::of(name, *number, &lighter.known), lighter.shadow.as_ref()?))
    });
    shadowed.collect()
}

/// Variants that this server's processor keeps it from serving, and why.
fn by_cpu(set: &ModelSet) -> impl Iterator<Item = (Which, String)> {
    set.models.iter().flat_map(|(name, model)| {
        model.out.iter().filter_map(move |(number, out)| match &out.why {
            why @ Why::Cpu(_) => Some((Which::of(name, *number, &out.variant), why.to_string())),
            Why::Told { .. } => None,
        })
    })
}

/// What is to be added to the counts of all.
fn added(which: &Which, counts: Counts) -> Vec<Note> {
    let Counts { compared, disagreed } = counts;
    let add = |(of, more)| Note::Add { field: which.field(of), more };
    [(COMPARED, compared), (DISAGREED, disagreed)]
        .into_iter()
        .filter(|(_, more)| *more > 0)
        .map(add)
        .collect()
}

/// The counts of all.
fn counted(fields: &Fields, which: &Which) -> Counts {
    let number = |of| fields.get(&which.field(of)).and_then(|text| text.parse().ok()).unwrap_or(0);
    let (compared, disagreed) = (number(COMPARED), number(DISAGREED));
    // Two that lost something each.
    Counts { compared: std::cmp::max(compared, disagreed), disagreed }
}

impl Ground {
    /// In a sentence.
    pub(crate) fn said(self) -> &'static str {
        match self {
            Self::Cpu => "a server of this service has another class of processor",
            Self::Shadow => "its budget is broken",
        }
    }
}
