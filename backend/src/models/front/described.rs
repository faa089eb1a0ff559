//! What the upstream says of a model, as JSON -> its versions, what it takes and gives, and whether its answers may be kept: where its
//! configuration enables the response cache, or the operator lists it. What depends on requests before, or has many answers or none, is
//! never kept, and neither are ensembles: what their parts are loaded from isn't theirs to say.

use forebay_protocol::cache_control::Freshness;
use serde::Deserialize;

use super::Rules;
use crate::config::{self, ModelConfig};
use crate::engine::signature::{Signature, TensorSpec};
use crate::models::policy::{self, DEFAULT_MAX_AGE_S, Policy};
use crate::proto::model_config::SchedulingChoice;
use crate::upstream::{Upstream, UpstreamError};

/// A model that the upstream serves.
pub(super) struct Described {
    pub(super) versions: Vec<String>,
    pub(super) signature: Signature,
    pub(super) config: ModelConfig,
    /// `None`: its answers are not kept.
    pub(super) policy: Option<Policy>,
    /// All that was said, in one form.
    pub(super) said: String,
}

/// A model's metadata. KServe says null of what it doesn't know.
#[derive(Deserialize)]
struct Metadata {
    versions: Option<Vec<String>>,
    inputs: Option<Vec<Tensor>>,
    outputs: Option<Vec<Tensor>>,
}

#[derive(Deserialize)]
struct Tensor {
    name: String,
    datatype: String,
    shape: Option<Vec<i64>>,
}

impl Described {
    /// Asks the upstream; `None` if it doesn't serve the model.
    ///
    /// # Errors
    /// It doesn't answer, or says what can't be used.
    pub(super) async fn of(
        upstream: &Upstream,
        rules: &Rules,
        model: &str,
    ) -> Result<Option<Self>, UpstreamError> {
        let Some(metadata) = upstream.metadata(model).await? else { return Ok(None) };
        let configuration = upstream.configuration(model).await?;
        let unusable = |reason: String| UpstreamError::Unusable { reason: format!("{model}: {reason}") };
        let said = serde_json::json!([metadata, configuration]).to_string();
        let config = configuration.as_ref().map(config::of_another).transpose().map_err(unusable)?;
        let has_config = config.is_some();
        let config = config.unwrap_or_default();
        let metadata = serde_json::from_value::<Metadata>(metadata);
        let Metadata { versions, inputs, outputs } = metadata.map_err(|error| unusable(error.to_string()))?;
        let mut versions = versions.unwrap_or_default();
        if versions.is_empty() {
            // One that has no number.
            versions.push(String::new());
        }
        let policy = policy(rules, model, has_config, &config).map_err(unusable)?;
        // What V2 has no name for is not read here.
        let (inputs, outputs) = (specs(inputs.unwrap_or_default()), specs(outputs.unwrap_or_default()));
        let policy = policy.filter(|_| inputs.is_some() && outputs.is_some());
        let (inputs, outputs) = (inputs.unwrap_or_default(), outputs.unwrap_or_default());
        let signature = Signature { inputs, outputs };
        Ok(Some(Self { versions, signature, config, policy, said }))
    }
}

/// `None`: one is of no datatype of V2's.
fn specs(tensors: Vec<Tensor>) -> Option<Vec<TensorSpec>> {
    let spec = |Tensor { name, datatype, shape }: Tensor| {
        let (datatype, shape) = (datatype.parse().ok()?, shape.unwrap_or_default());
        Some(TensorSpec { name, datatype, shape, is_optional: false })
    };
    tensors.into_iter().map(spec).collect()
}

fn policy(
    rules: &Rules,
    model: &str,
    has_config: bool,
    config: &ModelConfig,
) -> Result<Option<Policy>, String> {
    let is_pure = !matches!(
        config.scheduling_choice,
        Some(SchedulingChoice::SequenceBatching(_) | SchedulingChoice::EnsembleScheduling(_))
    ) && !config.model_transaction_policy.is_some_and(|policy| policy.decoupled);
    let said = if has_config { policy::of(config).map_err(|error| error.to_string())? } else { None };
    let kept = match (rules.listed.get(model), said) {
        (None, said) => said,
        (Some(None), Some(said)) => Some(said),
        (Some(seconds), said) => {
            let freshness = Freshness {
                max_age_s: seconds.unwrap_or(DEFAULT_MAX_AGE_S),
                ..said.map_or_else(never_stale, |said| said.freshness)
            };
            Some(Policy { freshness, public: said.is_some_and(|said| said.public) })
        }
    };
    Ok(kept.filter(|_| is_pure))
}

fn never_stale() -> Freshness {
    Freshness { max_age_s: DEFAULT_MAX_AGE_S, stale_while_revalidate_s: 0, stale_if_error_s: 0 }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn kept_for(listed: &[(&str, Option<u32>)], config: Option<Value>) -> Option<u32> {
        let listed = listed.iter().map(|(name, seconds)| ((*name).to_owned(), *seconds)).collect();
        let rules = Rules { listed, ..Rules::default() };
        let config = config.map(|config| config::of_another(&config).unwrap());
        let kept = policy(&rules, "m", config.is_some(), &config.unwrap_or_default()).unwrap();
        kept.map(|kept| kept.freshness.max_age_s)
    }

    #[test]
    fn kept_is_what_the_configuration_enables_or_the_operator_lists() {
        let enabled = json!({ "name": "m", "backend": "python", "response_cache": { "enable": true } });
        assert_eq!(kept_for(&[], Some(enabled.clone())), Some(300));
        assert_eq!(kept_for(&[("m", Some(7))], Some(enabled)), Some(7));
        assert_eq!(kept_for(&[], Some(json!({ "name": "m" }))), None);
        assert_eq!(kept_for(&[("other", None)], None), None);
        assert_eq!(kept_for(&[("m", None)], None), Some(300));
    }

    #[test]
    fn what_has_state_or_many_answers_is_never_kept_though_it_is_listed() {
        for config in [
            json!({ "sequence_batching": {} }),
            json!({ "ensemble_scheduling": {} }),
            json!({ "model_transaction_policy": { "decoupled": true } }),
        ] {
            assert_eq!(kept_for(&[("m", Some(7))], Some(config.clone())), None, "{config}");
        }
    }

    #[test]
    fn what_a_server_does_not_know_may_be_null_or_left_out() {
        for said in [r#"{"name":"m","versions":null,"inputs":null,"outputs":null}"#, r#"{"name":"m"}"#] {
            let Metadata { versions, inputs, outputs } = serde_json::from_str(said).unwrap();
            assert!(versions.is_none() && inputs.is_none() && outputs.is_none(), "{said}");
        }
    }
}
