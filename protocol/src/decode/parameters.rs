//! Parameters: an object of strings, numbers and booleans.

use super::{DecodeError, Reader, bound, number};
use crate::messages::{Choice, InferParameter, Parameters};
use jiter::Peek;

/// Reads parameters, or `null` for none.
pub(crate) fn read_parameters(reader: &mut Reader<'_>, at: &str) -> Result<Parameters, DecodeError> {
    let mut parameters = Parameters::new();
    if reader.null()? {
        return Ok(parameters);
    }
    reader.members(&format!("'parameters' of {at}"), |reader, name| {
        bound("bytes of a parameter's name", name.len(), reader.limits.max_name_bytes)?;
        let choice = match reader.peek()? {
            peek @ (Peek::True | Peek::False) => Choice::Bool(reader.boolean(peek)?),
            Peek::String => Choice::String(reader.string()?.to_owned()),
            peek if peek.is_num() => read_number(reader, peek)?,
            _ => {
                let what = format!("parameter '{name}' of {at} must be a string, a number or a boolean");
                return Err(reader.refuse_next(&what));
            }
        };
        parameters.insert(name.to_owned(), InferParameter { choice: Some(choice) });
        Ok(true)
    })?;
    Ok(parameters)
}

fn read_number(reader: &mut Reader<'_>, peek: Peek) -> Result<Choice, DecodeError> {
    let start = reader.index();
    let text = reader.number(peek)?;
    if let Ok(value) = number::integer(text, i64::MIN.into(), u64::MAX.into()) {
        return Ok(i64::try_from(value)
            .map_or_else(|_| Choice::Uint64(u64::try_from(value).unwrap_or(u64::MAX)), Choice::Int64));
    }
    let value = number::double(text).ok_or_else(|| reader.refuse(start, "a number must fit a double"))?;
    Ok(Choice::Double(value))
}

/// Refuses a parameter that V2's binary extension reads as a boolean, when it is something else.
pub(crate) fn flag(
    reader: &Reader<'_>,
    parameters: &Parameters,
    name: &str,
    at: &str,
) -> Result<(), DecodeError> {
    match parameters.get(name).and_then(|parameter| parameter.choice.as_ref()) {
        None | Some(Choice::Bool(_)) => Ok(()),
        Some(_) => {
            Err(reader.error_at(reader.index(), format!("parameter '{name}' of {at} must be true or false")))
        }
    }
}
