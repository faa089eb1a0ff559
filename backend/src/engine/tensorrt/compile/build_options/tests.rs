//! What of `config.pbtxt` becomes a build's options and profiles, and what is refused with which words.

use std::path::Path;

use forebay_bindings::{Flavour, Library, Profile, Range};
use tensorrt_double::onnx::{self, Type};

use super::*;
use crate::engine::onnx::inputs;

fn config(text: &str) -> ModelConfig {
    config::parse(Path::new("config.pbtxt"), text.as_bytes(), "m").unwrap()
}

/// A configuration with those parameters of the accelerator.
fn parameters(parameters: &[(&str, &str)]) -> String {
    let all =
        parameters.iter().map(|(key, value)| format!("parameters {{ key: \"{key}\" value: \"{value}\" }}"));
    let all = all.collect::<Vec<_>>().join(" ");
    format!(
        "optimization {{ execution_accelerators {{ gpu_execution_accelerator {{ name: \"tensorrt\" {all} }} }} }}"
    )
}

fn input(name: &str, shape: &[i64]) -> Input {
    Input { name: name.into(), shape: shape.into() }
}

/// Of a model with inputs x of [-1, 4] and y of [-1, -1].
fn built(text: &str) -> Result<BuildOptions, String> {
    of(&config(text), &[input("x", &[-1, 4]), input("y", &[-1, -1])]).map_err(|error| error.to_string())
}

type Shown<'a> = (&'a str, Vec<i64>, Vec<i64>, Vec<i64>);

fn shown(profile: &Profile) -> Vec<Shown<'_>> {
    let shown = |range: &'_ Range| (range.min.clone(), range.opt.clone(), range.max.clone());
    let named = profile.inputs.iter().map(|range| {
        let (min, opt, max) = shown(range);
        (range.input.as_str(), min, opt, max)
    });
    named.collect()
}

#[test]
fn ranges_come_from_batches_and_dims() {
    let dims = "input [ { name: \"y\" data_type: TYPE_FP32 dims: [ 7 ] } ]";
    let options = built(&format!("max_batch_size: 16 {dims}")).unwrap();
    let [profile] = &options.profiles[..] else { panic!("{options:?}") };
    assert_eq!(
        shown(profile),
        [("x", vec![1, 4], vec![16, 4], vec![16, 4]), ("y", vec![1, 7], vec![16, 7], vec![16, 7])]
    );
    let batching = "dynamic_batching { preferred_batch_size: [ 2, 8, 99 ] }";
    let options = built(&format!("max_batch_size: 16 {dims} {batching}")).unwrap();
    assert_eq!(options.profiles[0].inputs[0].opt, [8, 4]);
    let all = "input [ { name: \"x\" dims: [ 3, 4 ] }, { name: \"y\" dims: [ 1, 2 ] } ]";
    let options = built(all).unwrap();
    assert_eq!(shown(&options.profiles[0])[1], ("y", vec![1, 2], vec![1, 2], vec![1, 2]));
    let reshaped = dims.replace("[ 7 ]", "[ 1, 7 ] reshape { shape: [ 7 ] }");
    let options = built(&format!("max_batch_size: 16 {reshaped}")).unwrap();
    assert_eq!(shown(&options.profiles[0])[1], ("y", vec![1, 7], vec![16, 7], vec![16, 7]));
    let fixed = of(&ModelConfig::default(), &[input("x", &[2, 4])]).unwrap();
    assert!(fixed.profiles.is_empty(), "nothing is free");
}

#[test]
fn a_free_dimension_without_a_range_is_refused_with_what_to_write() {
    let refused = built("max_batch_size: 8").unwrap_err();
    for expected in [
        "config.pbtxt: minShapes, maxShapes of the accelerator tensorrt must give \"y\" [-1, -1] a range",
        "parameters { key: \"minShapes\" value: \"y:1x1\" }",
        "parameters { key: \"maxShapes\" value: \"y:8x8\" }",
    ] {
        assert!(refused.contains(expected), "{refused}");
    }
    let text = parameters(&[("minShapes", "y:1x1"), ("maxShapes", "y:8x8")]);
    assert_eq!(built(&format!("max_batch_size: 8 {text}")).unwrap().profiles.len(), 1, "as it says");
}

#[test]
fn shapes_are_taken_as_given_one_profile_for_each_time_that_an_input_is_named() {
    let text = parameters(&[
        ("minShapes", "x:1x4, y:1x1, x:1x4, y:1x1"),
        ("optShapes", "x:2x4,y:2x2,x:32x4,y:3x3"),
        ("maxShapes", "x:4x4,y:9x9,x:64x4,y:9x9"),
    ]);
    let options = built(&text).unwrap();
    let opts = options.profiles.iter().map(|profile| shown(profile)[0].2.clone()).collect::<Vec<_>>();
    assert_eq!(opts, [[2, 4], [32, 4]]);
    let without_opt = parameters(&[("minShapes", "x:1x4"), ("maxShapes", "x:4x4")]);
    let all = of(&config(&without_opt), &[input("x", &[-1, 4])]).unwrap();
    assert_eq!(shown(&all.profiles[0]), [("x", vec![1, 4], vec![4, 4], vec![4, 4])]);
    let coloned = parameters(&[("minShapes", "input:0:1"), ("maxShapes", "input:0:4")]);
    assert_eq!(of(&config(&coloned), &[input("input:0", &[-1])]).unwrap().profiles.len(), 1);
}

#[test]
fn shapes_that_fit_nothing_are_refused_by_their_key() {
    for (min, max, expected) in [
        ("x:1x4", "x", "maxShapes has \"x\", must be of inputs and shapes"),
        ("x:1x4", "", "maxShapes has \"\", must be of inputs"),
        ("x:1x4", "x:ax4", "maxShapes has \"x:ax4\""),
        ("x:1x4", "x:99999999999999999999x4", "maxShapes has \"x:99999999999999999999x4\""),
        ("x:1x4", "x:9999999999x4", "maxShapes gives \"x\" 9999999999, must be from 0 to 2147483647"),
        ("x:-1x4", "x:4x4", "minShapes gives \"x\" -1, must be from 0"),
        ("x:1x4", "x:4x5", "gives \"x\" [4, 5], the model has [-1, 4]"),
        ("x:1x4", "x:4x4x1", "gives \"x\" [4, 4, 1], the model has [-1, 4]"),
        ("x:5x4", "x:4x4", "maxShapes of \"x\" must not be below minShapes"),
        ("z:1", "z:2", "minShapes names \"z\", the model's inputs are \"x\", \"y\""),
        ("x:1x4", "x:1x4,x:2x4", "minShapes has 1 profiles, maxShapes 2"),
        ("x:1x4,y:1x1", "x:1x4", "maxShapes lacks \"y\" in profile 0"),
    ] {
        let refused = built(&parameters(&[("minShapes", min), ("maxShapes", max)])).unwrap_err();
        assert!(refused.starts_with("config.pbtxt: ") && refused.contains(expected), "{refused}");
    }
    let refused = built(&parameters(&[("optShapes", "x:1x4")])).unwrap_err();
    assert!(refused.contains("optShapes has 1 profiles, maxShapes 0"), "{refused}");
}

#[test]
fn every_key_sets_what_it_names() {
    let text = parameters(&[
        ("max_workspace_size_bytes", "1073741824"),
        ("builderOptimizationLevel", "5"),
        ("maxAuxStreams", "0"),
        ("sparsity", "enable"),
        ("noTF32", "true"),
        ("hardwareCompatibilityLevel", "ampere+"),
        ("computeCapabilities", "89,120"),
        ("versionCompatible", "1"),
        ("excludeLeanRuntime", "on"),
    ]);
    let options = of(&config(&text), &[]).unwrap();
    let set = (options.workspace, options.optimization_level, options.max_aux_streams);
    assert_eq!(set, (Some(1 << 30), Some(5), Some(0)));
    assert!(options.sparse_weights && options.no_tf32);
    assert!(options.version_compatible && options.exclude_lean_runtime);
    assert_eq!(options.hardware_compatibility, Some(HardwareCompatibilityLevel::AmperePlus));
    assert_eq!(options.compute_capabilities, [89, 120]);
}

#[test]
fn what_is_wrong_or_unknown_is_refused_by_its_key() {
    for (key, value, expected) in [
        (
            "builderOptimizationLevel",
            "6",
            "builderOptimizationLevel is \"6\", must be a whole number from 0 to 5",
        ),
        ("max_workspace_size_bytes", "0", "must be a whole number from 1 to 18446744073709551615"),
        ("maxAuxStreams", "-1", "from 0 to 255"),
        ("sparsity", "force", "sparsity is \"force\", must be enable or disable"),
        ("noTF32", "yes", "noTF32 is \"yes\", must be 0 or 1"),
        ("hardwareCompatibilityLevel", "hopper", "must be none, ampere+ or sameComputeCapability"),
        ("computeCapabilities", "8.9", "computeCapabilities is \"8.9\", must be numbers"),
        ("precision_mode", "FP16", "precision_mode can't be chosen"),
        ("trt_fp16_enable", "1", "trt_fp16_enable is not known to the accelerator tensorrt; minShapes, "),
    ] {
        let refused = built(&parameters(&[(key, value)])).unwrap_err();
        assert!(refused.starts_with("config.pbtxt: ") && refused.contains(expected), "{refused}");
    }
    let accelerators = |text: &str| built(&format!("optimization {{ execution_accelerators {{ {text} }} }}"));
    let refused = accelerators("gpu_execution_accelerator { name: \"cuda\" }").unwrap_err();
    assert!(
        refused.contains("gpu_execution_accelerator of a model that TensorRT runs is tensorrt"),
        "{refused}"
    );
    let refused = accelerators("cpu_execution_accelerator { name: \"openvino\" }").unwrap_err();
    assert!(refused.contains("cpu_execution_accelerator is not for models"), "{refused}");
}

/// TensorRT-RTX, which builds without a GPU.
fn rtx() -> Library {
    Library::open(rig::installed::tensorrt_rtx(), Flavour::Rtx).unwrap()
}

#[test]
fn nvidias_builder_takes_what_is_derived() {
    let free = Model::of(&onnx::layer());
    let rtx = rtx();
    let keys = parameters(&[("computeCapabilities", "89"), ("builderOptimizationLevel", "1")]);
    let two = parameters(&[("minShapes", "x:1x2,x:1x2"), ("maxShapes", "x:4x2,x:64x2")]);
    for text in [format!("max_batch_size: 8 {keys}"), two] {
        let options = of(&config(&text), &free.inputs).unwrap();
        let plan = rtx.builder(None).parse(&free.bytes, None).unwrap().build(&options).unwrap();
        assert!(plan.len() > 1000, "{text}");
    }
    // An input that is a shape: its values have the range.
    let reshape = Model::of(
        &onnx::Model::new("reshape")
            .input("x", Type::F32, &[None])
            .input("shape", Type::I64, &[Some(2)])
            .node("Reshape", &["x", "shape"], "y")
            .output("y", Type::F32, &[None, None]),
    );
    let values = parameters(&[
        ("minShapes", "x:1,shape:1x1"),
        ("optShapes", "x:6,shape:2x3"),
        ("maxShapes", "x:8,shape:8x8"),
    ]);
    let options = of(&config(&values), &reshape.inputs).unwrap();
    assert!(options.profiles[0].inputs[1].values);
    rtx.builder(None).parse(&reshape.bytes, None).unwrap().build(&options).unwrap();
}

struct Model {
    bytes: Vec<u8>,
    inputs: Vec<Input>,
}

impl Model {
    fn of(model: &onnx::Model) -> Self {
        let bytes = model.encode();
        let inputs = inputs(&bytes).unwrap();
        Self { bytes, inputs }
    }
}
