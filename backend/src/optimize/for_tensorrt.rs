//! A model and its data -> a folder for a machine with a GPU: the model as INT8 with Q/DQ, FP16 and BF16, as TensorRT wants them, samples,
//! and what the original answers. Nothing is judged or installed: what a plan loses and how fast it is, a GPU alone says. Next: `cargo
//! xtask gpu` builds plans of them there and compares.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;

use super::Outcome;
use super::loss::file;
use super::request::Request;
use super::samples::Item;
use super::search::ROUNDING;
use super::search::plans::{LEAST_AND_MOST, STATIC};
use super::tools::recipe::{Half, Integers, Recipe, Target};
use super::verdict::Terms;
use super::workshop::{ORIGINAL, Split, Stock, WorkError, Workshop};

/// The list of what lies in the folder.
const LIST: &str = "prepared.json";
/// Of the list.
const FORMAT: u32 = 1;
/// Items that travel: enough to see whether a plan computes what it should.
const MOST_ITEMS: usize = 64;
/// Rows that plans are best at, and that they take at most, of a model that takes batches.
const ROWS: [i64; 2] = [8, 32];
/// For the loss here: Q/DQ as they are written, and sums as floats. Sums of 8 bits saturate on some processors, and never on a GPU.
const AS_WRITTEN: [&str; 2] = ["session.disable_quant_qdq", "1"];
/// Operators that are newer than the model's, which the tools want.
const PASS: &str = "opset";

/// What lies in the folder.
#[derive(Serialize)]
struct List<'a> {
    format: u32,
    model: &'a str,
    version: u64,
    metric: String,
    /// Points of the metric that may be lost.
    max_loss: f64,
    /// The inputs are made up: what is lost with them says nothing.
    made_up: bool,
    tools: &'a BTreeMap<String, String>,
    /// For each input with a free dimension, what plans are built for.
    ranges: Vec<Range<'a>>,
    items: usize,
    forms: Vec<Form>,
    /// Forms that the model doesn't have, and why.
    refused: Vec<Refused>,
}

/// The smallest, best and largest shape of an input.
#[derive(Debug, PartialEq, Serialize)]
struct Range<'a> {
    input: &'a str,
    min: Vec<i64>,
    opt: Vec<i64>,
    max: Vec<i64>,
}

/// A model's file.
#[derive(Clone, Serialize)]
struct Form {
    name: &'static str,
    file: String,
    bytes: u64,
    /// Points that it loses by ONNX Runtime on this processor, where that can compute it.
    lost_here: Option<f64>,
    /// Nodes that stayed as they were.
    left: usize,
}

/// Each form with its version in the workshop, and those that can't be made.
#[derive(Default)]
struct Made {
    forms: Vec<(Form, u64)>,
    refused: Vec<Refused>,
}

#[derive(Serialize)]
struct Refused {
    name: &'static str,
    why: String,
}

/// Makes the files and writes the folder.
///
/// # Errors
/// The folder is there already, no form can be made, or it can't be written.
pub(super) fn write(
    request: &Request,
    shop: &mut Workshop<'_>,
    terms: &Terms,
    folder: &Path,
) -> anyhow::Result<Outcome> {
    ensure!(!folder.exists(), "--for-tensorrt: {} is there already", folder.display());
    let Made { forms, refused } = made(shop)?;
    if forms.is_empty() {
        let whys = refused.iter().map(|refused| format!("{}: {}", refused.name, refused.why));
        bail!(
            "--for-tensorrt: nothing can be made of {}: {}",
            request.name,
            whys.collect::<Vec<_>>().join("; ")
        );
    }
    // Weights that lie in other files are in it: one file travels.
    let original = shop.prepared(ORIGINAL)?;
    let answers = shop.outputs(ORIGINAL, Split::Report)?;
    let items = shop.items(Split::Report).len().min(MOST_ITEMS);
    let list = List {
        format: FORMAT,
        model: &request.name,
        version: request.version,
        metric: request.metric.to_string(),
        max_loss: terms.max_loss,
        made_up: request.is_made_up,
        tools: &shop.template.tools,
        ranges: ranges(request, &shop.splits.calibrate),
        items,
        forms: forms.iter().map(|(form, _)| form).cloned().collect(),
        refused,
    };
    let draft = folder.with_extension("draft");
    let _ = fs::remove_dir_all(&draft);
    let models = forms.iter().map(|(form, number)| (form.file.as_str(), shop.file(*number)));
    let models: Vec<(&str, PathBuf)> = models.chain([("original.onnx", original)]).collect();
    let folders = [("inputs", shop.inputs(Split::Report)), ("outputs", answers)];
    let done = fill(&list, &models, &folders, &draft).and_then(|()| Ok(fs::rename(&draft, folder)?));
    if let Err(error) = done {
        let _ = fs::remove_dir_all(&draft);
        return Err(error.context(format!("--for-tensorrt: can't write {}", folder.display())));
    }
    print!("{}", told(&list, terms, folder));
    Ok(Outcome::Done)
}

/// Makes what can be made.
fn made(shop: &mut Workshop<'_>) -> anyhow::Result<Made> {
    let mut made = Made::default();
    let base = match shop.rewritten(ORIGINAL, PASS) {
        Ok(Some(number)) if shop.exactness(number)?.points <= ROUNDING => number,
        Err(error) if error.is_stop() || error.is_full_disk() => return Err(error.into()),
        _ => ORIGINAL,
    };
    let inspected = shop.tools.inspect(&shop.file(base), shop.stop)?;
    let ops = STATIC.iter().filter(|op| inspected.ops.contains_key(**op)).map(|op| (*op).to_owned());
    let int8 = Integers {
        ops: ops.collect(),
        keep: Vec::new(),
        per_channel: true,
        reduce_range: false,
        target: Target::Tensorrt,
    };
    let half = |of| Recipe::Half { r#type: of, keep: Vec::new() };
    for (name, recipe, method) in [
        ("int8", Recipe::Static(int8), Some(LEAST_AND_MOST)),
        ("fp16", half(Half::Fp16), None),
        ("bf16", half(Half::Bf16), None),
    ] {
        match form(shop, base, name, &recipe, method) {
            Ok(form) => made.forms.push(form),
            Err(error) if error.is_stop() || error.is_full_disk() => return Err(error.into()),
            Err(error) => made.refused.push(Refused { name, why: error.to_string() }),
        }
    }
    Ok(made)
}

fn form(
    shop: &mut Workshop<'_>,
    base: u64,
    name: &'static str,
    recipe: &Recipe,
    method: Option<&str>,
) -> Result<(Form, u64), WorkError> {
    let rewrites: &[String] = if base == ORIGINAL { &[] } else { &[PASS.to_owned()] };
    let session = BTreeMap::from([AS_WRITTEN.map(str::to_owned).into()]);
    let stock = Stock { version: base, rewrites, before: &[], session: &session };
    let candidate = shop.made(&stock, recipe, method)?;
    let runs_here = !matches!(recipe, Recipe::Half { r#type: Half::Bf16, .. });
    let lost_here = runs_here.then(|| shop.loss(candidate.number, Split::Report)).transpose()?;
    let form = Form {
        name,
        file: format!("{name}.onnx"),
        bytes: fs::metadata(shop.file(candidate.number))?.len(),
        lost_here: lost_here.map(|loss| loss.points),
        left: candidate.made.left.len(),
    };
    Ok((form, candidate.number))
}

/// What plans are built for: rows as `ROWS`, other free dimensions as they were seen.
fn ranges<'a>(request: &'a Request, items: &[Item]) -> Vec<Range<'a>> {
    let takes_batches = request.takes_batches();
    let free = request.signature.inputs.iter().filter(|spec| spec.shape.contains(&-1));
    let ranges = free.map(|spec| {
        let inputs = items.iter().flat_map(|item| &item.inputs);
        let shapes: Vec<&[i64]> =
            inputs.filter(|(name, _)| *name == spec.name).map(|(_, array)| array.shape.as_slice()).collect();
        let seen = |axis: usize| {
            let sizes = shapes.iter().filter_map(move |shape| shape.get(axis).copied());
            (sizes.clone().min().unwrap_or(1), sizes.max().unwrap_or(1))
        };
        let mut range = Range { input: &spec.name, min: Vec::new(), opt: Vec::new(), max: Vec::new() };
        for (axis, size) in spec.shape.iter().enumerate() {
            let (least, most) = seen(axis);
            let [min, opt, max] = match *size {
                -1 if axis == 0 && takes_batches => [1, ROWS[0].max(most), ROWS[1].max(most)],
                -1 => [least, most, most],
                size => [size; 3],
            };
            range.min.push(min);
            range.opt.push(opt);
            range.max.push(max);
        }
        range
    });
    ranges.collect()
}

fn fill(
    list: &List<'_>,
    models: &[(&str, PathBuf)],
    arrays: &[(&str, PathBuf)],
    folder: &Path,
) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, from) in models {
        fs::copy(from, folder.join(name)).with_context(|| format!("can't copy {}", from.display()))?;
    }
    for (name, from) in arrays {
        let to = folder.join(name);
        fs::create_dir_all(&to)?;
        for item in 0..list.items {
            fs::copy(file(from, item), file(&to, item)).with_context(|| format!("can't copy item {item}"))?;
        }
    }
    Ok(fs::write(folder.join(LIST), serde_json::to_vec_pretty(list)?)?)
}

fn told(list: &List<'_>, terms: &Terms, folder: &Path) -> String {
    let mega = |bytes: u64| bytes as f64 / 1e6;
    let mut text = String::new();
    let mut line = |words: String| text += &(words + "\n");
    if list.made_up {
        line(
            "WARNING: the inputs are made up: ranges and losses are of them, not of what the model is asked"
                .into(),
        );
    }
    for form in &list.forms {
        let loss = form.lost_here.map_or_else(
            || "ONNX Runtime has it not on processors: a GPU says what it loses".to_owned(),
            |points| {
                format!(
                    "loses {points:.2} points by ONNX Runtime on this processor ({} may be)",
                    list.max_loss
                )
            },
        );
        let sizes = (mega(form.bytes), mega(terms.original_bytes));
        line(format!("{}: {:.2} MB of {:.2}; {loss}", form.name, sizes.0, sizes.1));
    }
    for Refused { name, why } in &list.refused {
        line(format!("{name}: not made: {why}"));
    }
    line(format!("they lie in {}, with {} items; nothing is installed", folder.display(), list.items));
    text
}
