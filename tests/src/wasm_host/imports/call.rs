//! What the filter asks for and gets later: local replies, resumptions, callouts; and on whose behalf it asks.

use super::super::memory::{deserialize, read, read_text, write};
use super::super::shared::Refusal;
use super::super::state::{Action, State};
use super::super::stream::Call;
use super::MODULE;
use wasmtime::{Caller, Linker, Result};

type Guest<'a> = Caller<'a, State>;

/// `StreamType::HttpRequest`.
const REQUEST: u32 = 0;

pub(super) fn add(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(MODULE, "proxy_set_effective_context", |mut caller: Guest<'_>, context: u32| {
        if !caller.data().contexts.contains(&context) {
            return Refusal::BadArgument as i32;
        }
        caller.data_mut().effective = context;
        0
    })?;
    linker.func_wrap(MODULE, "proxy_continue_stream", |mut caller: Guest<'_>, kind: u32| {
        let state = caller.data_mut();
        let context = state.acting();
        if kind == REQUEST && state.stream().is_some() {
            state.actions.push_back(Action::Continue { context });
        }
        // Envoy drops its pointers at once, so nothing of the request can be reached from here on.
        if let Some(stream) = state.stream() {
            stream.request_reachable = false;
        }
        0
    })?;
    linker.func_wrap(MODULE, "proxy_send_local_response", local_response)?;
    linker.func_wrap(MODULE, "proxy_http_call", http_call)?;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
fn local_response(
    mut caller: Guest<'_>,
    status: u32,
    _details: u32,
    _details_size: u32,
    body: u32,
    body_size: u32,
    headers: u32,
    headers_size: u32,
    _grpc: i32,
) -> Result<i32> {
    let body = read(&mut caller, body, body_size)?;
    let headers = deserialize(&read(&mut caller, headers, headers_size)?)?;
    let state = caller.data_mut();
    let context = state.acting();
    let Some(stream) = state.stream() else { return Ok(Refusal::BadArgument as i32) };
    if std::mem::replace(&mut stream.replying, true) {
        return Ok(Refusal::BadArgument as i32);
    }
    state.replies += 1;
    state.most_replies = state.most_replies.max(state.replies);
    state.actions.push_back(Action::Reply { context, status: u16::try_from(status)?, headers, body });
    Ok(0)
}

#[expect(clippy::too_many_arguments, reason = "the ABI's signature")]
fn http_call(
    mut caller: Guest<'_>,
    cluster: u32,
    cluster_size: u32,
    headers: u32,
    headers_size: u32,
    body: u32,
    body_size: u32,
    _trailers: u32,
    _trailers_size: u32,
    timeout_ms: u32,
    place: u32,
) -> Result<i32> {
    let cluster = read_text(&mut caller, cluster, cluster_size)?;
    let headers = deserialize(&read(&mut caller, headers, headers_size)?)?;
    let body = read(&mut caller, body, body_size)?;
    let pseudo = [":method", ":path", ":authority"];
    let complete = pseudo.iter().all(|name| headers.iter().any(|(held, _)| held == name));
    let state = caller.data_mut();
    if !complete || state.unknown_clusters.contains(&cluster) {
        return Ok(Refusal::BadArgument as i32);
    }
    let (token, context) = (state.next_token, state.acting());
    state.next_token += 1;
    state.calls.insert(token, Call { token, context, cluster, headers, body, timeout_ms });
    write(&mut caller, place, &token.to_le_bytes())?;
    Ok(0)
}
