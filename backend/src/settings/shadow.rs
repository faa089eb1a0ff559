//! Flags -> which variants are run beside their originals, for which share of requests, and what follows when one disagrees too often.

use clap::{Args, ValueEnum};

use super::sizes::Share;
use super::units::parse_bytes;
use super::{SettingsError, wrong};

/// Of a model whose flag names none.
const SHARE: f64 = 0.05;
/// Where memory is enough.
const QUEUE_BYTES: usize = 16 << 20;

/// What follows when a variant's budget is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Broken {
    /// A line in the log, and `forebay_shadow_broken`
    Alert,
    /// These, and its original answers in its place, by way of the pool for all servers of the service
    Original,
}

/// A model whose variants are shadowed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shadowed {
    model: String,
    share: f64,
}

/// Originals beside their variants.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Models")]
pub(crate) struct ShadowSettings {
    /// Run the original beside the variant that is served of this model, for a share of the requests that are computed, and compare
    /// what they give as variant.json says; repeat it for more (the variable takes commas) [share: 0.05]
    #[arg(long, env = "FOREBAY_SHADOW", value_delimiter = ',', value_name = "MODEL[=SHARE]", value_parser = shadowed)]
    shadow: Vec<Shadowed>,
    /// What follows when a shadow finds more disagreements than variant.json's budget allows
    #[arg(long, env = "FOREBAY_SHADOW_BROKEN", value_enum, default_value = "alert")]
    pub(crate) shadow_broken: Broken,
    /// Bytes of requests that may wait for a model's shadow, behind their answers; past it they are not compared [default: 16MiB, or
    /// a share of the memory that the container may take]
    #[arg(long, env = "FOREBAY_SHADOW_QUEUE_BYTES", value_parser = parse_bytes)]
    shadow_queue_bytes: Option<usize>,
}

impl ShadowSettings {
    /// The size that nobody said becomes a share.
    pub(super) fn fit(&mut self, share: Share) {
        self.shadow_queue_bytes.get_or_insert(share.at_most(QUEUE_BYTES));
    }

    /// The share of a model's requests; `None` where it has no shadow.
    pub(crate) fn share(&self, model: &str) -> Option<f64> {
        self.shadow.iter().find(|shadowed| shadowed.model == model).map(|shadowed| shadowed.share)
    }

    /// Bytes that may wait for one model's shadow.
    pub(crate) fn queue_bytes(&self) -> usize {
        self.shadow_queue_bytes.unwrap_or(QUEUE_BYTES)
    }

    /// What clap can't check.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let mut models: Vec<&str> = self.shadow.iter().map(|shadowed| shadowed.model.as_str()).collect();
        models.sort_unstable();
        match models.windows(2).find(|two| two[0] == two[1]) {
            Some(two) => Err(wrong("--shadow", format!("names {} twice", two[0]))),
            None => Ok(()),
        }
    }
}

fn shadowed(text: &str) -> Result<Shadowed, String> {
    let (model, share) = text.split_once('=').map_or((text, None), |(model, share)| (model, Some(share)));
    if model.is_empty() {
        return Err(format!("{text:?} names no model; MODEL or MODEL=SHARE is expected"));
    }
    let parsed =
        share.map_or(Ok(SHARE), str::parse::<f64>).ok().filter(|share| *share > 0.0 && *share <= 1.0);
    let share = parsed.ok_or_else(|| format!("{text:?}: the share must be above 0 and no more than 1"))?;
    Ok(Shadowed { model: model.to_owned(), share })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_its_share_or_the_usual_one() {
        let of = |text: &str| shadowed(text).map(|shadowed| (shadowed.model, shadowed.share));
        assert_eq!(of("m").unwrap(), ("m".to_owned(), SHARE));
        assert_eq!(of("m=1").unwrap(), ("m".to_owned(), 1.0));
        for wrong in ["=1", "m=", "m=0", "m=1.5", "m=-1", "m=x", "m=NaN"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
