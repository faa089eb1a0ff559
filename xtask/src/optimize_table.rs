//! `cargo xtask optimize-table`: real models out of packages enter, `forebay optimize` makes each lighter as a user would have it; the
//! table of tests/reports/optimize-<date>.md and of backend/OPTIMIZE.md leaves. A model that was done by this program is not done again.
//!
//! ```text
//! .forebay/optimize-table/{packages,material,debian}   what models and samples are made of
//! .forebay/optimize-table/made/NAME/                   a model, its samples, what its metric reads
//! .forebay/optimize-table/repository/NAME/             the model as it is served, and the variant that was installed
//! .forebay/optimize-table/work/NAME/                   its workshop
//! .forebay/optimize-table/rows/NAME.json               its row; NAME.log is what the command said
//! ```

mod made;
mod models;
mod page;
mod row;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::command::{command, ended, last_lines, shown};
use crate::layout::Layout;
use crate::setup::{self, Part};
use crate::up;
use made::{digest, made, sources};
use models::{MODELS, Metric, Model};
use row::{HEAD, Outcome, Report, Row};

const SCRIPTS: &str = "tests/optimize-table";
const ROWS: &str = "rows";
/// What `forebay optimize` ends with when it installed a variant, and when it did not.
const ENDS: [i32; 2] = [0, 3];

/// Settings of `cargo xtask optimize-table`.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Only these; the table is written when all were done [default: all]
    #[arg(value_parser = PossibleValuesParser::new(MODELS.map(|model| model.name)))]
    models: Vec<String>,
    /// How long `forebay optimize` looks at each
    #[arg(long, default_value = "3m")]
    time: humantime::Duration,
    /// A built `forebay` in place of this checkout's
    #[arg(long)]
    backend: Option<PathBuf>,
}

/// A `forebay`, how long it looks at a model, and where that lies and its rows.
struct Program {
    path: PathBuf,
    time: Duration,
    place: PathBuf,
}

/// What is kept of a model that was done.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Of the program, the scripts, the model, its samples and the command.
    key: String,
    row: Row,
}

/// Runs `cargo xtask optimize-table`.
///
/// # Errors
/// Something can't be installed or built, or a model failed; the others were done.
pub(crate) fn run(layout: &Layout, settings: &Settings) -> Result<()> {
    let parts = [Part::Python, Part::CudaHeaders, Part::Libclang, Part::ScikitLearn, Part::TableMaterial];
    setup::install(layout, &parts)?;
    if settings.backend.is_none() {
        up::build_backend(layout)?;
    }
    let path = settings.backend.clone().map_or_else(|| up::backend(layout), Ok)?;
    let program = Program { path, time: *settings.time, place: layout.optimize_table() };
    // What is fetched for it is no time of the first model's.
    shown(tools(layout, command(&program.path, ["optimize", "--setup"])))?;
    let asked =
        |model: &&Model| settings.models.is_empty() || settings.models.iter().any(|name| name == model.name);
    let (mut table, mut failed, mut rows) = (HEAD.to_owned(), Vec::new(), Vec::new());
    for model in &MODELS {
        let Some(row) = done(layout, model, &program, asked(&model))? else { continue };
        if let Outcome::Failed(why) = &row.outcome {
            failed.push(format!("{}: {why}", model.name));
        }
        let line = row.line(model);
        print!("{line}");
        table += &line;
        rows.push(row);
    }
    println!("\n{table}");
    if rows.len() == MODELS.len() {
        page::write(layout, &rows, &table)?;
    }
    ensure!(failed.is_empty(), "models failed:\n  {}", failed.join("\n  "));
    Ok(())
}

/// The row of a model: the one that is kept or, where it is asked for, a new one.
///
/// # Errors
/// A file can't be read or written. What the model itself fails of is in the row.
fn done(layout: &Layout, model: &Model, program: &Program, is_asked: bool) -> Result<Option<Row>> {
    let file = program.place.join(ROWS).join(format!("{}.json", model.name));
    let kept = fs::read(&file).ok().and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
    let made = match made(layout, model, is_asked) {
        Ok(Some(made)) => made,
        Ok(None) => return Ok(None),
        Err(error) => return Ok(Some(failed(model, &format!("it can't be made: {error:#}")))),
    };
    let key = key(layout, model, program, &made)?;
    if let Some(kept) = kept.filter(|kept| kept.key == key) {
        return Ok(Some(kept.row));
    }
    if !is_asked {
        return Ok(None);
    }
    println!("{}: forebay optimize, for {}", model.name, humantime::format_duration(program.time));
    let row = optimized(layout, model, program, (&made, &key))
        .unwrap_or_else(|error| failed(model, &format!("{error:#}")));
    if let Outcome::Reported(_) = row.outcome {
        fs::write(&file, serde_json::to_vec_pretty(&Kept { key, row: row.clone() })?)?;
    }
    Ok(Some(row))
}

fn failed(model: &Model, why: &str) -> Row {
    let line = why.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    Row { model: model.name.to_owned(), took: 0.0, outcome: Outcome::Failed(line) }
}

fn key(layout: &Layout, model: &Model, program: &Program, made: &Path) -> Result<String> {
    let said = format!("{:?} {:?}", arguments(layout, model, made), program.time);
    let of = format!("{}{}{}{said}", digest(&program.path)?, digest(made)?, sources(layout, model)?);
    Ok(format!("{:x}", Sha256::digest(of)))
}

/// What a user would say of the model.
fn arguments(layout: &Layout, model: &Model, made: &Path) -> Vec<String> {
    let mut arguments = vec![format!("--data={}", made.join("samples.npz").display())];
    arguments.extend(model.labels.map(|name| format!("--labels={name}")));
    arguments.extend(model.groups.map(|name| format!("--groups={name}")));
    arguments.push(match model.metric {
        Metric::Own(name) => format!("--metric={name}"),
        Metric::Script(file) => {
            let script = layout.root.join(SCRIPTS).join("metrics").join(file);
            let (python, truth) = (layout.python(), made.join("truth.json"));
            format!("--metric='{}' -B '{}' '{}'", python.display(), script.display(), truth.display())
        }
    });
    arguments.extend(model.flags.iter().map(|&flag| flag.to_owned()));
    arguments
}

/// The command with the tools' environment that tests have too.
fn tools(layout: &Layout, mut optimize: Command) -> Command {
    optimize.env("FOREBAY_TOOLS_DIR", layout.dir.join("optimize")).env("FOREBAY_PYTHON", layout.python());
    optimize
}

/// Makes it lighter.
fn optimized(layout: &Layout, model: &Model, program: &Program, (made, key): (&Path, &str)) -> Result<Row> {
    let place = &program.place;
    let entry = place.join("repository").join(model.name);
    // A workshop by its key goes on where it was; another's is of no use any more.
    let workshops = place.join("work").join(model.name);
    let work = workshops.join(&key[..key.len().min(16)]);
    let old = fs::read_dir(&workshops).into_iter().flatten().flatten().map(|entry| entry.path());
    for old in old.filter(|old| *old != work).chain([entry.clone()]).filter(|old| old.exists()) {
        fs::remove_dir_all(old)?;
    }
    fs::create_dir_all(entry.join("1"))?;
    fs::copy(made.join("model.onnx"), entry.join("1/model.onnx"))?;
    let mut optimize = command(&program.path, ["optimize"]);
    optimize
        .arg(&entry)
        .args(arguments(layout, model, made))
        .arg(format!("--time={}s", program.time.as_secs()));
    optimize.env("FOREBAY_WORK_DIR", work).env("FOREBAY_ONNXRUNTIME", layout.onnxruntime());
    // For scripts that are metrics.
    optimize.env("PYTHONPATH", layout.optimize_table().join("packages"));
    let since = Instant::now();
    let ended = ended(tools(layout, optimize), &String::new)?;
    let took = since.elapsed().as_secs_f64();
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    fs::create_dir_all(place.join(ROWS))?;
    fs::write(place.join(ROWS).join(format!("{}.log", model.name)), format!("{err}{out}"))?;
    if !ended.status.code().is_some_and(|code| ENDS.contains(&code)) {
        bail!("forebay optimize ended with {}: {}", ended.status, last_lines(&err));
    }
    let folder = out
        .lines()
        .rev()
        .find_map(|line| line.split_once("report lies in "))
        .context("it names no report")?
        .1;
    let report = fs::read(Path::new(folder).join("report.json")).context("its report")?;
    let report: Report = serde_json::from_slice(&report).context("its report")?;
    ensure!(
        digest(&entry.join("1/model.onnx"))? == digest(&made.join("model.onnx"))?,
        "the original is not what it was"
    );
    Ok(Row { model: model.name.to_owned(), took, outcome: Outcome::Reported(Box::new(report)) })
}
