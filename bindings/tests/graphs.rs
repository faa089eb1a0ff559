//! A lane's work captured as a graph, on the test double: one call does it again, and one that is out of date is refused.

mod support;

use forebay_bindings::Error;
use forebay_bindings::cuda::CudaError;
use support::double::{LIMIT, Lane, affine_context, device, double, expected};
use support::message;

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
