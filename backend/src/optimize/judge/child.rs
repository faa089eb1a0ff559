//! The child's side: a job on standard input, models opened by the engine that `serve` has, the answer on standard output.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use forebay_bindings::telemetry;
use tokio_util::sync::CancellationToken;

use super::super::arrays::{self, Array};
use super::super::samples::Inputs;
use super::job::{Footprint, Job, Said, Task};
use super::{MARK, timing};
use crate::config::Device;
use crate::engine::ort::OrtEngine;
use crate::engine::{Engine as _, InputTensor, OutputTensor, Parts, Session, SessionOptions};
use crate::models::{repository, resident_bytes};

/// Bytes of one job at most.
const MOST_ASKED: u64 = 1 << 20;
/// Bytes of one item at most.
const MOST_ITEM: u64 = 1 << 30;
/// Items that a footprint is measured with.
const RUNS: usize = 3;

/// Does the job that stands on standard input.
pub(crate) fn run() -> ExitCode {
    let said = asked().and_then(|job| done(&job)).unwrap_or_else(Said::Failed);
    match serde_json::to_string(&said) {
        Ok(text) => {
            println!("\n{MARK}{text}");
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn asked() -> Result<Job, String> {
    let mut text = Vec::new();
    std::io::stdin().take(MOST_ASKED).read_to_end(&mut text).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

fn done(job: &Job) -> Result<Said, String> {
    // First of all: there is no other thread yet.
    let _ = telemetry::off();
    let engine = OrtEngine::load(&job.library, job.intra_op_threads, None);
    let engine = engine.map_err(|error| format!("can't load {}: {error}", job.library.display()))?;
    let open = |version: u64| open(&engine, job, version);
    match &job.task {
        Task::Outputs { version, outputs } => {
            let mut session = open(*version)?;
            compute(session.as_mut(), &job.inputs, outputs)?;
            Ok(Said::Outputs)
        }
        Task::Speed { original, variant, batch, time } => {
            let (mut original, mut variant) = (open(*original)?, open(*variant)?);
            let items = batched(&job.inputs, *batch, original.as_ref())?;
            let rounds = timing::rounds(original.as_mut(), variant.as_mut(), &items, *time)?;
            Ok(Said::Speed(rounds))
        }
        Task::Footprint { version } => {
            let (before, began) = (resident_bytes(), Instant::now());
            let mut session = open(*version)?;
            let load = began.elapsed().as_secs_f64();
            for path in paths(&job.inputs)?.iter().take(RUNS) {
                answer(session.as_mut(), &read(path)?)?;
            }
            let resident = resident_bytes().saturating_sub(before);
            Ok(Said::Footprint(Footprint { load, resident }))
        }
    }
}

fn open(engine: &OrtEngine, job: &Job, version: u64) -> Result<Box<dyn Session>, String> {
    let written = repository::read_config(&job.root, &job.model).map_err(|error| error.to_string())?;
    let files = repository::read_files(&job.root, &job.model, version, &written.config);
    let files = files.map_err(|error| error.to_string())?.files;
    let options = SessionOptions { intra_op_threads: job.intra_op_threads };
    let never = CancellationToken::new();
    let mut sessions = engine
        .open(&files, &written.config, &[Device::Cpu], options, &never)
        .map_err(|error| error.to_string())?;
    sessions.pop().ok_or_else(|| "no session was opened".to_owned())
}

fn compute(session: &mut dyn Session, inputs: &Path, outputs: &Path) -> Result<(), String> {
    std::fs::create_dir_all(outputs).map_err(|error| format!("can't make {}: {error}", outputs.display()))?;
    for path in paths(inputs)? {
        let computed =
            answer(session, &read(&path)?).map_err(|error| format!("{}: {error}", path.display()))?;
        let names = session.signature().outputs.iter().map(|spec| (spec.name.clone(), spec.datatype));
        let names: Vec<_> = names.collect();
        let arrays: BTreeMap<String, Array> = computed
            .into_iter()
            .filter_map(|OutputTensor { index, shape, data }| {
                let (name, datatype) = names.get(index)?.clone();
                Some((name, Array { datatype, shape, data }))
            })
            .collect();
        let out = outputs.join(path.file_name().unwrap_or_default());
        let arrays = arrays.iter().map(|(name, array)| (name.as_str(), array));
        arrays::write(&out, arrays).map_err(|error| format!("can't write {}: {error}", out.display()))?;
    }
    Ok(())
}

/// Runs an item.
pub(super) fn answer(
    session: &mut dyn Session,
    inputs: &[(String, Array)],
) -> Result<Vec<OutputTensor>, String> {
    let tensors: Vec<InputTensor<'_>> = inputs.iter().map(|(name, array)| tensor(name, array)).collect();
    let wanted: Vec<usize> = (0..session.signature().outputs.len()).collect();
    Ok(session.run(&tensors, &wanted).map_err(|error| error.to_string())?.outputs)
}

pub(super) fn tensor<'a>(name: &'a str, array: &'a Array) -> InputTensor<'a> {
    InputTensor { name, datatype: array.datatype, shape: &array.shape, data: Parts::One(&array.data) }
}

fn paths(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let unread = |error: std::io::Error| format!("can't read {}: {error}", folder.display());
    let entries = std::fs::read_dir(folder).map_err(unread)?;
    let mut paths =
        entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>().map_err(unread)?;
    paths.sort_unstable();
    Ok(paths)
}

fn read(path: &Path) -> Result<Inputs, String> {
    arrays::read(path, MOST_ITEM).map_err(|error| error.to_string())
}

/// Batches of that many items that have the same shapes, joined along the first dimension; at most 16, each item once if they suffice.
fn batched(folder: &Path, batch: usize, session: &dyn Session) -> Result<Vec<Inputs>, String> {
    const MOST: usize = 16;
    let free = |name: &str| {
        let spec = session.signature().inputs.iter().find(|spec| spec.name == name);
        spec.is_some_and(|spec| spec.shape.first() == Some(&-1))
    };
    let mut alike: BTreeMap<Vec<Vec<i64>>, Vec<Inputs>> = BTreeMap::new();
    for path in paths(folder)?.into_iter().take(MOST * batch.max(1)) {
        let item = read(&path)?;
        alike.entry(item.iter().map(|(_, array)| array.shape.clone()).collect()).or_default().push(item);
    }
    let items = alike.into_values().max_by_key(Vec::len).ok_or("there are no items")?;
    if batch > 1 && !items[0].iter().all(|(name, _)| free(name)) {
        return Err("the model takes no batch: an input's first dimension is not free".to_owned());
    }
    let count = (items.len() / batch.max(1)).clamp(1, MOST);
    let joined = |number: usize| {
        let members: Vec<&Inputs> =
            (0..batch).map(|at| &items[(number * batch + at) % items.len()]).collect();
        join(&members)
    };
    Ok((0..count).map(joined).collect())
}

fn join(members: &[&Inputs]) -> Inputs {
    let Some((first, _)) = members.split_first() else { return Vec::new() };
    let input = |(at, (name, array)): (usize, &(String, Array))| {
        let data: Vec<u8> = members.iter().flat_map(|item| item[at].1.data.iter().copied()).collect();
        let mut shape = array.shape.clone();
        if let Some(size) = shape.first_mut().filter(|_| members.len() > 1) {
            *size *= i64::try_from(members.len()).unwrap_or(1);
        }
        (name.clone(), Array { datatype: array.datatype, shape, data: data.into() })
    };
    first.iter().enumerate().map(input).collect()
}
