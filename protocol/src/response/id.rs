//! Ids in and out of ready answers: one answer serves many requests, each of which wants its own `id` back.

use super::{Encoded, ResponseError, json::write_string};
use crate::decode::{DecodeError, Reader};
use crate::limits::Limits;

/// Puts `id` into an answer that holds none, as its first member. "" leaves the answer as it is, as does a body that is no object.
pub fn with_id(body: &[u8], header_length: Option<usize>, id: &str) -> Encoded {
    let brace =
        body.iter().position(|byte| !byte.is_ascii_whitespace()).filter(|at| body.get(*at) == Some(&b'{'));
    let inside = brace.and_then(|at| body.split_at_checked(at.saturating_add(1)));
    let (Some((before, after)), false) = (inside, id.is_empty()) else {
        return Encoded { header_length, body: body.to_vec() };
    };
    let mut spliced = Vec::with_capacity(body.len().saturating_add(id.len()).saturating_add(16));
    spliced.extend_from_slice(before);
    spliced.extend_from_slice(b"\"id\":");
    write_string(&mut spliced, id);
    if after.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'}') {
        spliced.push(b',');
    }
    let header_length =
        header_length.map(|length| length.saturating_add(spliced.len().saturating_sub(before.len())));
    spliced.extend_from_slice(after);
    Encoded { header_length, body: spliced }
}

/// Takes the top-level `id` out of an answer, if there is one. An `id` in front, where [`super::encode`] and Triton write it, is
/// found at once; else the whole JSON is read.
///
/// # Errors
/// [`ResponseError::Decode`] when the JSON is not an object, or has a key twice.
pub fn without_id(body: &[u8], header_length: Option<usize>) -> Result<Encoded, ResponseError> {
    let json = body
        .get(..header_length.unwrap_or(body.len()))
        .ok_or_else(|| DecodeError::HeaderLength(format!("is over the body's {} bytes", body.len())))?;
    let cut = match leading_id(json) {
        Some(cut) => Some(cut),
        None => find_id(json)?,
    };
    let Some((start, end)) = cut else { return Ok(Encoded { header_length, body: body.to_vec() }) };
    let (before, after) = (body.get(..start).unwrap_or_default(), body.get(end..).unwrap_or_default());
    let header_length = header_length.map(|length| length.saturating_sub(end.saturating_sub(start)));
    Ok(Encoded { header_length, body: [before, after].concat() })
}

/// The range of `"id":"..",` right behind the brace.
fn leading_id(json: &[u8]) -> Option<(usize, usize)> {
    let text = json.strip_prefix(b"{\"id\":\"")?;
    let quote = text.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
    let rest = text.get(quote..)?.strip_prefix(b"\",")?;
    Some((1, json.len().checked_sub(rest.len())?))
}

/// The range of the member `id` with one comma, wherever it is.
fn find_id(json: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
    let limits = Limits::default();
    let mut reader = Reader::new(json, &limits);
    let mut previous = None;
    let mut found = None;
    let mut behind = None;
    reader.members("the response", |reader, key| {
        reader.skip()?;
        let end = reader.index();
        if key == "id" {
            found = Some((previous, end));
        } else if found.is_some() && behind.is_none() {
            behind = Some(end);
        }
        previous = Some(end);
        Ok(true)
    })?;
    reader.finish()?;
    Ok(found.map(|(previous, end)| match previous {
        Some(previous) => (previous, end),
        None => (brace_end(json), behind.map_or(end, |_| comma_end(json, end))),
    }))
}

fn brace_end(json: &[u8]) -> usize {
    json.iter().position(|byte| *byte == b'{').map_or(0, |at| at.saturating_add(1))
}

fn comma_end(json: &[u8], from: usize) -> usize {
    let rest = json.get(from..).unwrap_or_default();
    rest.iter().position(|byte| *byte == b',').map_or(from, |at| from.saturating_add(at).saturating_add(1))
}
