//! How a model comes to the engine: a model enters; it leaves as a plan or as ONNX to compile, in a repository, beside itself for
//! ONNX Runtime.

use std::fs;
use std::path::Path;

use crate::gpu::kit::{Engine, Kit};
use crate::gpu::models::Case;
use crate::gpu::task::{self, Range};

/// How a model comes to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As a plan that was built before.
    Plan,
    /// As ONNX, which the server has compiled when it loads it.
    Compiled,
}

impl Form {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Compiled => "compiled",
        }
    }
}

/// The name by which the model or its plan is served.
pub(super) fn served(case: &Case, by: &str) -> String {
    format!("{}_{by}", case.name)
}

/// Lays the model out as ONNX Runtime takes it, and in that form beside it.
pub(super) fn lay_out(
    case: &Case,
    form: Form,
    kit: &Kit,
    engine: &Engine,
    repository: &Path,
) -> Result<(), String> {
    let folder = |by: &str| repository.join(served(case, by)).join("1");
    let told = |error: std::io::Error| error.to_string();
    for by in ["onnx", form.name()] {
        fs::create_dir_all(folder(by)).map_err(told)?;
    }
    fs::copy(&case.model, folder("onnx").join("model.onnx")).map_err(told)?;
    let to = folder(form.name());
    if form == Form::Plan {
        return task::build(kit, engine, &case.model, &to.join("model.plan"), &case.ranges);
    }
    fs::copy(&case.model, to.join("model.onnx")).map_err(told)?;
    fs::write(to.with_file_name("config.pbtxt"), config(case, engine)).map_err(told)
}

/// Has TensorRT compile the model, for the same shapes as its plan.
fn config(case: &Case, engine: &Engine) -> String {
    let shapes = |shape: fn(&Range) -> &[i64]| {
        let dims = |range| shape(range).iter().map(i64::to_string).collect::<Vec<_>>().join("x");
        let shapes = case.ranges.iter().map(|range| format!("{}:{}", range.input, dims(range)));
        shapes.collect::<Vec<_>>().join(",")
    };
    let capabilities = engine.compute_capabilities.iter().map(u16::to_string);
    let parameters = [
        ("minShapes", shapes(|range| &range.min)),
        ("optShapes", shapes(|range| &range.opt)),
        ("maxShapes", shapes(|range| &range.max)),
        ("computeCapabilities", capabilities.collect::<Vec<_>>().join(",")),
    ];
    let parameters = parameters.iter().filter(|(_, value)| !value.is_empty());
    let parameters =
        parameters.map(|(key, value)| format!("parameters {{ key: \"{key}\" value: \"{value}\" }}\n"));
    format!(
        "backend: \"tensorrt\"\noptimization {{ execution_accelerators {{ gpu_execution_accelerator {{\n\
         name: \"tensorrt\"\n{}}} }} }}\n",
        parameters.collect::<String>()
    )
}
