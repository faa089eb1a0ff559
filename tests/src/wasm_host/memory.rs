//! The guest's memory: bytes and maps in proxy-wasm's layout, read from it and given to it.

use super::state::State;
use super::stream::Headers;
use wasmtime::{Caller, Extern, Memory, Result, format_err};

fn memory(caller: &mut Caller<'_, State>) -> Result<Memory> {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory),
        _ => Err(format_err!("the module exports no memory")),
    }
}

/// `size` bytes at `at`.
pub(crate) fn read(caller: &mut Caller<'_, State>, at: u32, size: u32) -> Result<Vec<u8>> {
    let (from, to) = (at as usize, at as usize + size as usize);
    let memory = memory(caller)?;
    let bytes = memory.data(&*caller).get(from..to);
    bytes.map(<[u8]>::to_vec).ok_or_else(|| format_err!("{size} bytes at {at} are outside of memory"))
}

/// The same, as text: names come from the filter itself, so they are UTF-8.
pub(crate) fn read_text(caller: &mut Caller<'_, State>, at: u32, size: u32) -> Result<String> {
    String::from_utf8(read(caller, at, size)?).map_err(|_| format_err!("a name is not UTF-8"))
}

/// Writes a result where the guest wants it.
pub(crate) fn write(caller: &mut Caller<'_, State>, at: u32, bytes: &[u8]) -> Result<()> {
    let memory = memory(caller)?;
    memory.write(caller, at as usize, bytes).map_err(|_| format_err!("a result's place is outside of memory"))
}

/// Puts `bytes` into memory of the guest's own making, and their place and size where it wants them. Nothing is at 0.
pub(crate) fn give(caller: &mut Caller<'_, State>, bytes: &[u8], place: u32, size: u32) -> Result<()> {
    let length = u32::try_from(bytes.len())?;
    let mut at = 0;
    if length > 0 {
        let allocate = ["proxy_on_memory_allocate", "malloc"].iter().find_map(|name| caller.get_export(name));
        let allocate = allocate.and_then(Extern::into_func);
        let allocate = allocate.ok_or_else(|| format_err!("the module exports no allocator"))?;
        at = allocate.typed::<u32, u32>(&*caller)?.call(&mut *caller, length)?;
        write(caller, at, bytes)?;
    }
    write(caller, place, &at.to_le_bytes())?;
    write(caller, size, &length.to_le_bytes())
}

/// A map in proxy-wasm's layout: count, sizes, then names and values, each followed by a NUL.
pub(crate) fn serialize(map: &Headers) -> Result<Vec<u8>> {
    let mut bytes = u32::try_from(map.len())?.to_le_bytes().to_vec();
    for (name, value) in map {
        bytes.extend(u32::try_from(name.len())?.to_le_bytes());
        bytes.extend(u32::try_from(value.len())?.to_le_bytes());
    }
    for (name, value) in map {
        bytes.extend([name.as_bytes(), b"\0", value, b"\0"].concat());
    }
    Ok(bytes)
}

/// The reverse of [`serialize`].
pub(crate) fn deserialize(bytes: &[u8]) -> Result<Headers> {
    let broken = || format_err!("the map is broken");
    let number = |at: usize| -> Result<usize> {
        let four = bytes.get(at..at + 4).ok_or_else(broken)?;
        Ok(u32::from_le_bytes(four.try_into()?) as usize)
    };
    if bytes.is_empty() {
        return Ok(Headers::new());
    }
    let count = number(0)?;
    let mut at = 4 + count * 8;
    let mut map = Headers::new();
    for index in 0..count {
        let (name, value) = (number(4 + index * 8)?, number(8 + index * 8)?);
        let text = bytes.get(at..at + name).ok_or_else(broken)?;
        let text = std::str::from_utf8(text)?.to_ascii_lowercase();
        at += name + 1;
        map.push((text, bytes.get(at..at + value).ok_or_else(broken)?.to_vec()));
        at += value + 1;
    }
    Ok(map)
}
