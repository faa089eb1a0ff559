//! `config.pbtxt` -> how long a model's answers may be kept. Next: `http` says it as `Cache-Control`, `store` stamps
//! it on entries.
//!
//! Caching is on for a model with `response_cache { enable: true }`. Its `parameters` may say, in whole seconds:
//! `forebay_max_age_s` (default 300), `forebay_stale_while_revalidate_s` and `forebay_stale_if_error_s` (default 0). And
//! `forebay_public` (default false): its answers are the same for everyone, so that requests with an `Authorization` share
//! them too (RFC 9111, 3.5).

use std::fmt;

use forebay_protocol::cache_control::Freshness;

use crate::config::ModelConfig;

/// How long an answer is fresh when the model doesn't say.
pub(crate) const DEFAULT_MAX_AGE_S: u32 = 300;
/// A year: longer is taken for a mistake.
const LONGEST_S: u32 = 31_536_000;

const MAX_AGE: &str = "forebay_max_age_s";
const STALE_WHILE_REVALIDATE: &str = "forebay_stale_while_revalidate_s";
const STALE_IF_ERROR: &str = "forebay_stale_if_error_s";
const PUBLIC: &str = "forebay_public";
const PREFIX: &str = "forebay_";
/// All that are read here.
pub(crate) const PARAMETERS: [&str; 4] = [MAX_AGE, STALE_WHILE_REVALIDATE, STALE_IF_ERROR, PUBLIC];

/// How long, and among whom, a model's answers may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) freshness: Freshness,
    /// Among requests with an `Authorization` too.
    pub(crate) public: bool,
}

impl Policy {
    /// The same, fresh for no longer than that.
    pub(crate) fn within(self, ttl: Option<u32>) -> Self {
        Self { freshness: self.freshness.within(ttl), ..self }
    }
}

/// As `Cache-Control`.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.public {
            f.write_str("public, ")?;
        }
        self.freshness.fmt(f)
    }
}

/// Parameters that refuse their model.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum PolicyError {
    /// Not whole seconds, or too many.
    #[error("parameter {name:?} is {value:?}, must be whole seconds from {least} to {LONGEST_S}")]
    NotSeconds { name: &'static str, value: String, least: u32 },
    /// Not a truth value.
    #[error("parameter {name:?} is {value:?}, must be true or false")]
    NotBool { name: &'static str, value: String },
    /// One of ours that doesn't exist.
    #[error(
        "parameter {name:?} doesn't exist; {MAX_AGE}, {STALE_WHILE_REVALIDATE}, {STALE_IF_ERROR} and {PUBLIC} do"
    )]
    Unknown { name: String },
}

impl PolicyError {
    /// The field that is wrong.
    pub(crate) fn field(&self) -> String {
        let name = match self {
            Self::NotSeconds { name, .. } | Self::NotBool { name, .. } => name,
            Self::Unknown { name } => name.as_str(),
        };
        format!("parameters[{name}].string_value")
    }
}

/// A model's policy: `None` when its answers must not be kept.
///
/// # Errors
/// For a `forebay_*` parameter that doesn't exist, or isn't whole seconds in range or a truth value.
pub(crate) fn of(config: &ModelConfig) -> Result<Option<Policy>, PolicyError> {
    let ours = config.parameters.keys().filter(|name| name.starts_with(PREFIX));
    if let Some(name) = ours.into_iter().find(|name| !PARAMETERS.contains(&name.as_str())) {
        return Err(PolicyError::Unknown { name: name.clone() });
    }
    let freshness = Freshness {
        max_age_s: seconds(config, MAX_AGE, DEFAULT_MAX_AGE_S, 1)?,
        stale_while_revalidate_s: seconds(config, STALE_WHILE_REVALIDATE, 0, 0)?,
        stale_if_error_s: seconds(config, STALE_IF_ERROR, 0, 0)?,
    };
    let public = match config.parameters.get(PUBLIC).map(|parameter| parameter.string_value.as_str()) {
        None | Some("false") => false,
        Some("true") => true,
        Some(value) => return Err(PolicyError::NotBool { name: PUBLIC, value: value.to_owned() }),
    };
    let enabled = config.response_cache.is_some_and(|cache| cache.enable);
    Ok(enabled.then_some(Policy { freshness, public }))
}

fn seconds(config: &ModelConfig, name: &'static str, default: u32, least: u32) -> Result<u32, PolicyError> {
    let Some(parameter) = config.parameters.get(name) else { return Ok(default) };
    match parameter.string_value.parse::<u32>() {
        Ok(value) if (least..=LONGEST_S).contains(&value) => Ok(value),
        _ => Err(PolicyError::NotSeconds { name, value: parameter.string_value.clone(), least }),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::parse;

    fn policy(text: &str) -> Result<Option<Policy>, PolicyError> {
        of(&parse(Path::new("config.pbtxt"), text.as_bytes(), "m").unwrap())
    }

    fn parameter(name: &str, value: &str) -> String {
        format!(
            "response_cache {{ enable: true }} parameters {{ key: {name:?} value {{ string_value: {value:?} }} }}"
        )
    }

    #[test]
    fn answers_are_kept_only_where_the_model_says_so() {
        assert_eq!(policy("").unwrap(), None);
        assert_eq!(policy("response_cache { enable: false }").unwrap(), None);
        let kept = policy("response_cache { enable: true }").unwrap().unwrap();
        let never_stale = Freshness { max_age_s: 300, stale_while_revalidate_s: 0, stale_if_error_s: 0 };
        assert_eq!(kept, Policy { freshness: never_stale, public: false });
    }

    #[test]
    fn parameters_say_for_how_long() {
        assert_eq!(policy(&parameter(MAX_AGE, "7")).unwrap().unwrap().freshness.max_age_s, 7);
        assert_eq!(policy(&parameter(STALE_IF_ERROR, "9")).unwrap().unwrap().freshness.stale_if_error_s, 9);
        let public = policy(&parameter(PUBLIC, "true")).unwrap().unwrap();
        assert_eq!(public.to_string(), "public, max-age=300");
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for value in ["", "-1", "1.5", "0", "99999999999", "1h"] {
            let error = policy(&parameter(MAX_AGE, value)).unwrap_err().to_string();
            assert!(error.contains(MAX_AGE), "{error}");
        }
        assert!(policy(&parameter(PUBLIC, "yes")).unwrap_err().to_string().contains(PUBLIC));
        assert!(policy(&parameter("forebay_ttl", "1")).unwrap_err().to_string().contains("forebay_ttl"));
        assert!(policy(&parameter("anything_else", "x")).is_ok());
    }
}
