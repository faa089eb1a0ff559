//! Outputs whose size nobody knows before, on the test double: found as the engine runs, or said by values in host memory.

mod support;

use forebay_bindings::cuda::CudaError;
use forebay_bindings::{BuildOptions, Context, Error, Profile, Range, Scratch, TensorLocation};
use support::double::{LIMIT, Lane, device, double, engine, library, rows};
use support::message;
use tensorrt_double::onnx;

#[test]
fn an_output_of_unknown_size_gets_memory_as_it_runs() {
    let held = double();
    let options = BuildOptions { profiles: vec![rows(1, 4096, &[])], ..Default::default() };
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
