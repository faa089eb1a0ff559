//! Clock, timer, log and properties.

use super::super::memory::{give, read, read_text, write};
use super::super::shared::Refusal;
use super::super::state::State;
use super::MODULE;
use wasmtime::{Caller, Linker, Result};

type Guest<'a> = Caller<'a, State>;

/// `LogLevel::Warn`.
const WARN: u32 = 3;
const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "critical"];

pub(super) fn add(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(MODULE, "proxy_log", |mut caller: Guest<'_>, level: u32, at: u32, size: u32| {
        let message = read(&mut caller, at, size)?;
        let level = LEVELS.get(level as usize).unwrap_or(&"?");
        caller.data_mut().logs.push(format!("{level}: {}", String::from_utf8_lossy(&message)));
        Ok(0)
    })?;
    linker.func_wrap(MODULE, "proxy_get_log_level", |mut caller: Guest<'_>, place: u32| {
        write(&mut caller, place, &WARN.to_le_bytes()).map(|()| 0)
    })?;
    linker.func_wrap(MODULE, "proxy_get_current_time_nanoseconds", |mut caller: Guest<'_>, place: u32| {
        let now = caller.data().shared.now_ns();
        write(&mut caller, place, &now.to_le_bytes()).map(|()| 0)
    })?;
    linker.func_wrap(
        MODULE,
        "proxy_set_tick_period_milliseconds",
        |mut caller: Guest<'_>, period: u32| {
            caller.data_mut().tick_ms = period;
            0
        },
    )?;
    linker.func_wrap(MODULE, "proxy_get_property", property)?;
    linker.func_wrap(MODULE, "proxy_set_property", set_property)?;
    linker.func_wrap(MODULE, "proxy_call_foreign_function", foreign_function)?;
    linker.func_wrap(MODULE, "proxy_done", || 0)?;
    Ok(())
}

/// Filter state, of which the proxy says `wasm.` and the path.
fn set_property(mut caller: Guest<'_>, path: u32, size: u32, value: u32, value_size: u32) -> Result<i32> {
    let path = read_text(&mut caller, path, size)?;
    let value = read(&mut caller, value, value_size)?;
    let Some(stream) = caller.data_mut().stream() else { return Ok(Refusal::NotFound as i32) };
    stream.filter_state.push((path, value));
    Ok(0)
}

fn foreign_function(
    mut caller: Guest<'_>,
    name: u32,
    size: u32,
    _arguments: u32,
    _arguments_size: u32,
    _place: u32,
    _value_size: u32,
) -> Result<i32> {
    if read_text(&mut caller, name, size)? != "clear_route_cache" {
        return Ok(Refusal::NotFound as i32);
    }
    if let Some(stream) = caller.data_mut().stream() {
        stream.is_rerouted = true;
    }
    Ok(0)
}

/// The path comes with NULs between its parts.
fn property(mut caller: Guest<'_>, path: u32, size: u32, place: u32, value_size: u32) -> Result<i32> {
    let path = String::from_utf8_lossy(&read(&mut caller, path, size)?).replace('\0', ".");
    let properties = caller.data_mut().stream().map(|stream| stream.properties.clone());
    let found = properties.unwrap_or_default().into_iter().find(|(held, _)| *held == path);
    let Some((_, value)) = found else { return Ok(Refusal::NotFound as i32) };
    give(&mut caller, &value, place, value_size)?;
    Ok(0)
}
