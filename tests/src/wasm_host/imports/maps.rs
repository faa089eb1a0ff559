//! Header maps and body buffers of the stream that the filter acts on.

use super::super::memory::{deserialize, give, read, read_text, serialize};
use super::super::shared::Refusal;
use super::super::state::State;
use super::super::stream::Headers;
use super::{MODULE, status};
use wasmtime::{Caller, Linker, Result};

/// A map that the filter may change; `None` when it is not there now.
fn map(state: &mut State, kind: u32) -> Option<&mut Headers> {
    let stream = state.stream()?;
    match kind {
        0 if stream.request_reachable => Some(&mut stream.request_headers),
        1 if stream.request_reachable => Some(&mut stream.request_trailers),
        2 if stream.response_reachable => Some(&mut stream.response_headers),
        3 if stream.response_reachable => Some(&mut stream.response_trailers),
        _ => None,
    }
}

fn read_map(state: &mut State, kind: u32) -> Option<Headers> {
    match kind {
        6 => state.answered.headers.clone(),
        7 => Some(Headers::new()),
        _ => map(state, kind).cloned(),
    }
}

fn buffer(state: &mut State, kind: u32) -> Option<Vec<u8>> {
    match kind {
        0 => state.stream().map(|stream| stream.request_buffer.clone()),
        1 => state.stream().map(|stream| stream.response_chunk.clone()),
        4 => Some(state.answered.body.clone()),
        6 => Some(Vec::new()),
        7 => Some(state.configuration.clone()),
        _ => None,
    }
}

type Guest<'a> = Caller<'a, State>;

pub(super) fn add(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(MODULE, "proxy_get_header_map_pairs", get_pairs)?;
    linker.func_wrap(MODULE, "proxy_get_header_map_value", get_value)?;
    linker.func_wrap(MODULE, "proxy_set_header_map_pairs", set_pairs)?;
    linker.func_wrap(MODULE, "proxy_add_header_map_value", |c: Guest<'_>, k, n, ns, v, vs| {
        change(c, k, [n, ns, v, vs], |map, name, value| map.push((name, value)))
    })?;
    linker.func_wrap(MODULE, "proxy_replace_header_map_value", |c: Guest<'_>, k, n, ns, v, vs| {
        change(c, k, [n, ns, v, vs], replace)
    })?;
    linker.func_wrap(MODULE, "proxy_remove_header_map_value", |c: Guest<'_>, k, n, ns| {
        change(c, k, [n, ns, 0, 0], |map, name, _| map.retain(|(held, _)| *held != name))
    })?;
    linker.func_wrap(MODULE, "proxy_get_buffer_bytes", get_buffer)?;
    linker.func_wrap(MODULE, "proxy_set_buffer_bytes", set_buffer)?;
    Ok(())
}

/// A map that is not there reads as an empty one.
fn get_pairs(mut caller: Guest<'_>, kind: u32, place: u32, size: u32) -> Result<i32> {
    let bytes = serialize(&read_map(caller.data_mut(), kind).unwrap_or_default())?;
    give(&mut caller, &bytes, place, size)?;
    Ok(0)
}

/// A map that is not there is a bad argument; a name that is not in it is not found. Repeated values are joined, as Envoy's.
fn get_value(mut caller: Guest<'_>, kind: u32, name: u32, len: u32, place: u32, size: u32) -> Result<i32> {
    let name = read_text(&mut caller, name, len)?.to_ascii_lowercase();
    let Some(map) = read_map(caller.data_mut(), kind) else { return Ok(Refusal::BadArgument as i32) };
    let values: Vec<Vec<u8>> = map.into_iter().filter(|(held, _)| *held == name).map(|(_, v)| v).collect();
    if values.is_empty() {
        return Ok(Refusal::NotFound as i32);
    }
    give(&mut caller, &values.join(&b','), place, size)?;
    Ok(0)
}

fn set_pairs(mut caller: Guest<'_>, kind: u32, at: u32, size: u32) -> Result<i32> {
    let pairs = deserialize(&read(&mut caller, at, size)?)?;
    let Some(map) = map(caller.data_mut(), kind) else { return Ok(Refusal::BadArgument as i32) };
    *map = pairs;
    Ok(0)
}

/// Changes one name of a map. `places` are the name's and the value's, each with its size.
fn change(
    mut caller: Guest<'_>,
    kind: u32,
    places: [u32; 4],
    change: impl FnOnce(&mut Headers, String, Vec<u8>),
) -> Result<i32> {
    let name = read_text(&mut caller, places[0], places[1])?.to_ascii_lowercase();
    let value = read(&mut caller, places[2], places[3])?;
    let Some(map) = map(caller.data_mut(), kind) else { return Ok(Refusal::BadArgument as i32) };
    change(map, name, value);
    Ok(0)
}

fn replace(map: &mut Headers, name: String, value: Vec<u8>) {
    let first = map.iter().position(|(held, _)| *held == name);
    map.retain(|(held, _)| *held != name);
    map.insert(first.unwrap_or(map.len()).min(map.len()), (name, value));
}

fn get_buffer(mut caller: Guest<'_>, kind: u32, start: u32, max: u32, place: u32, size: u32) -> Result<i32> {
    let Some(bytes) = buffer(caller.data_mut(), kind) else { return Ok(Refusal::NotFound as i32) };
    if start.checked_add(max).is_none() {
        return Ok(Refusal::BadArgument as i32);
    }
    let from = bytes.len().min(start as usize);
    let to = bytes.len().min(start as usize + max as usize);
    if to > from {
        give(&mut caller, &bytes[from..to], place, size)?;
    }
    Ok(0)
}

/// Only bodies can be changed.
fn set_buffer(mut caller: Guest<'_>, kind: u32, start: u32, length: u32, at: u32, size: u32) -> Result<i32> {
    let bytes = read(&mut caller, at, size)?;
    let changed = caller.data_mut().stream().and_then(|stream| {
        let buffer = match kind {
            0 => &mut stream.request_buffer,
            1 => &mut stream.response_chunk,
            _ => return None,
        };
        let from = buffer.len().min(start as usize);
        let to = buffer.len().min(from.saturating_add(length as usize));
        buffer.splice(from..to, bytes);
        Some(())
    });
    Ok(status(changed.ok_or(Refusal::BadArgument)))
}
