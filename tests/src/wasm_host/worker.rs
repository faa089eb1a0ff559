//! One worker thread of the proxy: its VM, its streams, and what Envoy does around the filter's callbacks.
//!
//! Replies and resumptions wait until the callback that asked for them has returned. Carrying one out runs callbacks
//! again, and the end of each of those carries out the next: so they nest, and too many in one callback overflow the stack.

mod client;
mod gate;
mod upstream;

use super::shared::Shared;
use super::state::{Action, State};
use super::stream::{Headers, Response, StreamId};
use super::vm::{Trap, Vm};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use wasmtime::{WasmParams, WasmResults};

/// The root context's number.
const ROOT: u32 = 1;
/// Replies nested in one another that overflow Envoy's stack (measured: about 300).
const STACK_OVERFLOWS_AT: usize = 300;

/// A VM, or what a dead one left behind.
enum Machine {
    Running(Vm),
    Dead(Box<State>),
    /// Between two of the others only.
    Changing,
}

/// One worker thread.
pub struct Worker {
    path: PathBuf,
    machine: Machine,
    next_context: u32,
    depth: usize,
    deepest: usize,
    traps: Vec<String>,
    trap_next: bool,
    ended: bool,
    has_streams: bool,
}

/// What a callback on the request's path returned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Continue,
    Pause,
}

impl Worker {
    pub(super) fn start(
        path: &Path,
        configuration: &str,
        number: usize,
        shared: Rc<Shared>,
    ) -> Result<Self, String> {
        let mut worker = Self {
            path: path.to_owned(),
            machine: Machine::Dead(Box::new(State::new(shared, number, configuration))),
            next_context: ROOT + 1,
            depth: 0,
            deepest: 0,
            traps: Vec::new(),
            trap_next: false,
            ended: false,
            has_streams: true,
        };
        worker.reload()?;
        Ok(worker)
    }

    /// The main thread's: no request ever comes to it, so a dead VM stays dead.
    pub(super) fn without_streams(mut self) -> Self {
        self.has_streams = false;
        self
    }

    /// A new VM on the old state, as Envoy makes one at the next request after a trap.
    fn reload(&mut self) -> Result<(), String> {
        let Machine::Dead(mut state) = std::mem::replace(&mut self.machine, Machine::Changing) else {
            return Err("only a dead VM is made anew".into());
        };
        let size = u32::try_from(state.configuration.len()).map_err(|error| error.to_string())?;
        state.contexts.clear();
        state.contexts.insert(ROOT);
        let vm = Vm::start(&self.path, *state).map_err(|error| format!("{error:?}"))?;
        self.machine = Machine::Running(vm);
        let started = self
            .callback::<_, ()>(ROOT, "proxy_on_context_create", (ROOT, 0_u32))
            .and_then(|()| self.callback(ROOT, "proxy_on_vm_start", (ROOT, 0_u32)))
            .and_then(|started: u32| {
                Some((started, self.callback(ROOT, "proxy_on_configure", (ROOT, size))?))
            });
        match started {
            Some((1, 1_u32)) => Ok(()),
            _ => Err([self.logs().to_vec(), self.traps.clone()].concat().join("\n")),
        }
    }

    fn state(&self) -> &State {
        match &self.machine {
            Machine::Running(vm) => vm.state(),
            Machine::Dead(state) => state,
            Machine::Changing => unreachable!("nothing looks at a worker while its VM is made"),
        }
    }

    fn state_mut(&mut self) -> &mut State {
        match &mut self.machine {
            Machine::Running(vm) => vm.state_mut(),
            Machine::Dead(state) => state,
            Machine::Changing => unreachable!("nothing looks at a worker while its VM is made"),
        }
    }

    fn exports(&mut self, callback: &str) -> bool {
        let Machine::Running(vm) = &mut self.machine else { return false };
        vm.exports(callback)
    }

    /// Runs a callback and what it asked for. `None`: the VM is dead, now or before.
    fn callback<P: WasmParams, R: WasmResults>(
        &mut self,
        context: u32,
        name: &str,
        parameters: P,
    ) -> Option<R> {
        self.returned(context, name, parameters).map(|(returned, _)| returned)
    }

    /// The same; and whether the callback asked for a reply. A dead VM's context has no callbacks any more, though there may
    /// be a new VM.
    fn returned<P: WasmParams, R: WasmResults>(
        &mut self,
        context: u32,
        name: &str,
        parameters: P,
    ) -> Option<(R, bool)> {
        if !self.state().contexts.contains(&context) {
            return None;
        }
        let Machine::Running(vm) = &mut self.machine else { return None };
        let result = if std::mem::take(&mut self.trap_next) {
            Err(Trap("the test's".into()))
        } else {
            vm.call(context, name, parameters)
        };
        match result {
            Ok(returned) => {
                let replied = self.state().replied;
                self.carry_out();
                Some((returned, replied))
            }
            Err(Trap(why)) => {
                self.die(why);
                None
            }
        }
    }

    /// A callback that decides on its stream. A reply asked for in it stops the stream, whoever it is for and whatever the
    /// callback returned: Envoy knows one such mark a VM.
    fn request_callback<P: WasmParams>(&mut self, context: u32, name: &str, parameters: P) -> Option<Flow> {
        let (action, replied) = self.returned::<P, u32>(context, name, parameters)?;
        Some(if action == 0 && !replied { Flow::Continue } else { Flow::Pause })
    }

    /// What the callback that has just returned asked for, and what was asked for before it and is not done yet.
    fn carry_out(&mut self) {
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        if self.depth > STACK_OVERFLOWS_AT {
            self.die(format!("stack overflow: {STACK_OVERFLOWS_AT} replies nested in one callback"));
        }
        while let Some(action) = self.state_mut().actions.pop_front() {
            match action {
                Action::Reply { context, status, headers, body } => {
                    self.local_reply(context, status, headers, body);
                }
                Action::Continue { context } => self.continue_request(context),
            }
        }
        self.depth -= 1;
    }

    fn die(&mut self, why: String) {
        self.traps.push(why);
        self.machine = match std::mem::replace(&mut self.machine, Machine::Changing) {
            Machine::Running(vm) => Machine::Dead(Box::new(vm.into_state())),
            other => other,
        };
        let state = self.state_mut();
        state.actions.clear();
        state.contexts.clear();
        state.calls.clear();
    }

    /// Envoy's own answer to a request whose callback trapped, or can't be made because its VM is dead. What the client has of
    /// another one is broken off.
    fn fail_stream(&mut self, id: StreamId) {
        let Some(stream) = self.state_mut().streams.get_mut(&id) else { return };
        stream.over = true;
        // Without a status, the answer has not reached the client.
        if stream.response.as_ref().is_none_or(|response| response.status == 0) {
            stream.response = Some(Response { status: 503, ended: true, local: true, ..Response::default() });
        }
    }

    /// The stream's context goes: log, done, delete, and its callouts with it.
    fn destroy(&mut self, id: StreamId) {
        let Some(stream) = self.state_mut().streams.get_mut(&id).filter(|stream| !stream.over) else {
            return;
        };
        stream.over = true;
        if !self.state().contexts.contains(&id) {
            return;
        }
        // As Envoy does, only what the module exports.
        if self.exports("proxy_on_log") {
            let _: Option<()> = self.callback(id, "proxy_on_log", id);
        }
        if self.exports("proxy_on_done") {
            let _: Option<u32> = self.callback(id, "proxy_on_done", id);
        }
        let _: Option<()> = self.callback(id, "proxy_on_delete", id);
        let state = self.state_mut();
        state.contexts.remove(&id);
        state.calls.retain(|_, call| call.context != id);
    }

    fn local_reply(&mut self, id: StreamId, status: u16, mut headers: Headers, body: Vec<u8>) {
        let begun =
            self.state().streams.get(&id).is_none_or(|stream| stream.over || stream.response.is_some());
        if begun {
            return;
        }
        headers.insert(0, (":status".into(), status.to_string().into_bytes()));
        if !body.is_empty() {
            headers.push(("content-length".into(), body.len().to_string().into_bytes()));
            if !headers.iter().any(|(name, _)| name == "content-type") {
                headers.push(("content-type".into(), b"text/plain".to_vec()));
            }
        }
        self.response_begins(id, headers, true, body.is_empty());
        if !body.is_empty() {
            self.response_goes_on(id, body, true);
        }
    }

    /// Ticks the root context.
    pub fn tick(&mut self) {
        if !self.ended {
            let _: Option<()> = self.callback(ROOT, "proxy_on_tick", ROOT);
        }
    }

    /// The root context goes, as when other settings take its place; nothing is to be sent after it.
    pub fn end(&mut self) {
        let _: Option<()> = self.callback(ROOT, "proxy_on_delete", ROOT);
        self.ended = true;
    }

    pub(super) fn queue_ready(&mut self, context: u32, queue: u32) {
        let _: Option<()> = self.callback(context, "proxy_on_queue_ready", (context, queue));
    }

    /// The next callback traps.
    pub fn trap_next(&mut self) {
        self.trap_next = true;
    }

    /// Why VMs of this worker died so far.
    pub fn traps(&self) -> &[String] {
        &self.traps
    }

    /// What the filter logged.
    pub fn logs(&self) -> &[String] {
        &self.state().logs
    }

    /// Most local replies that one callback asked for.
    pub fn most_replies_in_one_callback(&self) -> usize {
        self.state().most_replies
    }

    /// Deepest nesting of callbacks so far: what fills the stack.
    pub fn deepest(&self) -> usize {
        self.deepest
    }

    /// Bytes of memory that the VM has taken; 0 when it is dead.
    pub fn memory_bytes(&mut self) -> usize {
        let Machine::Running(vm) = &mut self.machine else { return 0 };
        vm.memory_bytes()
    }

    /// The tick's period that the filter asked for, in milliseconds.
    pub fn tick_ms(&self) -> u32 {
        self.state().tick_ms
    }
}
