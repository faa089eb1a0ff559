//! TensorRT-RTX builds engines here, without a GPU; what it can't build is an error that says why.

mod support;

use std::path::Path;
use std::thread;

use forebay_bindings::{
    BuildOptions, DataType, Error, HardwareCompatibilityLevel, Network, Plan, Profile, Range, TensorIOMode,
};
use support::{message, onnx, rtx};

fn parse(model: &[u8]) -> Result<Network, Error> {
    rtx().builder(None).parse(model, None)
}

fn range(input: &str, min: &[i64], max: &[i64]) -> Range {
    let (min, max) = (min.to_vec(), max.to_vec());
    Range { input: input.into(), values: false, min: min.clone(), opt: min, max }
}

/// The small model, with two profiles and a change to the options.
fn build(change: impl FnOnce(&mut BuildOptions)) -> Result<Plan, Error> {
    let profile = |max| Profile { inputs: vec![range("x", &[1, 4], &[max, 4])] };
    let mut options = BuildOptions { profiles: vec![profile(1), profile(32)], ..Default::default() };
    change(&mut options);
    parse(&onnx::dense())?.build(&options)
}

/// Changes the range of the first profile.
fn ranged(change: impl FnOnce(&mut Range)) -> String {
    message(build(|options| change(&mut options.profiles[0].inputs[0])))
}

#[test]
fn a_model_with_free_rows_and_two_profiles_is_built() {
    let network = parse(&onnx::dense()).unwrap();
    let [x] = network.inputs() else { panic!("one input") };
    assert_eq!((x.name.as_str(), x.mode, x.dtype), ("x", TensorIOMode::Input, DataType::Fp32));
    assert_eq!(*x.shape, [-1, 4]);
    assert_eq!(*network.outputs()[0].shape, [-1, 2]);
    assert!(build(|_| ()).unwrap().len() > 10_000);
}

#[test]
fn values_of_a_shape_have_ranges_too() {
    let mut network = parse(&onnx::model(onnx::reshape())).unwrap();
    assert!(!network.inputs()[0].is_shape && network.inputs()[1].is_shape);
    let values = |min: &[i64], max: &[i64]| Range { values: true, ..range("shape", min, max) };
    let options = |values| {
        let profile = Profile { inputs: vec![range("x", &[1], &[8]), values] };
        BuildOptions { profiles: vec![profile], ..Default::default() }
    };
    network.build(&options(values(&[1, 1], &[8, 8]))).unwrap();
    let refused = message(network.build(&options(values(&[1], &[8]))));
    assert!(refused.contains("number of elements in shape tensor shape to be 1"), "{refused}");
}

#[test]
fn real_models_are_parsed() {
    for (name, inputs) in [("vad", 2), ("magika", 1)] {
        let model = support::model(name);
        assert_eq!(parse(&model).unwrap().inputs().len(), inputs, "{name}");
    }
}

#[test]
fn options_that_it_has_are_taken() {
    build(|options| options.hardware_compatibility = Some(HardwareCompatibilityLevel::AmperePlus)).unwrap();
    build(|options| options.compute_capabilities = vec![89, 120]).unwrap();
    build(|options| (options.version_compatible, options.exclude_lean_runtime) = (true, true)).unwrap();
    build(|options| options.sparse_weights = true).unwrap();
    build(|options| options.weight_streaming = true).unwrap();
    build(|options| options.no_tf32 = true).unwrap();
    build(|options| (options.max_threads, options.max_aux_streams) = (Some(2), Some(1))).unwrap();
}

/// A model of rows of four columns, for a GPU of that compute capability.
fn build_for(capability: u16, model: &[u8]) -> Result<Plan, Error> {
    let profiles = vec![Profile { inputs: vec![range("x", &[1, 4], &[32, 4])] }];
    parse(model)?.build(&BuildOptions {
        profiles,
        compute_capabilities: vec![capability],
        ..Default::default()
    })
}

#[test]
fn types_of_fewer_bits_are_the_models_and_those_that_a_gpu_has_not_are_refused() {
    for model in [
        onnx::quantized(onnx::INT8),
        onnx::quantized(onnx::FP8),
        onnx::half(onnx::FP16),
        onnx::half(onnx::BF16),
    ] {
        build_for(89, &model).unwrap();
    }
    let refused = message(build_for(80, &onnx::quantized(onnx::FP8)));
    assert!(refused.contains("HW-specific datatypes: fp8_e4m3"), "{refused}");
    let refused = message(parse(&onnx::quantized(onnx::UINT8)));
    assert!(refused.contains("unsupported input type"), "{refused}");
}

#[test]
fn options_that_it_has_not_are_refused() {
    for (change, words) in [
        (
            (|options| options.timing_cache = Some(Vec::new())) as fn(&mut BuildOptions),
            "TensorRT-RTX times no kernels as it builds: it has no timing cache",
        ),
        (|options| options.compute_capabilities = vec![90], "doesn't build for compute capability 90"),
        (|options| options.compute_capabilities = vec![75], "FP32 GEMM is not supported"),
        (|options| options.exclude_lean_runtime = true, "kVERSION_COMPATIBLE"),
        // Its lean runtime is no part of its package.
        (|options| options.version_compatible = true, "libnvinfer_lean.so.1"),
        (|options| options.workspace = Some(0), "requires workspace memory greater than 0"),
        (|options| options.workspace = Some(u64::MAX), "more than can be counted"),
        (|options| options.max_threads = Some(0), "maxThreads > 0"),
    ] {
        let refused = message(build(change));
        assert!(refused.contains(words), "{refused}");
    }
}

#[test]
fn profiles_that_do_not_fit_the_model_are_refused() {
    let refused = message(build(|options| options.profiles.clear()));
    assert!(refused.contains("no optimization profile has been defined"), "{refused}");
    let refused = message(build(|options| options.profiles[1].inputs.clear()));
    assert!(refused.contains("x is missing dimensions in profile 1"), "{refused}");
    let refused = ranged(|range| range.input = "z".into());
    assert_eq!(refused, "TensorRT can't build the plan: the model has no input z");
    let refused = ranged(|range| range.input = "x\0z".into());
    assert!(refused.contains("the model has no input x"), "{refused}");
    let refused = ranged(|range| range.values = true);
    assert_eq!(refused, "TensorRT can't build the plan: the values of input x decide no shapes");
    assert!(ranged(|range| range.min = vec![7, 4]).contains("MIN<=OPT<=MAX"));
    assert!(ranged(|range| range.max = vec![1; 9]).contains("8 dimensions at most, not 9"));
    for absurd in [vec![-7, 4], vec![1 << 31, 4], vec![i64::MAX, 4], vec![i64::MIN, 4]] {
        let refused = ranged(|range| range.max = absurd.clone());
        assert!(refused.starts_with("TensorRT can't build the plan: "), "{absurd:?}: {refused}");
    }
}

#[test]
fn an_error_names_every_node_that_can_not_be_used() {
    let mut graph = onnx::relu(&[1]);
    graph.node = vec![onnx::node("Nonsense", &["x"], &["z"]), onnx::node("Bogus", &["z"], &["y"])];
    let refused = message(parse(&onnx::model(graph)));
    assert!(refused.contains("node 0 the_Nonsense Nonsense: "), "{refused}");
    assert!(refused.contains("node 1 the_Bogus Bogus: "), "{refused}");
    assert!(!refused.contains('\n'), "{refused}");
}

#[test]
fn what_is_no_model_is_refused() {
    assert_eq!(message(parse(b"")), "TensorRT can't parse the model: it has no outputs");
    for bad in [&b"junk"[..], &onnx::dense()[..60]] {
        let refused = message(parse(bad));
        assert!(refused.contains("Failed to parse the ONNX model"), "{refused}");
    }
    let with_input = |dims: &[i64], elements: i32| {
        let mut graph = onnx::relu(&[1]);
        graph.input = vec![onnx::value("x", elements, dims)];
        message(parse(&onnx::model(graph)))
    };
    assert!(with_input(&[1; 12], onnx::FLOAT).contains("Failed to convert ONNX dimensions"));
    assert!(with_input(&[1], 999).contains("Failed to convert ONNX date type"));
}

#[test]
fn weights_of_a_wrong_size_are_refused() {
    for dims in [vec![4, 4], vec![1 << 40, 1 << 40], vec![-4, -4], vec![1; 9]] {
        let mut graph = onnx::relu(&[-1, 4]);
        graph.node = vec![onnx::node("MatMul", &["x", "w"], &["y"])];
        graph.initializer = vec![onnx::weights("w", &dims, &[0.0; 9])];
        let refused = message(parse(&onnx::model(graph)));
        assert!(refused.contains("Failed to import initializer"), "{dims:?}: {refused}");
    }
}

/// A model whose weights are in a file.
fn external(location: &str) -> Vec<u8> {
    let mut weights = onnx::weights("w", &[4, 4], &[]);
    weights.data_location = 1;
    let entry = |key: &str, value: &str| onnx::Entry { key: key.into(), value: value.into() };
    weights.external_data = vec![entry("location", location), entry("offset", "0"), entry("length", "64")];
    let mut graph = onnx::relu(&[-1, 4]);
    graph.node = vec![onnx::node("MatMul", &["x", "w"], &["y"])];
    graph.initializer = vec![weights];
    onnx::model(graph)
}

#[test]
fn files_of_weights_are_read_beside_the_model_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let (inside, model) = (folder.path().join("inside"), folder.path().join("inside/model.onnx"));
    std::fs::create_dir(&inside).unwrap();
    for file in [inside.join("weights"), folder.path().join("weights")] {
        std::fs::write(file, [0; 64]).unwrap();
    }
    let builder = rtx().builder(None);
    builder.parse(&external("weights"), Some(&model)).unwrap();
    for elsewhere in ["../weights", "/etc/hostname", "missing"] {
        message(builder.parse(&external(elsewhere), Some(&model)));
    }
    // Without a path not even the current folder, which is the package's in a test.
    assert!(Path::new("Cargo.toml").is_file());
    let refused = message(parse(&external("Cargo.toml")));
    assert!(refused.contains("Failed to open file"), "{refused}");
}

#[test]
fn a_small_model_with_any_byte_changed_ends_no_process() {
    let model = onnx::dense();
    let mut refused = 0;
    for place in 0..model.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut bytes = model.clone();
            bytes[place] ^= change;
            refused += usize::from(parse(&bytes).is_err());
        }
        refused += usize::from(parse(&model[..place]).is_err());
    }
    assert!(refused > model.len(), "{refused} of {}", 4 * model.len());
}

#[test]
fn models_are_built_by_several_threads_at_once() {
    // For GPUs of other kinds: without turns such builds fail now and then.
    let builds = [vec![89], vec![120], vec![80, 86], vec![]].map(|capabilities| {
        thread::spawn(|| build(|options| options.compute_capabilities = capabilities).map(|plan| plan.len()))
    });
    for build in builds {
        assert!(build.join().unwrap().unwrap() > 10_000);
    }
}
