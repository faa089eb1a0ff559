//! Which backends compute which models, and where equal requests meet.

use super::{ConfigError, out_of_range};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// What the filter tells the routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backends {
    /// Each service's models that its on-demand backends compute; its hot ones compute all others.
    #[serde(deserialize_with = "serde_with::rust::maps_duplicate_key_is_error::deserialize")]
    pub on_demand: BTreeMap<String, BTreeSet<String>>,
    /// Misses say by a header which of them shall meet at one backend: equal ones, and all of an on-demand model.
    pub hash: bool,
    /// Misses are sent to another backend where the first is lost before it answers: an inference that depends on nothing but its
    /// request has no other effect than its answer.
    pub retry: bool,
}

impl Backends {
    /// The service's models that on-demand backends compute.
    pub fn on_demand_of(&self, service: &str) -> Option<&BTreeSet<String>> {
        self.on_demand.get(service).filter(|models| !models.is_empty())
    }

    /// Whether on-demand backends compute that model.
    pub fn is_on_demand(&self, service: &str, model: &str) -> bool {
        self.on_demand_of(service).is_some_and(|models| models.contains(model))
    }

    /// Services that nobody asks and names that no header can carry are slips.
    pub(super) fn check(&self, services: &[&str]) -> Result<(), ConfigError> {
        for (service, models) in &self.on_demand {
            let field = format!("backends.on_demand.{service}");
            if !services.contains(&service.as_str()) {
                return Err(out_of_range(
                    &field,
                    "it",
                    "the filter's `service`, or that of one of its `routes`",
                ));
            }
            let wrong = models.iter().find(|model| model.is_empty() || model.chars().any(char::is_control));
            if let Some(model) = wrong {
                return Err(out_of_range(
                    &field,
                    &format!("{model:?}"),
                    "a model's name, without control characters",
                ));
            }
        }
        Ok(())
    }
}
