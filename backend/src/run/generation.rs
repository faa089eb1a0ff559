//! `forebay generation FOLDER`: a repository enters; model, version and generation of each leave, a line each, as `serve` would publish
//! them with the same settings and engines. Nothing is loaded but the engines, for their names are part of a generation.

use forebay_bindings::telemetry;

use super::serve::{loader, no_onnxruntime};
use crate::settings::{GenerationSettings, LogFormat, LogSettings};

/// Prints them, sorted by name.
///
/// # Errors
/// `SettingsError` for what can't be used; a model whose files are wrong, after the lines of all others.
pub(crate) fn run(settings: &GenerationSettings) -> anyhow::Result<()> {
    // First of all: there is no other thread yet. That it can't be had is no reason to say nothing.
    let _ = telemetry::off();
    let logs = LogSettings { log_format: LogFormat::Text, log: "error".to_owned() };
    let loader = loader(&settings.models, &logs)?;
    loader.engines.onnxruntime.engine().map_err(no_onnxruntime)?;
    let mut names = loader.names()?;
    names.sort_unstable();
    let mut wrong = Vec::new();
    for name in names {
        match loader.generations(&name) {
            Ok(versions) => versions.iter().for_each(|(version, it)| println!("{name} {version} {it}")),
            Err(error) if error.is_of_no_model(&name) => {}
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}
