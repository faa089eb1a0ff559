//! What is kept of upstreams that say nothing of it themselves, such as Triton: by service and model, for how long, and in a word of the
//! operator's what answers. Another word is another generation: what was kept under the one before is not given any more.

use super::{ConfigError, out_of_range};
use forebay_protocol::cache_control::Freshness;
use forebay_protocol::digest::Generation;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Names this use of BLAKE3.
const WORD: &str = "forebay generation that an operator says v1";
/// Of a word, in bytes.
const LONGEST_WORD: usize = 256;
/// A year: longer is taken for a mistake.
const LONGEST_S: u32 = 31_536_000;

/// A model's policy, where its upstream says none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What the operator calls what answers now.
    generation: Word,
    /// For how many seconds an answer is fresh.
    max_age_s: u32,
    /// For how many more it is given while a new one is made.
    #[serde(default)]
    stale_while_revalidate_s: u32,
    /// For how many more it is given where the upstream fails.
    #[serde(default)]
    stale_if_error_s: u32,
}

impl Policy {
    /// What answers now.
    pub fn generation(&self) -> &Generation {
        &self.generation.0
    }

    /// How long its answers are of use.
    pub fn freshness(&self) -> Freshness {
        let &Self { max_age_s, stale_while_revalidate_s, stale_if_error_s, .. } = self;
        Freshness { max_age_s, stale_while_revalidate_s, stale_if_error_s }
    }

    fn times(&self) -> [(&'static str, u32); 3] {
        [
            ("max_age_s", self.max_age_s),
            ("stale_while_revalidate_s", self.stale_while_revalidate_s),
            ("stale_if_error_s", self.stale_if_error_s),
        ]
    }
}

/// The operator's word, as a generation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Word(Generation);

impl TryFrom<String> for Word {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        if word.trim().is_empty() || word.len() > LONGEST_WORD {
            return Err(format!("{word:?} is not a word of 1 to {LONGEST_WORD} bytes"));
        }
        Ok(Self(Generation(blake3::derive_key(WORD, word.as_bytes()))))
    }
}

/// A service's policies by model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
struct Models(
    #[serde(deserialize_with = "serde_with::rust::maps_duplicate_key_is_error::deserialize")]
    BTreeMap<String, Policy>,
);

/// All of them, by service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Policies(
    #[serde(deserialize_with = "serde_with::rust::maps_duplicate_key_is_error::deserialize")]
    BTreeMap<String, Models>,
);

impl Policies {
    /// The policy of a service's model, if it has one here.
    pub fn of(&self, service: &str, model: &str) -> Option<&Policy> {
        self.0.get(service)?.0.get(model)
    }

    /// Services that nobody asks, names that no request has, and times that are none are slips.
    pub(super) fn check(&self, services: &[&str]) -> Result<(), ConfigError> {
        for (service, models) in &self.0 {
            let field = format!("policies.{service}");
            if !services.contains(&service.as_str()) {
                let expected = "the filter's `service`, or that of one of its `routes`";
                return Err(out_of_range(&field, "it", expected));
            }
            for (model, policy) in &models.0 {
                if model.is_empty() || model.chars().any(char::is_control) {
                    let expected = "a model's name, without control characters";
                    return Err(out_of_range(&field, &format!("{model:?}"), expected));
                }
                for (name, seconds) in policy.times() {
                    let least = u32::from(name == "max_age_s");
                    if !(least..=LONGEST_S).contains(&seconds) {
                        let field = format!("{field}.{model}.{name}");
                        let expected = "seconds: at most 31536000, and of max_age_s at least 1";
                        return Err(out_of_range(&field, &seconds.to_string(), expected));
                    }
                }
            }
        }
        Ok(())
    }
}
