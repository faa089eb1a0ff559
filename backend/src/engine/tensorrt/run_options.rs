//! `config.pbtxt` -> how a plan's instances run. Next: `open` makes so many lanes of each.
//!
//! `optimization.cuda.graphs` (Triton's). `parameters`: `lanes` (ours).

use crate::config::ModelConfig;
use crate::engine::EngineError;

const LANES_KEY: &str = "lanes";
/// The parameters that are read here.
pub(super) const PARAMETERS: [&str; 1] = [LANES_KEY];
/// Lanes of an instance unless the model says otherwise: one copies while the other runs.
const LANES: usize = 2;
/// More lanes than this are taken for a mistake: copies in, a run and copies out are all that can go on at once.
const MOST_LANES: usize = 8;

/// How the instances of one model run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Options {
    /// Requests, or batches, that one instance has on its way at once.
    pub(super) lanes: usize,
    /// Runs of shapes that come again are CUDA graphs.
    pub(super) graphs: bool,
}

impl Options {
    /// What the model's configuration says.
    ///
    /// # Errors
    /// `Option`, naming the key.
    pub(super) fn of(config: &ModelConfig) -> Result<Self, EngineError> {
        let cuda = config.optimization.as_ref().and_then(|optimization| optimization.cuda.as_ref());
        Ok(Self { lanes: lanes(config)?, graphs: cuda.is_some_and(|cuda| cuda.graphs) })
    }
}

fn lanes(config: &ModelConfig) -> Result<usize, EngineError> {
    let Some(parameter) = config.parameters.get(LANES_KEY) else { return Ok(LANES) };
    let text = &parameter.string_value;
    let lanes = text.parse().ok().filter(|lanes| (1..=MOST_LANES).contains(lanes));
    let reason = || format!("is {text:?}, must be a whole number from 1 to {MOST_LANES}");
    lanes.ok_or_else(|| EngineError::Option { key: LANES_KEY.to_owned(), reason: reason() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ModelParameter;

    #[test]
    fn lanes_are_two_unless_the_model_says_otherwise_within_bounds() {
        let of = |lanes: &str| {
            let parameter = ModelParameter { string_value: lanes.to_owned() };
            let parameters = [("lanes".to_owned(), parameter)].into();
            Options::of(&ModelConfig { parameters, ..ModelConfig::default() })
        };
        assert_eq!(Options::of(&ModelConfig::default()).unwrap().lanes, 2);
        assert_eq!([of("1"), of("8")].map(|options| options.unwrap().lanes), [1, 8]);
        for wrong in ["0", "9", "-1", "two", ""] {
            let error = of(wrong).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("config.pbtxt: lanes is {wrong:?}, must be a whole number from 1 to 8")
            );
        }
    }
}
