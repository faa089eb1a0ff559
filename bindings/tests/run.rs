//! Engines run on the test double: what is right comes back, and what would be wrong is an error before the GPU sees it.

mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use forebay_bindings::cuda::CudaError;
use forebay_bindings::{
    BuildOptions, Context, DataType, Error, Profile, Range, Scratch, SharedScratch, TensorIOMode,
    TensorLocation,
};
use serde_json::json;
use support::double::{self, Lane, affine, affine_context, device, double, engine, library, rows};
use support::message;
use tensorrt_double::onnx;

const LIMIT: Duration = Duration::from_secs(30);

/// What `affine` makes of rows of the same value.
fn expected(value: f32, rows: usize) -> Vec<f32> {
    (0..rows).flat_map(|_| (0_u8..4).map(move |column| 2.0 * value + f32::from(column))).collect()
}

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
fn a_graph_does_the_work_of_a_lane_in_one_call() {
    let held = double();
    let mut context = affine_context();
    let mut lane = Lane::new(&device());
    context.set_input_shape(0, &[1, 4]).unwrap();
    lane.fill(&[1.0; 4]);
    lane.start(&mut context, 4).unwrap();
    lane.finish(4);
    let graph = lane.stream.capture(|_| lane.put(&mut context, 4)).unwrap();
    let calls = held.double.count("enqueueV3");
    for value in [2.0, 7.0] {
        lane.fill(&[value; 4]);
        graph.launch(&lane.stream).unwrap();
        assert!(lane.output.read().is_err());
        lane.done.record(&lane.stream).unwrap();
        assert_eq!(lane.finish(4), expected(value, 1));
    }
    assert_eq!(held.double.count("enqueueV3"), calls);
    let reading = lane.output.read().unwrap();
    assert!(matches!(graph.launch(&lane.stream), Err(CudaError::Busy { .. })));
    drop(reading);
    lane.stream.synchronize().unwrap();
    context.set_profile(1, &lane.stream).unwrap();
    assert_eq!(graph.launch(&lane.stream), Err(CudaError::Stale));
}

#[test]
fn a_graph_is_out_of_date_once_its_context_took_other_shapes_even_if_it_has_its_own_again() {
    let held = double();
    let mut context = affine_context();
    let mut lane = Lane::new(&device());
    context.set_input_shape(0, &[1, 4]).unwrap();
    lane.fill(&[1.0; 4]);
    lane.start(&mut context, 4).unwrap();
    lane.finish(4);
    let graph = lane.stream.capture(|_| lane.put(&mut context, 4)).unwrap();
    // The same shape is no change.
    context.set_input_shape(0, &[1, 4]).unwrap();
    held.double.close_gate("enqueueV3");
    graph.launch(&lane.stream).unwrap();
    lane.done.record(&lane.stream).unwrap();
    assert!(held.double.await_held("enqueueV3", 1, LIMIT));
    // Another waits for what was launched before: that would be wrong, too.
    std::thread::scope(|scope| {
        let reshaping = scope.spawn(|| context.set_input_shape(0, &[2, 4]).unwrap());
        assert!(!reshaping.is_finished());
        held.double.open_gate("enqueueV3");
        assert_eq!(lane.finish(4), expected(1.0, 1));
    });
    context.infer_shapes().unwrap();
    for rows in [2, 1] {
        context.set_input_shape(0, &[rows, 4]).unwrap();
        assert_eq!(graph.launch(&lane.stream), Err(CudaError::Stale));
    }
    lane.start(&mut context, 4).unwrap();
    assert_eq!(lane.finish(4), expected(1.0, 1));
    let graph = lane.stream.capture(|_| lane.put(&mut context, 4)).unwrap();
    lane.fill(&[2.0; 4]);
    graph.launch(&lane.stream).unwrap();
    lane.done.record(&lane.stream).unwrap();
    assert_eq!(lane.finish(4), expected(2.0, 1));
}

#[test]
fn a_lane_is_captured_while_another_runs_and_both_launch_their_graphs() {
    let held = double();
    let mut context = affine_context();
    let mut lanes = [(); 2].map(|()| Lane::new(&device()));
    context.set_input_shape(0, &[1, 4]).unwrap();
    held.double.close_gate("enqueueV3");
    let mut graphs = Vec::new();
    for (lane, value) in lanes.iter_mut().zip([1.0, 2.0]) {
        lane.fill(&[value; 4]);
        lane.start(&mut context, 4).unwrap();
        // This lane's run isn't done, nor is the other's.
        graphs.push(lane.stream.capture(|stream| context.enqueue(stream)).unwrap());
    }
    held.double.open_gate("enqueueV3");
    for (lane, value) in lanes.iter().zip([1.0, 2.0]) {
        assert_eq!(lane.finish(4), expected(value, 1));
    }
    for (lane, graph) in lanes.iter_mut().zip(&graphs) {
        lane.fill(&[3.0; 4]);
        lane.stream.upload(&lane.input, 0..16, &lane.x, 0).unwrap();
        graph.launch(&lane.stream).unwrap();
        lane.stream.download(&lane.y, 0..16, &lane.output, 0).unwrap();
        lane.done.record(&lane.stream).unwrap();
    }
    for lane in &lanes {
        assert_eq!(lane.finish(4), expected(3.0, 1));
    }
}

#[test]
fn a_capture_that_fails_leaves_a_stream_that_works() {
    let _held = double();
    let mut context = affine_context();
    let mut lane = Lane::new(&device());
    context.set_input_shape(0, &[1, 4]).unwrap();
    let failed = lane.stream.capture(|stream| {
        assert!(matches!(stream.synchronize(), Err(CudaError::Capturing { .. })));
        assert!(matches!(context.set_profile(1, stream), Err(Error::Cuda(CudaError::Capturing { .. }))));
        Err::<(), _>(Error::Wrong("no".into()))
    });
    assert_eq!(message(failed), "no");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = lane.stream.capture(|_| -> Result<(), Error> { panic!("no") });
    }));
    assert!(panicked.is_err());
    lane.fill(&[1.0; 4]);
    lane.start(&mut context, 4).unwrap();
    assert_eq!(lane.finish(4), expected(1.0, 1));
}

#[test]
fn an_output_of_unknown_size_gets_memory_as_it_runs() {
    let held = double();
    let options = forebay_bindings::BuildOptions { profiles: vec![rows(1, 4096, &[])], ..Default::default() };
    let device = device();
    let builder = library().builder(Some(&device));
    let plan = builder.parse(&onnx::non_zero().encode(), None).unwrap().build(&options).unwrap();
    let mut context = engine(&plan).context(Scratch::Own).unwrap();
    let stream = device.stream().unwrap();
    let (input, x) = (device.alloc_pinned(16384).unwrap(), device.alloc(16384).unwrap());
    let places = device.alloc_pinned(4096 * 8).unwrap();
    context.bind(0, &x, 0).unwrap();
    context.allocate_output(1).unwrap();
    assert!(context.output(1).is_none());
    let mut run = |count: usize| {
        context.set_input_shape(0, &[i64::try_from(count).unwrap()]).unwrap();
        input.write().unwrap()[..count * 4].fill(1);
        stream.upload(&input, 0..count * 4, &x, 0).unwrap();
        context.enqueue(&stream).inspect_err(|_| stream.synchronize().unwrap())?;
        let (buffer, shape) = context.output(1).expect("an output");
        assert_eq!(*shape, [1, i64::try_from(count).unwrap()]);
        stream.download(&buffer, 0..count * 8, &places, 0).unwrap();
        stream.synchronize().unwrap();
        let last = places.read().unwrap()[(count - 1) * 8..count * 8].try_into().unwrap();
        assert_eq!(i64::from_le_bytes(last), i64::try_from(count - 1).unwrap());
        Ok::<_, Error>(())
    };
    for count in [3, 4000, 1] {
        run(count).unwrap();
    }
    // It only grows: the third run needed no memory.
    let allocated = held.double.count("cuMemAlloc_v2");
    run(4000).unwrap();
    assert_eq!(held.double.count("cuMemAlloc_v2"), allocated);
    held.double.fail("cuMemAlloc_v2:*=2");
    assert!(message(run(4096)).starts_with("out of GPU memory: wanted "));
    held.double.fail("");
    run(4096).unwrap();
    assert_eq!(message(context.bind(1, &x, 0)), "memory for places is allocated as it is needed");
}

#[test]
fn values_in_host_memory_decide_the_shape_of_an_output() {
    let held = double();
    let device = device();
    let range = |values: bool, input: &str, numbers: [&[i64]; 3]| Range {
        input: input.into(),
        values,
        min: numbers[0].into(),
        opt: numbers[1].into(),
        max: numbers[2].into(),
    };
    let inputs = vec![
        range(false, "x", [&[1, 1], &[2, 1], &[4, 1]]),
        range(true, "size", [&[1, 1], &[2, 4], &[4, 64]]),
    ];
    let options = BuildOptions { profiles: vec![Profile { inputs }], ..BuildOptions::default() };
    let mut network = library().builder(Some(&device)).parse(&onnx::expand().encode(), None).unwrap();
    assert!(network.inputs()[1].is_shape && !network.inputs()[0].is_shape);
    let engine = engine(&network.build(&options).unwrap());
    let [_, size, _] = engine.tensors() else { panic!("three tensors") };
    assert_eq!((size.location, size.is_shape), (TensorLocation::Host, true));
    assert_eq!((&size.profiles[0].min, &size.profiles[0].max), (&vec![1, 1], &vec![4, 64]));

    let mut context = engine.context(Scratch::Own).unwrap();
    let mut lane = Lane::new(&device);
    lane.fill(&[7.0, 8.0]);
    context.bind(0, &lane.x, 0).unwrap();
    context.bind(2, &lane.y, 0).unwrap();
    context.set_input_shape(0, &[2, 1]).unwrap();
    assert!(message(context.infer_shapes()).contains("the shape or values of size are missing"));
    assert!(message(context.bind(1, &lane.x, 0)).contains("lies in host memory"));
    assert_eq!(message(context.set_input_values(1, &[2])), "size takes 16 bytes of values, not 8");
    let run = |lane: &mut Lane, context: &mut Context, columns: i64| {
        context.set_input_values(1, &[2, columns]).unwrap();
        context.infer_shapes().unwrap();
        assert_eq!(*context.shape(2).unwrap(), [2, columns]);
        let count = usize::try_from(2 * columns).unwrap();
        lane.stream.upload(&lane.input, 0..8, &lane.x, 0).unwrap();
        context.enqueue(&lane.stream).unwrap();
        lane.stream.download(&lane.y, 0..count * 4, &lane.output, 0).unwrap();
        lane.done.record(&lane.stream).unwrap();
        count
    };
    for columns in [3, 64, 1] {
        let count = run(&mut lane, &mut context, columns);
        let expected = [vec![7.0; count / 2], vec![8.0; count / 2]].concat();
        assert_eq!(lane.finish(count), expected);
    }
    context.set_input_values(1, &[2, 65]).unwrap();
    assert!(message(context.infer_shapes()).contains("are not in the range of profile 0"));

    // They are as they were when the run was queued, and others outdate what was captured.
    held.double.close_gate("enqueueV3");
    let count = run(&mut lane, &mut context, 4);
    assert!(held.double.await_held("enqueueV3", 1, LIMIT));
    std::thread::scope(|scope| {
        scope.spawn(|| context.set_input_values(1, &[2, 5]).unwrap());
        held.double.open_gate("enqueueV3");
        assert_eq!(lane.finish(count), [[7.0; 4], [8.0; 4]].concat());
    });
    let graph = lane.stream.capture(|stream| context.enqueue(stream)).unwrap();
    graph.launch(&lane.stream).unwrap();
    context.set_input_values(1, &[2, 6]).unwrap();
    assert_eq!(graph.launch(&lane.stream), Err(CudaError::Stale));

    // They go with their context, and no launch may read them then.
    context.infer_shapes().unwrap();
    context.enqueue(&lane.stream).unwrap();
    let graph = lane.stream.capture(|stream| context.enqueue(stream)).unwrap();
    graph.launch(&lane.stream).unwrap();
    drop(context);
    assert_eq!(graph.launch(&lane.stream), Err(CudaError::Stale));
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
