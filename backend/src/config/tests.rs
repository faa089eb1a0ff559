use super::*;

fn parsed(text: &str) -> Result<ModelConfig, String> {
    parse(Path::new("m/config.pbtxt"), text.as_bytes(), "m").map_err(|error| error.to_string())
}

#[test]
fn a_config_as_people_write_it_is_accepted() {
    let config = parsed(
        r#"
        # a comment
        name: "m"
        platform: "onnxruntime_onnx"
        max_batch_size: 8
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 3, -1 ] } ]
        output [
          { name: "y", data_type: TYPE_STRING, dims: [ 1 ] }
        ]
        instance_group [ { count: 2 kind: KIND_CPU } ]
        dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }
        response_cache { enable: true }
        parameters { key: "forebay_max_age_s" value: { string_value: "60" } }
        parameters: { key: "other" value: { string_value: "x" } }
        version_policy: { latest: { num_versions: 2 } }
        optimization { execution_accelerators { gpu_execution_accelerator : [ { name : "tensorrt" } ] } }
        "#,
    )
    .unwrap();
    assert_eq!(config.max_batch_size, 8);
    assert_eq!(config.input[0].dims, [3, -1]);
    assert_eq!(datatype(config.output[0].data_type), Some(DataType::Bytes));
    assert_eq!(config.instances(Platform::OnnxRuntime, 1), [Device::Cpu; 2]);
    assert!(config.response_cache.is_some_and(|cache| cache.enable));
    assert_eq!(config.parameters["forebay_max_age_s"].string_value, "60");
}

#[test]
fn a_field_of_another_version_is_left_out_and_the_rest_is_served() {
    let config = parsed(
        "max_batch_size: 4\nnew_feature { of: [ 1, 2 ] }\ninput [ { name: \"x\" dims: [ 1 ] colour: RED } ]\noutput [ ]",
    );
    let config = config.unwrap();
    assert_eq!((config.max_batch_size, &config.input[0].dims[..]), (4, &[1][..]));
    // Where it stands doesn't change the lines of what follows.
    let error = parsed("future { }\n\nmax_batch_size: \"four\"\n").unwrap_err();
    assert!(error.starts_with("m/config.pbtxt:3: "), "{error}");
    assert!(parsed(&"future: 1 ".repeat(100)).unwrap_err().contains("not found"));
}

#[test]
fn broken_syntax_is_refused_with_its_line() {
    let error = parsed("name: \"m\"\ninput [ { name: \"x\" \n").unwrap_err();
    assert!(error.starts_with("m/config.pbtxt:3: "), "{error}");
    assert!(parse(Path::new("c"), b"name: \"\xff\"", "m").unwrap_err().to_string().contains("not UTF-8"));
}

#[test]
fn what_cant_be_served_is_refused_with_field_and_line() {
    for (text, expected) in [
        ("\nname: \"other\"", "m/config.pbtxt:2: name: is \"other\""),
        ("platform: \"tensorflow_graphdef\"", "m/config.pbtxt:1: platform: \"tensorflow_graphdef\""),
        ("backend: \"python\"", "backend: \"python\" is not served"),
        ("max_batch_size: -1", "max_batch_size: is -1"),
        ("sequence_batching { }", "sequence_batching: is not served: stateful models"),
        ("ensemble_scheduling { }", "ensemble_scheduling: is not served: ensembles"),
        ("model_transaction_policy { decoupled: true }", "decoupled"),
        ("default_model_filename: \"../x\"", "default_model_filename"),
        ("instance_group [ { count: -2 } ]", "count is -2"),
    ] {
        let error = parsed(text).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn each_value_that_is_wrong_is_told_with_its_own_line() {
    let line = |text: &str, line: usize, expected: &str| {
        let error = parsed(text).unwrap_err();
        let place = format!("m/config.pbtxt:{line}: ");
        assert!(error.starts_with(&place) && error.contains(expected), "{error}\n{text}");
    };
    let names =
        "input [ { name: \"a\" data_type: TYPE_FP32 dims: [ 1 ] },\n{ name: \"b\" dims: [ 1,\n0 ] } ]\n";
    line(&format!("# name: \"m\"\n{names}"), 4, "input[1].dims[1]: is 0");
    line(&format!("{}name: \"other\"", names.replace('0', "2")), 4, "name: is \"other\"");
    line("# name: \"m\"\ninput { name: \"m\" }\n\n  name  :  'other'", 4, "name: ");
    line("input { name: \"x\" }\ninput {\n name: \"x\" }", 3, "input[1].name: \"x\" stands twice");
    line(
        "output { name: \"y\" label_filename: \"ok\" }\noutput { name: \"z\"\nlabel_filename: \"../x\" }",
        3,
        "label",
    );
    line("instance_group { }\ninstance_group [\n{ count: 1\ngpus: [ 0,\n-1 ] } ]", 5, "gpus has -1");
    line("instance_group { kind: KIND_CPU\n gpus: 0 }", 2, "the group is KIND_CPU");
    line("version_policy {\nlatest { } }", 2, "num_versions: is 0");
    line("version_policy {\nspecific { } }", 2, "must name a version");
    line(
        "model_repository_agents {\nagents { name: \"checksum\" }\nagents { name: \"own\" } }",
        3,
        "\"own\" is not served",
    );
    line(
        "parameters { key: \"batch_input\" value { } } optimization { }\nbatch_input { kind: BATCH_ITEM_SHAPE }",
        2,
        "batch_input",
    );
    let json = from_json("{\n\"name\": \"m\",\n\"output\": [ { \"name\": \"y\",\n\"dims\": [ 0 ] } ] }", "m");
    let error = json.unwrap_err().to_string();
    assert!(error.starts_with("the parameter config:4: output[0].dims[0]: is 0"), "{error}");
}

#[test]
fn a_format_is_told_and_wants_three_dims() {
    let input = |dims: &str| {
        format!("input {{ name: \"x\" data_type: TYPE_FP32\nformat: FORMAT_NCHW dims: {dims} }}")
    };
    let error = parsed(&input("[ 3, 4 ]")).unwrap_err();
    assert!(
        error.contains("config.pbtxt:2: input[0].format: FORMAT_NCHW wants 3 dims, there are 2"),
        "{error}"
    );
    let config = parsed(&input("[ 3, 4, -1 ]")).unwrap();
    assert_eq!(proto::to_json("ModelConfig", &config)["input"][0]["format"], "FORMAT_NCHW");
}

#[test]
fn a_passive_group_has_no_session() {
    let config =
        parsed("instance_group [ { count: 2 kind: KIND_CPU }, { count: 7 passive: true } ]").unwrap();
    assert_eq!(config.instances(Platform::OnnxRuntime, 0), [Device::Cpu; 2]);
}

#[test]
fn an_empty_config_asks_for_nothing() {
    let config = parsed("").unwrap();
    let platform = config.platform(|_| false);
    assert_eq!((platform, config.model_file(platform, |_| false)), (Platform::OnnxRuntime, "model.onnx"));
    assert_eq!(config.instances(platform, 1), []);
}

#[test]
fn a_models_platform_is_what_it_says_or_what_its_file_is() {
    let platform = |text: &str, files: &[&str]| parsed(text).unwrap().platform(|name| files.contains(&name));
    for (text, files, expected) in [
        ("", &["model.plan"][..], Platform::TensorRt),
        ("", &["model.plan", "model.onnx"], Platform::OnnxRuntime),
        ("platform: \"tensorrt_plan\"", &["model.onnx"], Platform::TensorRt),
        ("backend: \"tensorrt\"", &[], Platform::TensorRt),
        ("backend: \"onnxruntime\"", &["model.plan"], Platform::OnnxRuntime),
        ("default_model_filename: \"net.onnx\"", &["model.plan"], Platform::OnnxRuntime),
    ] {
        assert_eq!(platform(text, files), expected, "{text:?} {files:?}");
    }
    let file = |text: &str, files: &[&str]| {
        let has = |name: &str| files.contains(&name);
        parsed(text).unwrap().model_file(Platform::TensorRt, has).to_owned()
    };
    assert_eq!(file("backend: \"tensorrt\"", &["model.onnx"]), "model.onnx");
    assert_eq!(file("backend: \"tensorrt\"", &["model.onnx", "model.plan"]), "model.plan");
    assert_eq!(file("backend: \"tensorrt\"", &[]), "model.plan");
    assert_eq!(file("default_model_filename: \"net.onnx\"", &["model.onnx"]), "net.onnx");
    let error = parsed("platform: \"tensorrt_plan\"\nbackend: \"onnxruntime\"").unwrap_err();
    assert!(error.contains("m/config.pbtxt:2: backend: \"onnxruntime\" is not the backend"), "{error}");
}

#[test]
fn instances_are_counted_for_each_gpu_that_a_group_names_or_for_all() {
    let config =
        parsed("instance_group [ { count: 2 kind: KIND_GPU gpus: [ 0, 3 ] }, { kind: KIND_MODEL } ]")
            .unwrap();
    let gpu = Device::Gpu;
    let named = [gpu(0), gpu(0), gpu(3), gpu(3), Device::Cpu];
    assert_eq!(config.instances(Platform::OnnxRuntime, 4), named);
    for kind in ["KIND_GPU", "KIND_AUTO"] {
        let config = parsed(&format!("instance_group {{ count: 2 kind: {kind} }}")).unwrap();
        assert_eq!(config.instances(Platform::TensorRt, 2), [gpu(0), gpu(0), gpu(1), gpu(1)]);
        assert_eq!(config.instances(Platform::TensorRt, 0), [gpu(0), gpu(0)]);
    }
    assert_eq!(Platform::TensorRt.devices(4, 3), [gpu(0), gpu(1), gpu(2)]);
    let error = parsed("instance_group { kind: KIND_GPU gpus: -1 }").unwrap_err();
    assert!(error.contains("gpus has -1"), "{error}");
}
