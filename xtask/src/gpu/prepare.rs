//! `cargo xtask gpu prepare`: models and what they are asked enter; for each a folder for TensorRT leaves, made by `forebay optimize
//! --for-tensorrt`: on a machine with a GPU that reaches no registry its tools can't be had.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rig::onnx::{FLOAT, Graph, model, node, value, weights};
use serde_json::json;

use super::tensors::Datatype;
use super::{PrepareSettings, models, pack};
use crate::command::{cargo, command, output, target_folder};
use crate::layout::Layout;
use crate::setup::{self, Part};

/// A small one of two products, which the test double runs too; and Google's file type detector.
pub(super) const MODELS: [&str; 2] = ["dense", "magika"];

/// Points of a hundred that may be lost: of `dense`, of the range of its output; of `magika`, of files whose type is another then.
const MAX_LOSS: &str = "--max-loss=2";

/// Files of the checkout by which magika is calibrated and compared.
const FILES: usize = 300;

/// Bytes of a file that magika reads, at its beginning and at its end, and what stands where it has fewer (`model_config.json` of its
/// wheel).
const READS: usize = 1024;
const PADDING: i32 = 256;

/// Runs `cargo xtask gpu prepare`.
///
/// # Errors
/// The program or a model can't be made.
pub(super) fn run(layout: &Layout, settings: &PrepareSettings) -> Result<()> {
    setup::install(layout, &[Part::Python, Part::Models])?;
    let forebay = match &settings.forebay {
        Some(program) => program.clone(),
        None => build(layout)?,
    };
    let into = settings.into.clone().unwrap_or_else(|| pack::unpacked(layout).join("lighter"));
    let only: Vec<&str> = settings.only.iter().map(String::as_str).collect();
    all(layout, &forebay, &into, &only)
}

fn build(layout: &Layout) -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--release", "--package", "forebay"]).current_dir(&layout.root);
    output(build)?;
    Ok(target_folder(&layout.root)?.join("release/forebay"))
}

/// Makes a folder for each of those models, in place of what was there.
///
/// # Errors
/// As [`run`].
pub(super) fn all(layout: &Layout, forebay: &Path, into: &Path, names: &[&str]) -> Result<()> {
    fs::create_dir_all(into).with_context(|| format!("can't make {}", into.display()))?;
    for name in names {
        println!("gpu: {name} for TensorRT");
        let folder = into.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let scratch = into.join(format!(".{name}"));
        let made = one(layout, forebay, &scratch, name, &folder);
        fs::remove_dir_all(&scratch)?;
        made.with_context(|| format!("{name} can't be prepared"))?;
    }
    Ok(())
}

fn one(layout: &Layout, forebay: &Path, scratch: &Path, name: &str, folder: &Path) -> Result<()> {
    let model = scratch.join(name);
    fs::create_dir_all(model.join("1"))?;
    let mut optimize = command(forebay, ["optimize", MAX_LOSS]);
    match name {
        "dense" => fs::write(model.join("1/model.onnx"), dense())?,
        "magika" => {
            fs::copy(layout.dir.join("models/magika.onnx"), model.join("1/model.onnx"))?;
            let data = scratch.join("data");
            requests(layout, &data)?;
            optimize.arg("--metric=top1").arg("--data").arg(data);
        }
        other => bail!("there is no model {other:?}; there are {}", MODELS.join(" and ")),
    }
    optimize.arg("--for-tensorrt").arg(folder).arg(&model);
    optimize.env("FOREBAY_TOOLS_DIR", layout.dir.join("optimize")).env("FOREBAY_PYTHON", layout.python());
    optimize.env("FOREBAY_WORK_DIR", scratch.join("work")).env("FOREBAY_ONNXRUNTIME", layout.onnxruntime());
    for line in output(optimize)?.lines() {
        println!("    {line}");
    }
    Ok(())
}

/// y = relu(x · w1 + b1) · w2, x of any number of rows.
fn dense() -> Vec<u8> {
    let weight = |name: &str, dims: &[i64]| {
        let numbers = models::tensor(name, Datatype::Fp32, dims).numbers();
        #[allow(clippy::cast_possible_truncation)] // they were FP32
        let numbers: Vec<f32> = numbers.into_iter().map(|number| number as f32).collect();
        weights(name, dims, &numbers)
    };
    model(Graph {
        node: vec![
            node("MatMul", &["x", "w1"], &["product"]),
            node("Add", &["product", "b1"], &["sum"]),
            node("Relu", &["sum"], &["hidden"]),
            rig::onnx::Node { name: "last".to_owned(), ..node("MatMul", &["hidden", "w2"], &["y"]) },
        ],
        name: "dense".to_owned(),
        initializer: vec![weight("w1", &[64, 128]), weight("b1", &[128]), weight("w2", &[128, 10])],
        input: vec![value("x", FLOAT, &[-1, 64])],
        output: vec![value("y", FLOAT, &[-1, 10])],
    })
}

/// Files of this checkout as requests of magika's.
fn requests(layout: &Layout, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut list = command("git", ["ls-files", "-z"]);
    list.current_dir(&layout.root);
    let listed = output(list)?;
    let contents = listed.split('\0').filter_map(|name| fs::read(layout.root.join(name)).ok());
    for (number, content) in contents.filter(|content| !content.is_empty()).take(FILES).enumerate() {
        let input = json!({
            "name": "bytes",
            "datatype": "INT32",
            "shape": [1, 2 * READS],
            "data": features(&content),
        });
        fs::write(folder.join(format!("{number:04}.json")), json!({ "inputs": [input] }).to_string())?;
    }
    Ok(())
}

/// What magika reads of a file: its first and its last bytes, without space around them.
fn features(content: &[u8]) -> Vec<i32> {
    let content = content.trim_ascii();
    let number = |byte: &u8| i32::from(*byte);
    let mut first: Vec<i32> = content.iter().take(READS).map(number).collect();
    first.resize(READS, PADDING);
    let last = content.iter().skip(content.len().saturating_sub(READS)).map(number);
    let mut padded = vec![PADDING; READS.saturating_sub(content.len())];
    padded.extend(last);
    first.extend(padded);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_file_is_padded_after_its_beginning_and_before_its_end() {
        let features = features(b"  ab\n");
        assert_eq!(features.len(), 2 * READS);
        assert_eq!(&features[..3], [97, 98, PADDING]);
        assert_eq!(&features[2 * READS - 3..], [PADDING, 97, 98]);
        let long = super::features(&[7; 5000]);
        assert!(long.iter().all(|feature| *feature == 7));
    }
}
