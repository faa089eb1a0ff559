//! Shared data, queues and metrics: what the workers of a proxy have in common.

use super::super::memory::{give, read, read_text, write};
use super::super::shared::{Kind, Refusal};
use super::super::state::State;
use super::{MODULE, status};
use wasmtime::{Caller, Linker, Result};

type Guest<'a> = Caller<'a, State>;

pub(super) fn add(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(MODULE, "proxy_get_shared_data", get)?;
    linker.func_wrap(MODULE, "proxy_set_shared_data", set)?;
    linker.func_wrap(MODULE, "proxy_register_shared_queue", register)?;
    linker.func_wrap(MODULE, "proxy_resolve_shared_queue", resolve)?;
    linker.func_wrap(MODULE, "proxy_enqueue_shared_queue", enqueue)?;
    linker.func_wrap(MODULE, "proxy_dequeue_shared_queue", dequeue)?;
    linker.func_wrap(MODULE, "proxy_define_metric", define)?;
    linker.func_wrap(MODULE, "proxy_increment_metric", |c: Guest<'_>, id: u32, offset: i64| {
        status(c.data().shared.increment_metric(id, offset))
    })?;
    linker.func_wrap(MODULE, "proxy_record_metric", |c: Guest<'_>, id: u32, value: u64| {
        status(c.data().shared.record_metric(id, value))
    })?;
    linker.func_wrap(MODULE, "proxy_get_metric", |mut c: Guest<'_>, id: u32, place: u32| {
        match c.data().shared.read_metric(id) {
            Ok(value) => write(&mut c, place, &value.to_le_bytes()).map(|()| 0),
            Err(refusal) => Ok(refusal as i32),
        }
    })?;
    Ok(())
}

fn get(mut caller: Guest<'_>, key: u32, len: u32, place: u32, size: u32, cas: u32) -> Result<i32> {
    let key = read(&mut caller, key, len)?;
    match caller.data().shared.get(&key) {
        Ok((value, number)) => {
            give(&mut caller, &value, place, size)?;
            write(&mut caller, cas, &number.to_le_bytes())?;
            Ok(0)
        }
        Err(refusal) => Ok(refusal as i32),
    }
}

fn set(mut caller: Guest<'_>, key: u32, len: u32, value: u32, size: u32, cas: u32) -> Result<i32> {
    let (key, value) = (read(&mut caller, key, len)?, read(&mut caller, value, size)?);
    Ok(status(caller.data().shared.set(key, value, cas)))
}

fn register(mut caller: Guest<'_>, name: u32, len: u32, place: u32) -> Result<i32> {
    let name = read(&mut caller, name, len)?;
    let state = caller.data();
    let token = state.shared.register_queue(name, state.worker, state.acting());
    write(&mut caller, place, &token.to_le_bytes())?;
    Ok(0)
}

fn resolve(mut caller: Guest<'_>, _: u32, _: u32, name: u32, len: u32, place: u32) -> Result<i32> {
    let name = read(&mut caller, name, len)?;
    match caller.data().shared.resolve_queue(&name) {
        Ok(token) => write(&mut caller, place, &token.to_le_bytes()).map(|()| 0),
        Err(refusal) => Ok(refusal as i32),
    }
}

fn enqueue(mut caller: Guest<'_>, queue: u32, value: u32, size: u32) -> Result<i32> {
    let value = read(&mut caller, value, size)?;
    Ok(status(caller.data().shared.enqueue(queue, value)))
}

fn dequeue(mut caller: Guest<'_>, queue: u32, place: u32, size: u32) -> Result<i32> {
    match caller.data().shared.dequeue(queue) {
        Ok(value) => give(&mut caller, &value, place, size).map(|()| 0),
        Err(refusal) => Ok(refusal as i32),
    }
}

fn define(mut caller: Guest<'_>, kind: u32, name: u32, len: u32, place: u32) -> Result<i32> {
    let kind = match kind {
        0 => Kind::Counter,
        1 => Kind::Gauge,
        2 => Kind::Histogram,
        _ => return Ok(Refusal::BadArgument as i32),
    };
    let name = read_text(&mut caller, name, len)?;
    let id = caller.data().shared.define_metric(kind, name);
    write(&mut caller, place, &id.to_le_bytes())?;
    Ok(0)
}
