//! Nothing is lost and nothing goes too early, whatever goes first. On the test double, which counts what is alive.

mod support;

use std::any::Any;
use std::thread;
use std::time::Duration;

use forebay_bindings::cuda::Driver;
use forebay_bindings::{HostCode, Refit, Scratch};
use support::double::{Lane, affine, device, double, library};

/// Everything that a model needs, in the order in which it is made.
fn whole() -> Vec<Box<dyn Any + Send>> {
    let device = device();
    let library = library();
    let runtime = library.runtime(Some(&device), HostCode::Refuse).unwrap();
    let engine = runtime.deserialize(&affine(|_| ()).unwrap()).unwrap();
    let mut context = engine.context(Scratch::Own).unwrap();
    let mut lane = Lane::new(&device);
    context.set_input_shape(0, &[1, 4]).unwrap();
    lane.start(&mut context, 4).unwrap();
    lane.finish(4);
    let graph = lane.stream.capture(|_| lane.put(&mut context, 4)).unwrap();
    graph.launch(&lane.stream).unwrap();
    let Lane { stream, input, x, y, output, done } = lane;
    vec![
        Box::new(device),
        Box::new(library),
        Box::new(runtime),
        Box::new(engine),
        Box::new(context),
        Box::new(graph),
        Box::new(stream),
        Box::new(done),
        Box::new((input, x)),
        Box::new((y, output)),
    ]
}

#[test]
fn any_order_of_drops_frees_everything() {
    let held = double();
    let count = whole().len();
    assert_eq!(held.alive(), []);
    for first in 0..count {
        for second in 0..count {
            let mut parts: Vec<_> = whole().into_iter().map(Some).collect();
            parts[first] = None;
            parts[second] = None;
            if (first + second) % 2 == 0 {
                parts.reverse();
            }
            drop(parts);
            assert_eq!(held.alive(), [], "after {first}, then {second}");
        }
    }
}

#[test]
fn what_goes_while_the_gpu_uses_it_goes_when_it_is_done() {
    let held = double();
    let device = device();
    let mut context = support::double::affine_context();
    let mut lane = Lane::new(&device);
    context.set_input_shape(0, &[1, 4]).unwrap();
    held.double.close_gate("enqueueV3");
    lane.start(&mut context, 4).unwrap();
    assert!(held.double.await_held("enqueueV3", 1, Duration::from_secs(30)));
    let before = held.double.counts();
    let dropping = thread::spawn(move || {
        drop(lane);
        drop(context);
    });
    // Whatever that thread does by now, it frees nothing.
    for call in ["cuMemFree_v2", "cuMemFreeHost"] {
        assert_eq!(held.double.count(call), before.get(call).copied().unwrap_or(0));
    }
    held.double.open_gate("enqueueV3");
    dropping.join().unwrap();
    drop(device);
    assert_eq!(held.alive(), []);
}

#[test]
fn parts_may_be_used_and_dropped_by_any_thread() {
    let held = double();
    let handles: Vec<_> = (0..4)
        .map(|number| {
            thread::spawn(move || {
                let device = Driver::load().unwrap().device(0).unwrap();
                let mut context = support::double::affine_context();
                let mut lane = Lane::new(&device);
                context.set_input_shape(0, &[1, 4]).unwrap();
                let moved = thread::spawn(move || {
                    for round in 0_u8..20 {
                        let value = f32::from(number * 20 + round);
                        lane.fill(&[value; 4]);
                        lane.start(&mut context, 4).unwrap();
                        let expected = [0.0, 1.0, 2.0, 3.0].map(|offset| 2.0 * value + offset);
                        assert_eq!(lane.finish(4), expected);
                    }
                });
                moved.join().unwrap();
            })
        })
        .collect();
    for handle in handles {
        handle.join().unwrap();
    }
    assert_eq!(held.alive(), []);
}

#[test]
fn each_call_of_a_thread_that_never_used_the_gpu_works_on_the_right_one() {
    /// Does it on a thread of its own.
    fn apart<T: Send>(call: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| scope.spawn(call).join().unwrap())
    }
    let _held = double();
    let plan = affine(|options| (options.weight_streaming, options.refit) = (true, Refit::Yes)).unwrap();
    let mut engine = apart(|| support::double::engine(&plan));
    apart(|| engine.describe().map(drop)).unwrap();
    apart(|| engine.scratch_size(1)).unwrap();
    apart(|| engine.serialize().map(drop)).unwrap();
    apart(|| engine.set_weight_budget(8)).unwrap();
    apart(|| engine.weight_budget()).unwrap();
    apart(|| engine.automatic_weight_budget()).unwrap();
    apart(|| engine.refitter().and_then(|refitter| refitter.weights())).unwrap();
    let mut context = apart(|| engine.context(Scratch::Own)).unwrap();
    let lane = Lane::new(&device());
    apart(|| context.set_profile(1, &lane.stream)).unwrap();
    apart(|| context.set_persistent_cache_limit(0)).unwrap();
    apart(|| context.set_input_shape(0, &[1, 4])).unwrap();
    apart(|| context.infer_shapes()).unwrap();
    apart(|| context.scratch_for_shapes()).unwrap();
    apart(|| context.bind(0, &lane.x, 0)).unwrap();
    apart(|| context.allocate_output(1)).unwrap();
    assert_eq!(apart(|| context.size(1)).unwrap(), 16);
    assert_eq!(*apart(|| context.shape(1)).unwrap(), [1, 4]);
    apart(|| context.enqueue(&lane.stream)).unwrap();
    apart(move || drop((context, engine, lane)));
}

#[test]
fn a_graph_outlives_the_handles_of_what_it_uses() {
    let held = double();
    let device = device();
    let mut lane = Lane::new(&device);
    let mut context = support::double::affine_context();
    context.set_input_shape(0, &[1, 4]).unwrap();
    lane.fill(&[4.0; 4]);
    lane.start(&mut context, 4).unwrap();
    lane.finish(4);
    let graph = lane.stream.capture(|_| lane.put(&mut context, 4)).unwrap();
    let Lane { stream, input, x, y, output, done } = lane;
    drop((context, input, x, y, done));
    output.write().unwrap().fill(0);
    graph.launch(&stream).unwrap();
    stream.synchronize().unwrap();
    assert_eq!(output.read().unwrap()[..4], 8.0_f32.to_le_bytes());
    drop((graph, stream, output, device));
    assert_eq!(held.alive(), []);
}
