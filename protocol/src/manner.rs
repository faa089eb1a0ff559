//! How a request is to be scheduled: parameters of Triton's schedule policy extension. They are no part of the digest, so that
//! a stored answer fits whatever they say: who looks answers up reads them first, because a request that says them wrongly
//! gets an error, whether its answer is stored or not.

use crate::messages::{Choice, ModelInferRequest};
use std::time::Duration;

/// How a request is to be scheduled.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Manner {
    /// `priority`: 1 is the most urgent; 0 is the model's default, as is a level that it doesn't have.
    pub priority: u64,
    /// `timeout`, which is in microseconds: how long it wants to wait for its turn; `None`, and 0 on the wire: as the model says.
    pub timeout: Option<Duration>,
}

/// A parameter is of another kind than the extension says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter '{name}' must be an integer, 0 or more")]
pub struct WrongManner {
    /// The parameter.
    pub name: &'static str,
}

impl Manner {
    /// What the request asks for.
    ///
    /// # Errors
    /// [`WrongManner`]: a parameter is there that is no integer, or a negative one.
    pub fn of(request: &ModelInferRequest) -> Result<Self, WrongManner> {
        Ok(Self {
            priority: integer(request, "priority")?.unwrap_or(0),
            timeout: integer(request, "timeout")?.filter(|us| *us > 0).map(Duration::from_micros),
        })
    }
}

fn integer(request: &ModelInferRequest, name: &'static str) -> Result<Option<u64>, WrongManner> {
    match request.parameters.get(name).map(|parameter| &parameter.choice) {
        None => Ok(None),
        Some(Some(Choice::Uint64(value))) => Ok(Some(*value)),
        Some(Some(Choice::Int64(value))) => u64::try_from(*value).map(Some).map_err(|_| WrongManner { name }),
        Some(_) => Err(WrongManner { name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::InferParameter;

    fn with(name: &str, choice: Option<Choice>) -> ModelInferRequest {
        let parameters = [(name.to_owned(), InferParameter { choice })].into();
        ModelInferRequest { parameters, ..ModelInferRequest::default() }
    }

    #[test]
    fn integers_from_zero_are_read() {
        let none = Manner { priority: 0, timeout: None };
        assert_eq!(Manner::of(&ModelInferRequest::default()), Ok(none));
        for (choice, value) in
            [(Choice::Int64(0), 0), (Choice::Int64(7), 7), (Choice::Uint64(u64::MAX), u64::MAX)]
        {
            let said = Manner::of(&with("priority", Some(choice.clone())));
            assert_eq!(said, Ok(Manner { priority: value, ..none }));
            let timeout = (value > 0).then(|| Duration::from_micros(value));
            assert_eq!(Manner::of(&with("timeout", Some(choice))), Ok(Manner { timeout, ..none }));
        }
    }

    #[test]
    fn other_kinds_are_refused_by_name() {
        for name in ["priority", "timeout"] {
            for choice in [
                None,
                Some(Choice::Int64(-1)),
                Some(Choice::Double(1.0)),
                Some(Choice::Bool(true)),
                Some(Choice::String("1".to_owned())),
            ] {
                assert_eq!(Manner::of(&with(name, choice)), Err(WrongManner { name }));
            }
        }
    }
}
