//! The host calls of proxy-wasm 0.2.1 that an HTTP filter in Rust makes. All others trap.

mod call;
mod maps;
mod process;
mod store;

use super::shared::Refusal;
use super::state::State;
use wasmtime::{Engine, Linker, Module, Result};

const MODULE: &str = "env";

/// Every import of the module, defined.
pub(crate) fn linker(engine: &Engine, module: &Module) -> Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    maps::add(&mut linker)?;
    store::add(&mut linker)?;
    call::add(&mut linker)?;
    process::add(&mut linker)?;
    linker.define_unknown_imports_as_traps(module)?;
    Ok(linker)
}

/// A status as it is returned.
fn status(result: std::result::Result<(), Refusal>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(refusal) => refusal as i32,
    }
}
