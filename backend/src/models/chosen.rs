//! Which versions of a model answer: those that its version policy takes, but for variants that may not be served here, whose originals
//! answer in their place. What `variant.json` says of the processor that a variant was judged on, this machine's, the setting, and
//! what other servers of the service say enter; versions leave, with those that are out and why. Next: `load` loads them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use metrics::{Gauge, gauge};

use super::outs::{Ground, Outs, Which};
use super::repository::{self, RepositoryError};
use super::variant::{Digest, Known};
use crate::config::{Device, ModelConfig, Platform};
use crate::engine::cpu::{Cpu, Difference};
use crate::observe::metrics::Series;
use crate::settings::Elsewhere;

/// A model none of whose versions can be chosen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChoiceError {
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error(
        "version {version} is a variant that was judged on another class of processor ({judged}): {difference}; have it judged \
         here (forebay optimize --check), or say what is served instead (--variant-elsewhere)"
    )]
    Elsewhere { version: u64, judged: Cpu, difference: Difference },
    #[error(
        "version {version} is a variant that is out ({why}), and its original, version {original}, is not there: {path}"
    )]
    NoOriginal { version: u64, why: Why, original: u64, path: PathBuf },
    #[error("version {version} is a variant of itself, by way of the originals that they name")]
    Circle { version: u64 },
}

/// Why a variant is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Why {
    #[error("it was judged on another class of processor: {0}")]
    Cpu(Difference),
    #[error("{}: {what}", ground.said())]
    Told { ground: Ground, what: String },
}

/// A variant whose original answers.
pub(crate) struct Out {
    pub(crate) variant: Known,
    pub(crate) why: Why,
    /// `forebay_variants`.
    pub(super) _told: Told,
}

impl Out {
    /// The version that answers in its place.
    pub(crate) fn instead(&self) -> u64 {
        self.variant.is.original.version
    }

    /// In a sentence.
    pub(crate) fn reason(&self) -> String {
        format!("a variant that is out: {}; version {}, its original, answers", self.why, self.instead())
    }
}

/// What is to be loaded.
#[derive(Default)]
pub(crate) struct Chosen {
    pub(crate) versions: BTreeSet<u64>,
    pub(crate) out: BTreeMap<u64, Out>,
    /// Of originals that answer for a variant: what the variant says of their files.
    pub(crate) expected: BTreeMap<u64, Digest>,
}

/// By what variants are judged.
pub(crate) struct Chooser<'a> {
    pub(crate) root: &'a Path,
    pub(crate) name: &'a str,
    pub(crate) config: &'a ModelConfig,
    pub(crate) elsewhere: Elsewhere,
    pub(crate) outs: &'a Outs,
    /// Where a model of that platform would run.
    pub(crate) devices: &'a dyn Fn(Platform) -> Vec<Device>,
}

impl Chooser<'_> {
    /// Chooses among the versions that the policy takes.
    ///
    /// # Errors
    /// A `variant.json` that can't be read; a variant that is to be refused; an original that isn't there.
    pub(crate) fn choose(&self, versions: Vec<u64>) -> Result<Chosen, ChoiceError> {
        let mut chosen = Chosen::default();
        for mut number in versions {
            let mut passed = BTreeSet::new();
            while let Some((variant, why)) = self.out(number)? {
                if !passed.insert(number) {
                    return Err(ChoiceError::Circle { version: number });
                }
                let original = variant.is.original.version;
                let path = repository::folder(self.root, self.name).join(original.to_string());
                if !path.is_dir() {
                    return Err(ChoiceError::NoOriginal { version: number, why, original, path });
                }
                chosen.expected.insert(original, variant.is.original.blake3.clone());
                let is_broken = matches!(why, Why::Told { ground: Ground::Shadow, .. });
                let told = Told::of(self.name, number, State::Out { is_broken });
                chosen.out.insert(number, Out { variant, why, _told: told });
                number = original;
            }
            chosen.versions.insert(number);
        }
        Ok(chosen)
    }

    /// The variant that this version is, if it is one that is out, and why.
    fn out(&self, version: u64) -> Result<Option<(Known, Why)>, ChoiceError> {
        let Some(variant) = repository::read_variant(self.root, self.name, version)? else { return Ok(None) };
        let platform = repository::platform(self.root, self.name, version, self.config)?;
        let standing = Standing::of(&variant, &(self.devices)(platform));
        match (standing, self.elsewhere) {
            // Others hear of this one from here, so it goes before what they say.
            (Standing::Elsewhere(difference), Elsewhere::Original) => {
                Ok(Some((variant, Why::Cpu(difference))))
            }
            (standing, elsewhere) => {
                if let Some((ground, what)) = self.outs.why(&Which::of(self.name, version, &variant)) {
                    return Ok(Some((variant, Why::Told { ground, what })));
                }
                match standing {
                    Standing::Elsewhere(difference) if elsewhere == Elsewhere::Refuse => {
                        let judged = variant.is.judged.cpu;
                        Err(ChoiceError::Elsewhere { version, judged, difference })
                    }
                    _ => Ok(None),
                }
            }
        }
    }
}

/// What is known of a variant where it runs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It was judged on this class of processor.
    Judged,
    /// On another one.
    Elsewhere(Difference),
    /// All of it runs on GPUs: flags of a processor say nothing of that.
    OnGpus,
}

impl Standing {
    /// Of a variant that runs on those devices.
    pub(crate) fn of(variant: &Known, devices: &[Device]) -> Self {
        if !devices.is_empty() && devices.iter().all(|device| *device != Device::Cpu) {
            return Self::OnGpus;
        }
        variant.is.judged.cpu.differs_from(Cpu::here()).map_or(Self::Judged, Self::Elsewhere)
    }
}

/// As `forebay_variants` has it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum State {
    /// It answers where it was judged.
    Served,
    /// It answers where it was not judged.
    Unjudged,
    /// Its original answers, because its budget is broken or for another reason.
    Out { is_broken: bool },
}

/// Tells `/metrics` of a variant for as long as it is so.
pub(crate) struct Told {
    gauges: Vec<Gauge>,
    _series: Series,
}

impl Told {
    pub(crate) fn of(model: &str, version: u64, state: State) -> Self {
        let name = match state {
            State::Served => "served",
            State::Unjudged => "unjudged",
            State::Out { .. } => "out",
        };
        let version = version.to_string();
        let series = Series::of(model, &version);
        let labels = [("model", model.to_owned()), ("version", version)];
        let gauges = series.count(|| {
            let [model, version] = labels.clone();
            let mut gauges = vec![gauge!("forebay_variants", &[model, version, ("state", name.to_owned())])];
            if let State::Out { is_broken: true } = state {
                // The shadow that found it out, which said it before, is gone.
                gauges.push(gauge!("forebay_shadow_broken", &labels));
            }
            gauges
        });
        // Two generations of a version may be there for a moment.
        for gauge in &gauges {
            gauge.increment(1);
        }
        Self { gauges, _series: series }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        for gauge in &self.gauges {
            gauge.decrement(1);
        }
    }
}

#[cfg(test)]
mod tests;
