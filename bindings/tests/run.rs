//! Engines run on the test double: what is right comes back, and what would be wrong is an error before the GPU sees it.

mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use forebay_bindings::cuda::CudaError;
use forebay_bindings::{BuildOptions, DataType, Error, Scratch, SharedScratch, TensorIOMode};
use serde_json::json;
use support::double::{
    self, LIMIT, Lane, affine, affine_context, device, double, engine, expected, library, rows,
};
use support::message;

#[test]
fn an_engine_tells_what_it_takes_and_gives() {
    let _held = double();
    let engine = engine(&affine(|_| ()).unwrap());
    let [x, y] = engine.tensors() else { panic!("two tensors") };
    assert_eq!((x.name.as_str(), x.mode, x.dtype), ("x", TensorIOMode::Input, DataType::Fp32));
    assert_eq!((y.name.as_str(), y.mode, y.dtype), ("doubled", TensorIOMode::Output, DataType::Fp32));
    assert_eq!(*x.shape, [-1, 4]);
    let ranges: Vec<_> = x.profiles.iter().map(|range| (range.min[0], range.opt[0], range.max[0])).collect();
    assert_eq!(ranges, [(1, 4, 4), (1, 64, 64)]);
    assert!(y.profiles.is_empty());
    assert_eq!((engine.profiles(), engine.tensor("doubled"), engine.tensor("z")), (2, Some(1), None));
    assert_eq!(message(engine.scratch_size(2)), "there is no profile 2: the engine has 2");
}

#[test]
fn rows_go_in_and_rows_of_any_number_in_the_profile_come_out() {
    let _held = double();
    let mut context = affine_context();
    let mut lane = Lane::new(&device());
    for rows in [1, 4, 2] {
        context.set_input_shape(0, &[i64::try_from(rows).unwrap(), 4]).unwrap();
        context.infer_shapes().unwrap();
        assert_eq!(context.size(1).unwrap(), rows * 16);
        lane.fill(&vec![3.0; rows * 4]);
        lane.start(&mut context, rows * 4).unwrap();
        assert_eq!(lane.finish(rows * 4), expected(3.0, rows));
    }
}

/// What a model of rows of four columns makes of a row.
fn row(model: &[u8], row: [f32; 4]) -> Result<Vec<f32>, Error> {
    let options = BuildOptions { profiles: vec![rows(1, 4, &[4])], ..BuildOptions::default() };
    let plan = library().builder(Some(&device())).parse(model, None)?.build(&options)?;
    let mut context = engine(&plan).context(Scratch::Own)?;
    let mut lane = Lane::new(&device());
    context.set_input_shape(0, &[1, 4])?;
    lane.fill(&row);
    lane.start(&mut context, 4)?;
    Ok(lane.finish(4))
}

#[test]
fn a_network_is_strongly_typed_the_model_says_each_type() {
    let _held = double();
    // Halves alone are left by the scale, and 127 of them are the most.
    let [coarse, cut] = [[0.7, 0.2, 2.0, 0.0], [1000.0, 0.0, 0.0, 0.0]];
    let int8 = support::onnx::quantized(support::onnx::INT8);
    assert_eq!(row(&int8, coarse).unwrap(), [1.25; 4]);
    assert_eq!(row(&int8, cut).unwrap(), [31.75; 4]);
    // 11 bits hold 2049 as 2048, 8 bits 257 as 256.
    for (kind, value, held) in [(support::onnx::FP16, 2049.0, 2048.0), (support::onnx::BF16, 257.0, 256.0)] {
        assert_eq!(row(&support::onnx::half(kind), [value, 0.0, 0.0, 0.0]).unwrap(), [held; 4]);
    }
}

#[test]
fn types_that_the_gpu_or_tensorrt_has_not_are_refused_by_name() {
    let _held = double();
    let refused = message(row(&support::onnx::quantized(support::onnx::FP8), [1.0; 4]));
    assert!(
        refused.contains("Cannot compile for target(s) sm86") && refused.contains("fp8_e4m3"),
        "{refused}"
    );
    let refused = message(row(&support::onnx::quantized(support::onnx::UINT8), [1.0; 4]));
    assert!(refused.contains("QuantizeLinear: Found unsupported input type"), "{refused}");
}

/// What `forebay-gpu` says of a task, on a GPU of that compute capability.
fn task(capability: &str, task: &serde_json::Value) -> serde_json::Value {
    let mut program = Command::new(env!("CARGO_BIN_EXE_forebay-gpu"));
    program.envs(tensorrt_double::environment()).env("FOREBAY_DOUBLE_CAPABILITY", capability);
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(task.to_string().as_bytes()).unwrap();
    serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn fp8_is_computed_on_a_gpu_that_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let [model, plan] = ["model.onnx", "model.plan"].map(|name| folder.path().join(name));
    std::fs::write(&model, support::onnx::quantized(support::onnx::FP8)).unwrap();
    let source = json!({ "library": tensorrt_double::NVINFER, "flavour": "Enterprise" });
    let range = json!({ "input": "x", "values": false, "min": [1, 4], "opt": [1, 4], "max": [4, 4] });
    let build = json!({ "task": "build", "source": source, "model": model, "plan": plan,
        "profile": { "inputs": [range] }, "compute_capabilities": [] });
    assert!(task("86", &build)["error"].as_str().unwrap().contains("fp8_e4m3"));
    assert!(task("89", &build)["bytes"].is_u64());
    let once = task("89", &json!({ "task": "once", "source": source, "plan": plan, "rows": 1 }));
    assert_eq!(once["outputs"][0]["values"], json!([2.0, 2.0, 2.0, 2.0]));
}

#[test]
fn another_profile_takes_more_rows() {
    let _held = double();
    let mut context = affine_context();
    let mut lane = Lane::new(&device());
    assert!(message(context.set_input_shape(0, &[64, 4])).contains("can't take that input shape"));
    context.set_profile(1, &lane.stream).unwrap();
    context.set_input_shape(0, &[64, 4]).unwrap();
    lane.fill(&[1.0; 256]);
    lane.start(&mut context, 256).unwrap();
    assert_eq!(lane.finish(256), expected(1.0, 64));
    assert_eq!(message(context.set_profile(7, &lane.stream)), "there is no profile 7: the engine has 2");
}

#[test]
fn two_lanes_of_one_context_overlap_copies_with_a_run_and_do_not_mix() {
    let held = double();
    let mut context = affine_context();
    let (mut one, mut other) = (Lane::new(&device()), Lane::new(&device()));
    context.set_input_shape(0, &[1, 4]).unwrap();
    one.fill(&[1.0; 4]);
    other.fill(&[5.0; 4]);
    held.double.close_gate("enqueueV3");
    one.start(&mut context, 4).unwrap();
    assert!(held.double.await_held("enqueueV3", 1, LIMIT));
    // The first run is held; the other lane's copy is done all the same.
    let mut copied = device().event().unwrap();
    other.stream.upload(&other.input, 0..16, &other.x, 0).unwrap();
    copied.record(&other.stream).unwrap();
    copied.wait().unwrap();
    other.start(&mut context, 4).unwrap();
    assert!(!one.done.is_done().unwrap() && !other.done.is_done().unwrap());
    held.double.open_gate("enqueueV3");
    assert_eq!(other.finish(4), expected(5.0, 1));
    assert_eq!(one.finish(4), expected(1.0, 1));
}

#[test]
fn contexts_that_share_scratch_memory_take_turns() {
    let held = double();
    let engine = engine(&affine(|_| ()).unwrap());
    let needed = engine.scratch_size(0).unwrap().max(engine.scratch_size(1).unwrap());
    let scratch = SharedScratch::new(&device(), needed).unwrap();
    let mut contexts = [(); 2].map(|()| engine.context(Scratch::Shared(scratch.clone())).unwrap());
    let mut lanes = [(); 2].map(|()| Lane::new(&device()));
    held.double.close_gate("enqueueV3");
    for (number, (context, lane)) in contexts.iter_mut().zip(&mut lanes).enumerate() {
        context.set_input_shape(0, &[1, 4]).unwrap();
        lane.fill(&[f32::from(u8::try_from(number).unwrap()); 4]);
        lane.start(context, 4).unwrap();
    }
    // Only the first stands before the gate: the second waits for it.
    assert!(held.double.await_held("enqueueV3", 1, LIMIT));
    assert!(!held.double.await_held("enqueueV3", 2, Duration::from_millis(50)));
    held.double.open_gate("enqueueV3");
    assert_eq!(lanes[1].finish(4), expected(1.0, 1));
    assert_eq!(lanes[0].finish(4), expected(0.0, 1));
}

#[test]
fn pinned_memory_is_lent_to_the_host_or_to_the_gpu_and_never_to_both() {
    let held = double();
    let lane = Lane::new(&device());
    held.double.close_gate("cuMemcpyDtoHAsync_v2");
    lane.stream.download(&lane.y, 0..16, &lane.output, 0).unwrap();
    assert!(
        lane.output.read().err().unwrap().to_string().contains("work on a stream is not known to be done")
    );
    assert!(matches!(lane.output.write().err().unwrap(), CudaError::Busy { .. }));
    held.double.open_gate("cuMemcpyDtoHAsync_v2");
    lane.stream.synchronize().unwrap();

    let reading = lane.output.read().unwrap();
    let refused = lane.stream.download(&lane.y, 0..16, &lane.output, 0).unwrap_err();
    assert_eq!(refused.to_string(), "a pinned buffer is in use: the host has it");
    assert!(lane.output.read().is_ok() && lane.output.write().is_err());
    // The GPU may read what the host reads.
    lane.stream.upload(&lane.output, 0..16, &lane.x, 0).unwrap();
    drop(reading);
    lane.stream.synchronize().unwrap();
    let _writing = lane.output.write().unwrap();
    assert!(lane.stream.upload(&lane.output, 0..16, &lane.x, 0).is_err());
}

#[test]
fn a_buffer_that_one_stream_may_use_is_not_lent_to_another() {
    let held = double();
    let (one, other) = (Lane::new(&device()), Lane::new(&device()));
    held.double.close_gate("cuMemcpyHtoDAsync_v2");
    one.stream.upload(&one.input, 0..16, &one.x, 0).unwrap();
    let refused = other.stream.download(&one.x, 0..16, &other.output, 0).unwrap_err();
    assert_eq!(refused.to_string(), "a buffer of the GPU is in use: another stream may not be done with it");
    held.double.open_gate("cuMemcpyHtoDAsync_v2");
    one.stream.synchronize().unwrap();
    other.stream.download(&one.x, 0..16, &other.output, 0).unwrap();
    other.stream.synchronize().unwrap();
}

#[test]
fn copies_stay_in_their_buffers() {
    let _held = double();
    let lane = Lane::new(&device());
    let refused = lane.stream.upload(&lane.input, 0..2048, &lane.x, 0).unwrap_err();
    assert_eq!(refused, CudaError::Range { offset: 0, len: 2048, size: 1024 });
    assert!(lane.stream.download(&lane.y, usize::MAX - 1..usize::MAX, &lane.output, 0).is_err());
    assert!(lane.stream.download(&lane.y, 0..16, &lane.output, 1020).is_err());
}

#[test]
fn a_run_needs_memory_that_is_large_enough_for_every_tensor() {
    let held = double();
    let mut context = affine_context();
    let device = device();
    let stream = device.stream().unwrap();
    let large = device.alloc(1024).unwrap();
    assert_eq!(message(context.enqueue(&stream)), "x is not bound to memory");
    context.bind(0, &large, 0).unwrap();
    context.bind(1, &large, 512).unwrap();
    let missing = message(context.enqueue(&stream));
    assert!(missing.contains("the shape or values of x are missing"), "{missing}");
    context.set_input_shape(0, &[2, 4]).unwrap();
    context.enqueue(&stream).unwrap();
    context.bind(1, &large, 1024 - 256).unwrap();
    context.enqueue(&stream).unwrap();
    assert!(message(context.bind(1, &large, 100)).contains("multiple of 256"));
    assert!(matches!(context.bind(1, &large, 1024), Err(Error::Cuda(CudaError::Range { .. }))));
    context.set_profile(1, &stream).unwrap();
    context.set_input_shape(0, &[20, 4]).unwrap();
    assert_eq!(message(context.enqueue(&stream)), "doubled takes 320 bytes; it is bound to 256");
    assert_eq!(held.double.count("enqueueV3"), 2);
    assert_eq!(message(context.bind(9, &large, 0)), "there is no tensor 9: the engine has 2");
    assert_eq!(message(context.set_input_shape(1, &[1, 4])), "doubled is no input");
    assert!(message(context.set_input_shape(0, &[1; 9])).contains("8 dimensions at most"));
    assert!(message(context.set_input_shape(0, &[i64::MAX, 4])).contains("can't take that input shape"));
    assert!(message(context.set_input_values(0, &[1])).contains("no input in host memory"));
}

#[test]
fn gpu_memory_that_is_used_up_is_an_error_that_counts_it() {
    let _held = double();
    for wanted in [1 << 40, usize::MAX] {
        let refused = device().alloc(wanted).err().unwrap();
        assert!(refused.to_string().starts_with(&format!("out of GPU memory: wanted {wanted} bytes, ")));
        assert!(!refused.is_sticky());
    }
    let message = double::device().alloc(1 << 40).err().unwrap().to_string();
    assert!(message.ends_with(" are free"), "{message}");
}

#[test]
fn a_lost_gpu_is_told_apart_from_other_failures() {
    let held = double();
    let lane = Lane::new(&device());
    held.double.fail("cuStreamSynchronize:1=1");
    assert!(!lane.stream.synchronize().unwrap_err().is_sticky());
    // Of a driver that is newer than the header.
    held.double.fail("cuStreamSynchronize:1=123456");
    let unheard_of = lane.stream.synchronize().unwrap_err();
    assert_eq!(
        unheard_of.to_string(),
        "cuStreamSynchronize failed: no such error is known (no such error is known, 123456)"
    );
    assert!(!unheard_of.is_sticky());
    held.double.fail("cuStreamSynchronize:1=700");
    let lost = lane.stream.synchronize().unwrap_err();
    assert!(lost.is_sticky());
    assert_eq!(
        lost.to_string(),
        "cuStreamSynchronize failed: an illegal memory access was encountered (CUDA_ERROR_ILLEGAL_ADDRESS, 700)"
    );
}
