//! What becomes of each field of `config.pbtxt`: a parsed message -> the first field that is refused, and a line about each that is
//! ignored. The table is also that of `backend/CONFIG.md`, which a test keeps.

mod table;

use prost_reflect::{DynamicMessage, FieldDescriptor, MapKey, Value};

use super::check::Wrong;
use super::places::join;
use super::{ModelConfig, Places, Platform, Written};
use crate::proto;
use table::{FIELDS, Fate};

/// After so many the rest is said in one line: a list has no end.
const MOST_IGNORED: usize = 64;

/// What becomes of a field; the path names no elements: `input.dims`.
fn fate(field: &str) -> Option<&'static Fate> {
    FIELDS.iter().find(|(path, _)| *path == field).map(|(_, fate)| fate)
}

/// A line about each field that is set and ignored.
///
/// # Errors
/// The first that is set and refused.
pub(super) fn judge(message: &DynamicMessage, places: &Places) -> Result<Vec<String>, Wrong> {
    let mut ignored = Vec::new();
    walk(message, &Path::default(), &mut |path| match fate(&path.field) {
        Some(Fate::Refused(why)) => Err((path.element.clone(), format!("is not served: {why}"))),
        Some(Fate::Ignored(why)) => {
            if ignored.len() <= MOST_IGNORED {
                ignored.push(line(places, path, why));
            }
            Ok(false)
        }
        _ => Ok(true),
    })?;
    if ignored.len() > MOST_IGNORED {
        ignored[MOST_IGNORED] = format!("{}: so are others", places.at(""));
    }
    Ok(ignored)
}

/// A line about each field that is set for models of another platform alone.
pub(crate) fn said_to_another(written: &Written, platform: Platform) -> Vec<String> {
    let mut message = DynamicMessage::new(proto::descriptor("ModelConfig"));
    let mut ignored = Vec::new();
    if message.transcode_from::<ModelConfig>(&written.config).is_ok() {
        let _ = walk(&message, &Path::default(), &mut |path| {
            if let Some(Fate::ServedBy(only, ..)) = fate(&path.field)
                && *only != platform
            {
                let why = format!("it is for models of {}", only.name());
                ignored.push(line(&written.places, path, &why));
            }
            Ok(true)
        });
    }
    ignored
}

fn line(places: &Places, Path { field, element }: &Path, why: &str) -> String {
    format!("{}: {field} is ignored: {why}", places.at(element))
}

/// A field that is set.
#[derive(Default)]
struct Path {
    /// Without elements.
    field: String,
    /// With them.
    element: String,
}

/// Shows each field that is set, and those inside it where `visit` says so.
fn walk(
    message: &DynamicMessage,
    within: &Path,
    visit: &mut dyn FnMut(&Path) -> Result<bool, Wrong>,
) -> Result<(), Wrong> {
    for (field, value) in message.fields() {
        let name = FieldDescriptor::name(&field);
        let path = Path { field: join(&within.field, name), element: join(&within.element, name) };
        if !visit(&path)? {
            continue;
        }
        let mut inside = |element: String, value: &Value| match value {
            Value::Message(message) => walk(message, &Path { field: path.field.clone(), element }, visit),
            _ => Ok(()),
        };
        match value {
            Value::List(values) => {
                for (index, value) in values.iter().enumerate() {
                    inside(format!("{}[{index}]", path.element), value)?;
                }
            }
            Value::Map(values) => {
                for (key, value) in values {
                    let key = match key {
                        MapKey::String(key) => key.clone(),
                        other => Value::from(other.clone()).to_string(),
                    };
                    inside(format!("{}[{key}]", path.element), value)?;
                }
            }
            value => inside(path.element.clone(), value)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
