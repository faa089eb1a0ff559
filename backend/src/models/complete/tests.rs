use std::collections::BTreeMap;

use super::*;
use crate::engine::entries::Entries;

fn spec(name: &str, shape: &[i64]) -> TensorSpec {
    TensorSpec { name: name.into(), datatype: DataType::Fp32, shape: shape.to_vec(), is_optional: false }
}

fn signature(input: &[i64], output: &[i64]) -> Signature {
    Signature { inputs: vec![spec("a", input)], outputs: vec![spec("y", output)] }
}

fn completed(text: &str, signature: &Signature, completion: Completion) -> Result<ModelConfig, Incomplete> {
    completed_on(text, signature, completion, Platform::OnnxRuntime, 0)
}

fn completed_on(
    text: &str,
    signature: &Signature,
    completion: Completion,
    platform: Platform,
    gpus: usize,
) -> Result<ModelConfig, Incomplete> {
    let path = std::path::Path::new("config.pbtxt");
    let config = crate::config::parse(path, text.as_bytes(), "m").unwrap();
    let files = ModelFiles {
        platform,
        model_file: "model.onnx".into(),
        files: BTreeMap::new(),
        entries: Entries::default(),
    };
    let mut devices = config.instances(platform, gpus);
    if devices.is_empty() {
        devices = platform.devices(3, gpus);
    }
    complete(config, &Completing { name: "m", signature, files: &files, devices: &devices, gpus }, completion)
}

/// `max_batch_size`, whether requests are batched, dims of the input and of the output.
fn batch(config: &ModelConfig) -> (i32, bool, &[i64], &[i64]) {
    let is_dynamic = matches!(config.scheduling_choice, Some(SchedulingChoice::DynamicBatching(_)));
    (config.max_batch_size, is_dynamic, &config.input[0].dims, &config.output[0].dims)
}

const ON: Completion = Completion { is_on: true, max_batch_size: 4 };

#[test]
fn a_model_with_free_first_dimensions_gets_a_batch_of_4_and_dynamic_batching() {
    let free = signature(&[-1, 3], &[-1, 2]);
    assert_eq!(batch(&completed("", &free, ON).unwrap()), (4, true, &[3][..], &[2][..]));
    let wanted = Completion { max_batch_size: 16, ..ON };
    assert_eq!(batch(&completed("", &free, wanted).unwrap()), (16, true, &[3][..], &[2][..]));
    let none = Completion { max_batch_size: 0, ..ON };
    assert_eq!(batch(&completed("", &free, none).unwrap()), (0, false, &[-1, 3][..], &[-1, 2][..]));
    assert_eq!(batch(&completed("max_batch_size: 8", &free, ON).unwrap()), (8, true, &[3][..], &[2][..]));
    assert_eq!(batch(&completed("max_batch_size: 1", &free, ON).unwrap()), (1, false, &[3][..], &[2][..]));
    for fixed in [signature(&[2, 3], &[-1, 2]), signature(&[-1, 3], &[2]), signature(&[], &[-1])] {
        let config = completed("", &fixed, ON).unwrap();
        assert_eq!((config.max_batch_size, config.scheduling_choice), (0, None));
    }
    let plan = completed_on("", &free, ON, Platform::TensorRt, 1).unwrap();
    assert_eq!(batch(&plan), (0, false, &[-1, 3][..], &[-1, 2][..]));
}

#[test]
fn what_lists_inputs_and_outputs_is_left_as_it_is_and_one_list_alone_is_filled_in() {
    let free = signature(&[-1, 3], &[-1, 2]);
    let (input, output) = (
        "input { name: \"a\" data_type: TYPE_FP32 dims: [ -1, 3 ] }",
        "output { name: \"y\" data_type: TYPE_FP32 dims: [ -1, 2 ] }",
    );
    let whole = completed(&format!("{input} {output}"), &free, ON).unwrap();
    assert_eq!(batch(&whole), (0, false, &[-1, 3][..], &[-1, 2][..]));
    let half = completed("output { name: \"y\" data_type: TYPE_FP32 dims: [ -1 ] }", &free, ON).unwrap();
    assert_eq!(batch(&half), (4, true, &[3][..], &[-1][..]));
}

#[test]
fn what_has_no_dims_is_told_as_1() {
    let config = completed("", &signature(&[-1], &[-1, 2]), ON).unwrap();
    assert_eq!(batch(&config), (4, true, &[1][..], &[2][..]));
    assert_eq!(config.input[0].reshape, Some(ModelTensorReshape::default()));
    let scalar = completed("", &signature(&[], &[-1]), ON).unwrap();
    assert_eq!((batch(&scalar), &scalar.input[0].reshape), ((0, false, &[1][..], &[-1][..]), &None));
}

#[test]
fn groups_without_a_name_or_count_get_tritons() {
    let fixed = signature(&[1], &[1]);
    let groups = |text: &str, platform: Platform| {
        let config = completed_on(text, &fixed, ON, platform, 2).unwrap();
        let of = |group: ModelInstanceGroup| (group.name.clone(), group.count, group.kind(), group.gpus);
        config.instance_group.into_iter().map(of).collect::<Vec<_>>()
    };
    let group = |name: &str, count, kind, gpus: &[i32]| (name.to_owned(), count, kind, gpus.to_vec());
    assert_eq!(groups("", Platform::OnnxRuntime), [group("m_0", 3, Kind::Cpu, &[])]);
    assert_eq!(groups("", Platform::TensorRt), [group("m_0", 1, Kind::Gpu, &[0, 1])]);
    let text = "instance_group [ { kind: KIND_CPU }, { name: \"own\" count: 5 }, { kind: KIND_GPU }, { kind: KIND_MODEL } ]";
    let expected = [
        group("m_0", 2, Kind::Cpu, &[]),
        group("own", 5, Kind::Cpu, &[]),
        group("m_2", 1, Kind::Gpu, &[0, 1]),
        group("m_3", 1, Kind::Model, &[]),
    ];
    assert_eq!(groups(text, Platform::OnnxRuntime), expected);
}

#[test]
fn nothing_is_filled_in_where_a_configuration_must_say_it_all() {
    let off = Completion { is_on: false, ..ON };
    let error = completed("", &signature(&[-1, 3], &[-1, 2]), off).unwrap_err().to_string();
    assert!(error.contains("lists no input") && error.contains("\"a\""), "{error}");
    let input = "input { name: \"a\" data_type: TYPE_FP32 dims: [ -1, 3 ] }";
    assert!(completed(input, &signature(&[-1, 3], &[]), off).unwrap_err().to_string().contains("no output"));
}

#[test]
fn dynamic_batching_prefers_the_largest_batch_unless_it_says_otherwise() {
    let free = signature(&[-1, 3], &[-1, 2]);
    let preferred = |text: &str| match completed(text, &free, ON).unwrap().scheduling_choice {
        Some(SchedulingChoice::DynamicBatching(dynamic)) => dynamic.preferred_batch_size,
        other => panic!("{other:?}"),
    };
    assert_eq!(preferred(""), [4]);
    assert_eq!(preferred("max_batch_size: 8 dynamic_batching { preferred_batch_size: [ 2 ] }"), [2]);
}
