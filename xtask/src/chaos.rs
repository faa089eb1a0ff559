//! `cargo xtask chaos`: a mesh of real processes under load, of which one part after the other fails and is mended. A table of what came of
//! each fault leaves, as tests/reports/chaos.md. The work is the tests': `tests/tests/e2e/chaos.rs`.

use anyhow::{Context, Result};

use crate::command::{Stamp, WITH_TENSORRT, cargo, shown};
use crate::layout::Layout;
use crate::setup::{self, Part};
use crate::{test, wasm};

const PARTS: [Part; 8] = [
    Part::Python,
    Part::Envoy,
    Part::Redis,
    Part::Memcached,
    Part::Models,
    Part::Wasm,
    Part::CudaHeaders,
    Part::Libclang,
];

/// Runs `cargo xtask chaos`.
///
/// # Errors
/// Something can't be installed or built; or an answer was wrong, a request failed of a fault, or results were not shared again in time.
pub(crate) fn run(layout: &Layout) -> Result<()> {
    setup::install(layout, &PARTS)?;
    wasm::run(layout)?;
    let build = [&["build", "--workspace", "--bin", "forebay"][..], &WITH_TENSORRT].concat();
    let mut builds = cargo();
    builds.args(build).current_dir(&layout.root);
    shown(builds)?;
    let table = layout.run("chaos");
    std::fs::create_dir_all(&table)?;
    let table = table.join("table.md");
    let _ = std::fs::remove_file(&table);
    let mut tests = test::tests_with(layout, &["--test", "e2e"]);
    tests.args(["--", "chaos::", "--nocapture"]).env("FOREBAY_CHAOS_TABLE", &table);
    let outcome = shown(tests);
    let rows = std::fs::read_to_string(&table).context("no fault came to its end")?;
    let report = report(layout, &rows)?;
    let file = layout.root.join("tests/reports/chaos.md");
    std::fs::write(&file, &report).context("can't write tests/reports/chaos.md")?;
    println!("\n{report}\nchaos: {}", Layout::shown(&file));
    outcome
}

fn report(layout: &Layout, rows: &str) -> Result<String> {
    Ok(format!(
        "# When a part of the mesh fails\n\n\
         `cargo xtask chaos`: two Envoys with two workers each, three backends, a gate and a pool, debug builds, {} processors. Eight clients ask \
         all the time, half of them over gRPC, half for what was asked before. A fault that is mended lasts three seconds; a clock that is set stays \
         so. *Shared again*: since it was mended, or began, or another master was elected, until one Envoy finds in the pool what the other one \
         asked for, twelve times in a row. What a backend says whose queue is full is its own error. {}\n\n{rows}",
        std::thread::available_parallelism()?,
        Stamp::of(layout)?,
    ))
}
