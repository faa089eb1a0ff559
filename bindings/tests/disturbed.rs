//! One way through the whole crate, disturbed at every single call: by an error, by a GPU that is lost, by memory that ends, by
//! other threads. On the test double, which counts what is alive.

mod support;

use std::thread;

use forebay_bindings::cuda::{Device, Driver};
use forebay_bindings::{BuildOptions, Engine, Error, HostCode, Refit, Scratch, SharedScratch};
use support::double::{Held, Lane, double, library, rows};
use tensorrt_double::onnx;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// What the affine model makes of four times the number.
fn expected(number: f32) -> [f32; 4] {
    [0.0, 1.0, 2.0, 3.0].map(|offset| 2.0 * number + offset)
}

/// Builds, loads, runs, captures, refits, and asks for all that can be asked.
fn everything() -> Outcome {
    let driver = Driver::load()?;
    driver.version()?;
    let device = driver.device(0)?;
    device.memory()?;
    let mut engine = loaded(&device)?;
    engine.refitter()?.weights()?;
    engine.refitter()?.refit(&[("factor", &2.0_f32.to_le_bytes())])?;
    engine.refitter()?.refit_from_onnx(&onnx::affine().encode())?;
    engine.set_weight_budget(engine.automatic_weight_budget()? / 2)?;
    run(&engine, &device)?;
    run_in_shared_memory(&engine, &device)?;
    drop(engine.context(Scratch::OwnPerProfile)?);
    time(&device)?;
    Ok(device.check()?)
}

/// A plan, built with every option, and its engine.
fn loaded(device: &Device) -> Result<Engine, Error> {
    let options = BuildOptions {
        profiles: vec![rows(1, 4, &[4]), rows(1, 64, &[4])],
        workspace: Some(1 << 20),
        optimization_level: Some(2),
        max_aux_streams: Some(0),
        max_threads: Some(1),
        refit: Refit::Yes,
        weight_streaming: true,
        timing_cache: Some(Vec::new()),
        ..BuildOptions::default()
    };
    let mut network = library().builder(Some(device)).parse(&onnx::affine().encode(), None)?;
    let plan = network.build(&options)?;
    assert!(!network.timing_cache()?.is_empty());
    let engine = library().runtime(Some(device), HostCode::Refuse)?.deserialize(&plan)?;
    assert_eq!(*engine.serialize()?, *plan);
    assert!(engine.describe()?.contains("Mul_scaled"));
    Ok(engine)
}

/// Runs in both profiles, and by a graph.
fn run(engine: &Engine, device: &Device) -> Outcome {
    let mut context = engine.context(Scratch::Own)?;
    let lane = lane(device)?;
    context.set_persistent_cache_limit(0)?;
    context.bind(0, &lane.x, 0)?;
    context.bind(1, &lane.y, 0)?;
    for (profile, number) in [(0, 1.0), (1, 2.0)] {
        context.set_profile(profile, &lane.stream)?;
        context.set_input_shape(0, &[1, 4])?;
        lane.fill(&[number; 4]);
        lane.put(&mut context, 4)?;
        lane.stream.synchronize()?;
        assert_eq!(lane.finish(4), expected(number));
    }
    let graph = lane.stream.capture(|_| lane.put(&mut context, 4))?;
    lane.fill(&[3.0; 4]);
    graph.launch(&lane.stream)?;
    lane.stream.synchronize()?;
    assert_eq!(lane.finish(4), expected(3.0));
    Ok(())
}

/// Runs in scratch memory that isn't the context's own, with an output that is allocated as it runs.
fn run_in_shared_memory(engine: &Engine, device: &Device) -> Outcome {
    let scratch = SharedScratch::new(device, engine.scratch_size(0)?.max(engine.scratch_size(1)?))?;
    let mut context = engine.context(Scratch::Shared(scratch))?;
    let lane = lane(device)?;
    context.set_input_shape(0, &[1, 4])?;
    context.scratch_for_shapes()?;
    context.bind(0, &lane.x, 0)?;
    context.allocate_output(1)?;
    lane.fill(&[4.0; 4]);
    lane.stream.upload(&lane.input, 0..16, &lane.x, 0)?;
    context.enqueue(&lane.stream)?;
    let (output, _) = context.output(1).ok_or("no output")?;
    lane.stream.download(&output, 0..16, &lane.output, 0)?;
    lane.stream.synchronize()?;
    assert_eq!(lane.finish(4), expected(4.0));
    Ok(())
}

/// Times a copy by events and asks until it is done.
fn time(device: &Device) -> Outcome {
    let lane = lane(device)?;
    let (mut start, mut end) = (device.timed_event()?, device.timed_event()?);
    start.record(&lane.stream)?;
    lane.stream.upload(&lane.input, 0..16, &lane.x, 0)?;
    end.record(&lane.stream)?;
    end.wait()?;
    end.since(&start)?;
    while !end.is_done()? || !lane.stream.is_done()? {
        thread::yield_now();
    }
    Ok(())
}

/// [`Lane::new`], with errors that are told.
fn lane(device: &Device) -> Result<Lane, Error> {
    const BYTES: usize = 4 * 4 * 64;
    Ok(Lane {
        stream: device.stream()?,
        input: device.alloc_pinned(BYTES)?,
        x: device.alloc(BYTES)?,
        y: device.alloc(BYTES)?,
        output: device.alloc_pinned(BYTES)?,
        done: device.event()?,
    })
}

/// Calls that are made as things are dropped, where an error has nowhere to go.
const GIVING_BACK: [&str; 8] = [
    "cuDevicePrimaryCtxRelease_v2",
    "cuEventDestroy_v2",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuMemFreeHost",
    "cuMemFree_v2",
    "cuStreamDestroy_v2",
    "cudaFree",
];

/// Calls that are made in drops as well as elsewhere. If they fail there, what isn't known to be idle is not given back: better
/// lost than given to someone else while the GPU uses it.
const BEFORE_GIVING_BACK: [&str; 2] = ["cuCtxSetCurrent", "cuStreamSynchronize"];

/// A call that is made to save others: whether an input has the shape already. If it fails, the shape is set.
const SAVING: &str = "getTensorShape";

/// The calls of one way through everything, and how often each is made.
fn calls(held: &Held) -> Vec<(String, u64)> {
    // CUDA is initialised once a process; the rest is made anew each time.
    everything().expect("the undisturbed way");
    held.double.reset();
    everything().expect("the undisturbed way");
    held.double.counts().into_iter().collect()
}

#[test]
fn each_call_may_fail_each_time_and_nothing_stays_behind() {
    let held = double();
    let mut tried = 0;
    for (call, count) in calls(&held) {
        let in_drops = BEFORE_GIVING_BACK.contains(&&*call);
        let may_pass = in_drops || GIVING_BACK.contains(&&*call) || call == SAVING;
        for which in 1..=count {
            held.double.reset();
            let before = held.alive();
            held.double.fail(&format!("{call}:{which}=2"));
            match everything() {
                // Memory for an output is asked for twice: as much as may be wanted, and as much as is.
                Ok(()) if held.double.count(&call) > count => {}
                Ok(()) => assert!(may_pass, "{call} {which} failed unnoticed"),
                Err(error) => assert!(error.to_string().len() > 10, "{call} {which}: {error}"),
            }
            assert!(in_drops || held.alive() == before, "{call} {which}: left {:?}", held.alive());
            tried += 1;
        }
    }
    assert!(tried > 200, "{tried}");
}

#[test]
fn a_gpu_may_be_lost_at_each_call_and_the_way_ends_with_an_error() {
    let held = double();
    for (call, count) in calls(&held).into_iter().filter(|(call, _)| call.starts_with("cu")) {
        for which in 1..=count {
            held.double.reset();
            held.double.fail(&format!("{call}:{which}=700"));
            let Err(error) = everything() else {
                // The last things that are dropped: nothing is asked of the GPU any more.
                assert!(
                    GIVING_BACK.contains(&&*call) || BEFORE_GIVING_BACK.contains(&&*call),
                    "{call} {which}"
                );
                continue;
            };
            let text = error.to_string();
            assert!(text.contains("700") || text.starts_with("TensorRT can't"), "{call} {which}: {text}");
        }
    }
}

#[test]
fn memory_of_the_gpu_may_end_at_each_allocation() {
    let held = double();
    // In steps of the smallest allocation, until there is enough for everything.
    for left in (0_usize..).map(|step| step * 256) {
        let device = support::double::device();
        let hog = device.alloc(device.memory().unwrap().free - left).unwrap();
        let before = held.alive();
        let outcome = everything();
        assert_eq!(held.alive(), before, "{left} bytes");
        drop(hog);
        let Err(error) = outcome else {
            assert!(left > 8 * 256, "{left}");
            return;
        };
        let text = error.to_string();
        let told = text.contains("out of GPU memory") || text.contains("could not be allocated");
        assert!(told || text.contains("no memory"), "{left} bytes: {text}");
    }
}

#[test]
fn one_copy_a_tensor_and_one_enqueue_make_a_run() {
    let held = double();
    let device = support::double::device();
    let mut context = support::double::affine_context();
    let mut lane = Lane::new(&device);
    context.set_input_shape(0, &[1, 4]).unwrap();
    lane.start(&mut context, 4).unwrap();
    lane.finish(4);
    held.double.reset();
    lane.fill(&[5.0; 4]);
    lane.start(&mut context, 4).unwrap();
    assert_eq!(lane.finish(4), expected(5.0));
    let mut counts = held.double.counts();
    // Which context is current, and what orders the context's runs, cost little.
    counts.retain(|call, _| call != "cuCtxSetCurrent" && call != "cuEventRecord");
    let wanted = ["cuEventSynchronize", "cuMemcpyDtoHAsync_v2", "cuMemcpyHtoDAsync_v2", "enqueueV3"];
    assert_eq!(counts, wanted.map(|call| (call.to_owned(), 1)).into());
}

#[test]
fn threads_with_contexts_of_their_own_share_an_engine() {
    let held = double();
    let before = held.alive();
    let device = support::double::device();
    let engine = loaded(&device).unwrap();
    thread::scope(|scope| {
        for number in 0_u8..6 {
            let (engine, device) = (&engine, &device);
            scope.spawn(move || {
                let mut context = engine.context(Scratch::Own).unwrap();
                let mut lane = Lane::new(device);
                context.set_input_shape(0, &[1, 4]).unwrap();
                for round in 0_u8..40 {
                    let number = f32::from(number) + f32::from(round) / 64.0;
                    lane.fill(&[number; 4]);
                    lane.start(&mut context, 4).unwrap();
                    assert_eq!(lane.finish(4), expected(number));
                }
            });
        }
    });
    drop((engine, device));
    assert_eq!(held.alive(), before);
}

#[test]
fn threads_go_through_everything_at_once() {
    let held = double();
    let before = held.alive();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..3).for_each(|_| everything().unwrap()));
        }
    });
    assert_eq!(held.alive(), before);
}
