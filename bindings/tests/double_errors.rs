//! What the test double makes fail: each an error with TensorRT's own words, and what it says to one thread no other hears.

mod support;

use std::thread;

use forebay_bindings::{BuildOptions, HardwareCompatibilityLevel, HostCode, Refit, Scratch};
use support::double::{affine, device, double, engine, library, rows};
use support::message;
use tensorrt_double::onnx;

#[test]
fn a_small_number_in_place_of_an_object_is_a_failure() {
    let held = double();
    let device = device();
    let library = library();
    // 552 is 0x228, which the real library was seen to return.
    held.double.fail("createInferRuntime:1=552");
    let refused = message(library.runtime(Some(&device), HostCode::Refuse));
    assert!(refused.starts_with("TensorRT can't make a runtime: "), "{refused}");
    for create in ["createInferBuilder", "createNvOnnxParser"] {
        held.double.fail(&format!("{create}:1=552"));
        let refused = message(library.builder(Some(&device)).parse(&onnx::affine().encode(), None));
        assert!(refused.starts_with("TensorRT can't parse the model: "), "{create}: {refused}");
    }
    drop(device);
    assert_eq!(held.alive(), []);
}

#[test]
fn every_call_that_fails_is_an_error_and_leaks_nothing() {
    let held = double();
    let work = || -> Result<(), forebay_bindings::Error> {
        let device = forebay_bindings::cuda::Driver::load()?.device(0)?;
        let runtime = library().runtime(Some(&device), HostCode::Refuse)?;
        let options = BuildOptions { profiles: vec![rows(1, 4, &[4])], ..BuildOptions::default() };
        let mut network = library().builder(Some(&device)).parse(&onnx::affine().encode(), None)?;
        let mut context = runtime.deserialize(&network.build(&options)?)?.context(Scratch::Own)?;
        let stream = device.stream()?;
        let mut done = device.event()?;
        let (host, x, y) = (device.alloc_pinned(64)?, device.alloc(64)?, device.alloc(64)?);
        context.set_input_shape(0, &[1, 4])?;
        context.bind(0, &x, 0)?;
        context.bind(1, &y, 0)?;
        stream.upload(&host, 0..16, &x, 0)?;
        context.enqueue(&stream)?;
        stream.download(&y, 0..16, &host, 16)?;
        done.record(&stream)?;
        done.wait()?;
        stream.capture(|stream| context.enqueue(stream))?.launch(&stream)?;
        Ok(stream.synchronize()?)
    };
    work().unwrap();
    assert_eq!(held.alive(), []);
    held.double.reset();
    work().unwrap();
    let calls = held.double.counts();
    for (call, count) in calls {
        // Clean-up can't report, and what it could not give back is lost by the rule itself.
        if ["Free", "Destroy", "Release"].iter().any(|clean_up| call.contains(clean_up)) {
            continue;
        }
        for which in 1..=count.min(8) {
            held.double.reset();
            held.double.fail(&format!("{call}:{which}=3"));
            let outcome = work();
            held.double.fail("");
            if let Err(error) = outcome {
                assert!(error.to_string().len() > 10, "{call}: {error}");
            }
            assert_eq!(held.alive(), [], "{call} {which}");
        }
    }
}

#[test]
fn host_code_runs_only_where_it_is_allowed() {
    let _held = double();
    let plan = affine(|options| options.version_compatible = true).unwrap();
    let device = device();
    let refused = library().runtime(Some(&device), HostCode::Refuse).unwrap().deserialize(&plan);
    let refused = message(refused);
    assert!(refused.starts_with("TensorRT can't deserialize the plan: "), "{refused}");
    library().runtime(Some(&device), HostCode::Allow).unwrap().deserialize(&plan).unwrap();
}

#[test]
fn errors_of_two_threads_do_not_mix() {
    let _held = double();
    let plan = affine(|_| ()).unwrap().to_vec();
    let runtime = library().runtime(Some(&device()), HostCode::Refuse).unwrap();
    let alone: Vec<String> =
        [&b"junk"[..], &plan[..plan.len() / 2]].map(|bad| message(runtime.deserialize(bad))).into();
    assert_ne!(alone[0], alone[1]);
    thread::scope(|scope| {
        for (bad, expected) in [(&b"junk"[..], &alone[0]), (&plan[..plan.len() / 2], &alone[1])] {
            let runtime = runtime.clone();
            scope.spawn(move || {
                for _ in 0..200 {
                    assert_eq!(&message(runtime.deserialize(bad)), expected);
                }
            });
        }
    });
}

#[test]
fn what_tensorrt_says_on_a_thread_of_its_own_is_in_the_error_of_the_one_call_it_can_be_for() {
    let held = double();
    let options = BuildOptions { profiles: vec![rows(1, 4, &[4])], ..BuildOptions::default() };
    let mut network = library().builder(Some(&device())).parse(&onnx::affine().encode(), None).unwrap();
    let plan = network.build(&options).unwrap();
    let runtime = library().runtime(Some(&device()), HostCode::Refuse).unwrap();
    let words = "(a rule of the test, on another thread)";
    // 600 has the double say the error of a call on a thread of its own.
    for _ in 0..2 {
        held.double.fail("buildSerializedNetwork:1=600,deserializeCudaEngine:1=600");
        assert!(message(network.build(&options)).ends_with(words));
        assert!(message(runtime.deserialize(&plan)).ends_with(words));
        runtime.deserialize(&plan).unwrap();
    }
    // A run is none of those calls: other runs may be on.
    held.double.fail("createExecutionContext:1=600");
    let refused = message(runtime.deserialize(&plan).unwrap().context(Scratch::Own));
    assert!(refused.ends_with("it doesn't say why"), "{refused}");
}

#[test]
fn weights_are_replaced_while_nothing_else_uses_the_engine() {
    let _held = double();
    let plan = affine(|options| options.refit = Refit::Yes).unwrap();
    let mut engine = engine(&plan);
    assert!(engine.is_refittable());
    let context = engine.context(Scratch::Own).unwrap();
    assert!(message(engine.refitter()).contains("no contexts"));
    drop(context);
    let mut refitter = engine.refitter().unwrap();
    assert!(refitter.weights().unwrap().contains(&"factor".to_owned()));
    assert!(message(refitter.refit(&[("factor", &[0; 3])])).contains("factor takes 4 bytes, not 3"));
    assert!(message(refitter.refit(&[("nothing", &[0; 4])])).contains("nothing"));
    refitter.refit(&[("factor", &10.0_f32.to_le_bytes())]).unwrap();
    drop(refitter);
    let mut context = engine.context(Scratch::Own).unwrap();
    let mut lane = support::double::Lane::new(&device());
    context.set_input_shape(0, &[1, 4]).unwrap();
    lane.fill(&[1.0; 4]);
    lane.start(&mut context, 4).unwrap();
    assert_eq!(lane.finish(4), [10.0, 11.0, 12.0, 13.0]);
    drop(context);
    let mut refitter = engine.refitter().unwrap();
    refitter.refit_from_onnx(&onnx::affine().encode()).unwrap();
    assert!(message(refitter.refit_from_onnx(b"junk")).contains("can't refit the engine from the model"));
}

#[test]
fn weights_of_a_change_that_failed_are_in_no_later_one() {
    let held = double();
    let plan = affine(|options| options.refit = Refit::Yes).unwrap();
    let mut engine = engine(&plan);
    let before = engine.serialize().unwrap().to_vec();
    let weights = 10.0_f32.to_le_bytes();
    let mut refitter = engine.refitter().unwrap();
    for failing in ["refitCudaEngine:1=2", "setNamedWeights:2=2"] {
        held.double.reset();
        held.double.fail(failing);
        message(refitter.refit(&[("factor", &weights), ("offset", &[0; 16])]));
    }
    held.double.reset();
    held.double.fail("refitCudaEngine:1=2");
    message(refitter.refit_from_onnx(&scaled_by(20.0)));
    refitter.refit(&[]).unwrap();
    drop(refitter);
    assert_eq!(engine.serialize().unwrap().to_vec(), before);
}

/// The affine model with another factor.
fn scaled_by(factor: f32) -> Vec<u8> {
    onnx::Model::new("affine")
        .input("x", onnx::Type::F32, &[None, Some(4)])
        .constant("factor", &[1], &[factor])
        .constant("offset", &[4], &[0.0, 1.0, 2.0, 3.0])
        .node("Mul", &["x", "factor"], "scaled")
        .node("Add", &["scaled", "offset"], "doubled")
        .output("doubled", onnx::Type::F32, &[None, Some(4)])
        .encode()
}

#[test]
fn weights_are_streamed_within_a_budget_where_the_plan_allows_it() {
    let _held = double();
    assert_eq!(engine(&affine(|_| ()).unwrap()).streamable_weights(), 0);
    let mut engine = engine(&affine(|options| options.weight_streaming = true).unwrap());
    let all = engine.streamable_weights();
    assert!(all > 0);
    engine.set_weight_budget(all / 2).unwrap();
    assert_eq!(engine.weight_budget().unwrap(), all / 2);
    assert!(message(engine.set_weight_budget(-7)).contains("can't stream weights within that budget"));
    let _context = engine.context(Scratch::Own).unwrap();
    assert!(message(engine.set_weight_budget(0)).contains("no contexts"));
}

#[test]
fn a_timing_cache_goes_from_build_to_build() {
    let _held = double();
    let builder = library().builder(Some(&device()));
    let mut network = builder.parse(&onnx::affine().encode(), None).unwrap();
    assert!(message(network.timing_cache()).contains("can't tell the timing cache"));
    let mut options = BuildOptions { profiles: vec![rows(1, 4, &[4])], ..BuildOptions::default() };
    options.timing_cache = Some(Vec::new());
    network.build(&options).unwrap();
    options.timing_cache = Some(network.timing_cache().unwrap());
    network.build(&options).unwrap();
}

/// `nvinfer1::BuilderFlags` of the double's plan, which stand in its header.
fn flags(plan: &[u8]) -> u32 {
    u32::from_le_bytes(plan[24..28].try_into().unwrap())
}

#[test]
fn kernels_for_sparse_weights_are_a_flag_of_every_version() {
    // `kSPARSE_WEIGHTS` is 7 in all headers.
    const SPARSE_WEIGHTS: u32 = 1 << 7;
    let _held = double();
    let [dense, sparse] =
        [false, true].map(|sparse| affine(|options| options.sparse_weights = sparse).unwrap());
    assert_eq!(flags(&sparse), flags(&dense) | SPARSE_WEIGHTS);
    assert_eq!(flags(&dense) & SPARSE_WEIGHTS, 0);
}

#[test]
fn options_reach_the_builder() {
    let _held = double();
    let plan = affine(|options| {
        options.hardware_compatibility = Some(HardwareCompatibilityLevel::AmperePlus);
        options.sparse_weights = true;
        options.optimization_level = Some(1);
        options.workspace = Some(1 << 20);
        options.max_aux_streams = Some(0);
        options.max_threads = Some(1);
    });
    assert_eq!(engine(&plan.unwrap()).hardware_compatibility(), HardwareCompatibilityLevel::AmperePlus);
    let refused = message(affine(|options| options.compute_capabilities = vec![89]));
    assert!(refused.contains("compute capabilities can be chosen with TensorRT-RTX alone"), "{refused}");
}
