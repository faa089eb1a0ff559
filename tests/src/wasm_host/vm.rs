//! One VM: the compiled module with a memory and a state. Callbacks enter, what the guest returned leaves, or a trap.

use super::imports;
use super::state::State;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use wasmtime::{Config, Engine, Instance, Module, OptLevel, Result, Store, WasmParams, WasmResults};

/// The guest's own end of the run: its VM must not be entered again.
#[derive(Debug)]
pub(crate) struct Trap(pub(crate) String);

/// A running VM.
pub(crate) struct Vm {
    store: Store<State>,
    instance: Instance,
}

/// The module at `path`, compiled once a process: it takes longer than all that the tests do with it.
fn compiled(path: &Path) -> Result<(Engine, Module)> {
    static MODULES: OnceLock<Mutex<HashMap<PathBuf, (Engine, Module)>>> = OnceLock::new();
    let mut modules = MODULES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = modules.get(path) {
        return Ok(found.clone());
    }
    let mut config = Config::new();
    config.cranelift_opt_level(OptLevel::None);
    let engine = Engine::new(&config)?;
    let module = Module::from_file(&engine, path)?;
    modules.insert(path.to_owned(), (engine.clone(), module.clone()));
    Ok((engine, module))
}

impl Vm {
    /// Instantiates the module and runs its initializer.
    pub(crate) fn start(path: &Path, state: State) -> Result<Self> {
        let (engine, module) = compiled(path)?;
        let mut store = Store::new(&engine, state);
        store.limiter(|state| &mut state.limits);
        let instance = imports::linker(&engine, &module)?.instantiate(&mut store, &module)?;
        for initializer in ["_initialize", "_start"] {
            if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut store, initializer) {
                initialize.call(&mut store, ())?;
                break;
            }
        }
        Ok(Self { store, instance })
    }

    /// Bytes of memory that the module has taken.
    pub(crate) fn memory_bytes(&mut self) -> usize {
        self.instance.get_memory(&mut self.store, "memory").map_or(0, |memory| memory.data_size(&self.store))
    }

    pub(crate) fn state(&self) -> &State {
        self.store.data()
    }

    pub(crate) fn state_mut(&mut self) -> &mut State {
        self.store.data_mut()
    }

    /// Ends the VM; its worker's state stays.
    pub(crate) fn into_state(self) -> State {
        self.store.into_data()
    }

    /// Does the module have this callback?
    pub(crate) fn exports(&mut self, callback: &str) -> bool {
        self.instance.get_func(&mut self.store, callback).is_some()
    }

    /// Runs a callback of `context`.
    pub(crate) fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        context: u32,
        callback: &str,
        parameters: P,
    ) -> std::result::Result<R, Trap> {
        let state = self.store.data_mut();
        let outer = (state.current, state.effective, state.replies);
        (state.current, state.effective, state.replies) = (context, 0, 0);
        let result = self
            .instance
            .get_typed_func::<P, R>(&mut self.store, callback)
            .and_then(|callback| callback.call(&mut self.store, parameters));
        let state = self.store.data_mut();
        state.replied = state.replies > 0;
        (state.current, state.effective, state.replies) = outer;
        result.map_err(|error| Trap(format!("{callback} of context {context}: {error:?}")))
    }
}
