//! A configuration's text, as a file or as JSON -> what it says, checked, and where it says it.

use std::path::{Path, PathBuf};

use miette::Diagnostic as _;
use prost_reflect::text_format::ParseError;
use prost_reflect::{DeserializeOptions, DynamicMessage};

use super::places::{MOST_UNKNOWN, Places};
use super::{ModelConfig, Written, check, fields, lists, unknown};
use crate::proto;

/// How the parser says that a field doesn't exist.
const NOT_FOUND: &str = "not found for message";
/// What stands in a file's place when a configuration comes with a load.
const PARAMETER: &str = "the parameter config";

/// A configuration that refuses its model.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// Not UTF-8.
    #[error("{path}: not UTF-8 text after byte {valid_up_to}")]
    NotText { path: PathBuf, valid_up_to: usize },
    /// Not the text format, or a value of another kind.
    #[error("{path}:{line}: {message}")]
    Syntax { path: PathBuf, line: usize, message: String },
    /// A field whose value can't be served; `place` is file and line.
    #[error("{place}: {field}: {reason}")]
    Field { place: String, field: String, reason: String },
}

/// Parses and checks one file; `path` is for messages, `model` is the name of its folder. What is ignored is a warning.
///
/// # Errors
/// With file and line: what can't be parsed, and values that can't be served. A field that doesn't exist is a warning.
pub(crate) fn read(path: &Path, bytes: &[u8], model: &str) -> Result<Written, ConfigError> {
    let written = std::str::from_utf8(bytes)
        .map_err(|error| ConfigError::NotText { path: path.to_owned(), valid_up_to: error.valid_up_to() })?;
    let mut text = lists::with_colons(written);
    let mut unknown_fields = 0;
    let message = loop {
        let error = match DynamicMessage::parse_text_format(proto::descriptor("ModelConfig"), &text) {
            Ok(message) => break message,
            Err(error) => error,
        };
        let (offset, located) = located(path, &text, &error);
        let is_unknown = error.to_string().contains(NOT_FOUND) && unknown_fields < MOST_UNKNOWN;
        let Some(without) = is_unknown.then(|| unknown::without(&text, offset)).flatten() else {
            return Err(located);
        };
        tracing::warn!("{located}: the field is ignored");
        unknown_fields += 1;
        text = without;
    };
    let (written, ignored) =
        checked(&message, Places::of(path, written, &proto::descriptor("ModelConfig")), model)?;
    for line in ignored {
        tracing::warn!("{line}");
    }
    Ok(written)
}

/// The same, where the lines are of no use.
///
/// # Errors
/// As [`read`].
pub(crate) fn parse(path: &Path, bytes: &[u8], model: &str) -> Result<ModelConfig, ConfigError> {
    Ok(read(path, bytes, model)?.config)
}

/// Parses and checks a configuration that comes as JSON, for a model of that name.
///
/// # Errors
/// As [`read`], with the line of the JSON.
pub(crate) fn from_json(text: &str, model: &str) -> Result<Written, ConfigError> {
    let path = PathBuf::from(PARAMETER);
    let wrong = |line: usize, message: String| ConfigError::Syntax { path: path.clone(), line, message };
    let mut json = serde_json::Deserializer::from_str(text);
    // As in the file, a field of another version is no reason to refuse the rest.
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let message =
        DynamicMessage::deserialize_with_options(proto::descriptor("ModelConfig"), &mut json, &options)
            .and_then(|message| json.end().map(|()| message))
            .map_err(|error| wrong(error.line(), error.to_string()))?;
    let places = Places::of(&path, text, &proto::descriptor("ModelConfig"));
    for field in places.unknown() {
        tracing::warn!("{}: there is no field '{field}': it is ignored", places.at(field));
    }
    let (written, ignored) = checked(&message, places, model)?;
    for line in ignored {
        tracing::warn!("{line}");
    }
    Ok(written)
}

/// What another server says of a model that it runs itself: read, and not judged.
///
/// # Errors
/// It is not the JSON of a configuration.
pub(crate) fn of_another(json: &serde_json::Value) -> Result<ModelConfig, String> {
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    DynamicMessage::deserialize_with_options(proto::descriptor("ModelConfig"), json, &options)
        .map_err(|error| error.to_string())
        .and_then(|message| message.transcode_to().map_err(|error| error.to_string()))
}

/// What was parsed, and a line about each field that is ignored.
pub(super) fn checked(
    message: &DynamicMessage,
    places: Places,
    model: &str,
) -> Result<(Written, Vec<String>), ConfigError> {
    let refused =
        |(field, reason): check::Wrong| ConfigError::Field { place: places.at(&field), field, reason };
    let ignored = fields::judge(message, &places).map_err(refused)?;
    let config: ModelConfig =
        message.transcode_to().map_err(|error| refused((String::new(), error.to_string())))?;
    check::check(&config, model).map_err(refused)?;
    Ok((Written { config, places }, ignored))
}

/// Where the parser stopped, and the error that says so.
fn located(path: &Path, text: &str, error: &ParseError) -> (usize, ConfigError) {
    let offset =
        error.labels().and_then(|mut labels| labels.next()).map_or(text.len(), |label| label.offset());
    let before = text.get(..offset).unwrap_or(text);
    let line = 1 + before.matches('\n').count();
    (offset, ConfigError::Syntax { path: path.to_owned(), line, message: error.to_string() })
}
