//! Real plans of TensorRT-RTX, built here, and what is done to them: each damage is an error that says what is wrong.

mod support;

use std::collections::BTreeSet;
use std::thread;

use forebay_bindings::cuda::{CudaError, Driver};
use forebay_bindings::{BuildOptions, HostCode, Plan, Profile, Range, Runtime};
use support::{message, onnx, rtx};

fn plan() -> Plan {
    let dims = |rows| vec![rows, 4];
    let range = Range { input: "x".into(), values: false, min: dims(1), opt: dims(8), max: dims(32) };
    let profiles = vec![Profile { inputs: vec![range] }];
    let options = BuildOptions { profiles, ..BuildOptions::default() };
    rtx().builder(None).parse(&onnx::dense(), None).unwrap().build(&options).unwrap()
}

fn runtime() -> Runtime {
    rtx().runtime(None, HostCode::Refuse).expect("a runtime needs no driver")
}

#[test]
fn damage_is_told_by_its_kind() {
    let (plan, runtime) = (plan(), runtime());
    let other_magic = [&[!plan[0]], &plan[1..]].concat();
    let longer = [&plan[..], &[0; 100]].concat();
    for (what, bytes, words) in [
        ("empty", &b""[..], "Cannot deserialize with an empty memory buffer"),
        ("short", &plan[..8], "bufferSize >= minBufferSize failed"),
        ("cut in half", &plan[..plan.len() / 2], "plan.header.size == blobSize failed"),
        ("cut by a byte", &plan[..plan.len() - 1], "plan.header.size == blobSize failed"),
        ("longer", &longer, "plan.header.size == blobSize failed"),
        ("no plan", &other_magic, "magicTag == kEXPECTED_MAGIC_TAG failed"),
    ] {
        let refused = message(runtime.deserialize(bytes));
        assert!(refused.starts_with("TensorRT can't deserialize the plan: "), "{what}: {refused}");
        assert!(refused.contains(words), "{what}: {refused}");
        assert!(!refused.contains('\n'), "{what}: {refused}");
    }
}

#[test]
fn a_sound_plan_without_a_driver_says_that_the_driver_is_missing() {
    if matches!(Driver::load(), Err(CudaError::NoDriver { .. })) {
        let refused = message(runtime().deserialize(&plan()));
        assert!(refused.contains("CUDA driver version is insufficient"), "{refused}");
    }
}

#[test]
fn plans_with_flipped_bytes_end_no_process() {
    let (plan, runtime) = (plan(), runtime());
    let mut messages = BTreeSet::new();
    let mut bytes = plan.to_vec();
    // Every byte of the headers, and a sample of what follows.
    for place in (0..512).chain((512..bytes.len()).step_by(997)) {
        bytes[place] ^= 0xff;
        if let Err(error) = runtime.deserialize(&bytes) {
            messages.insert(error.to_string());
        }
        bytes[place] ^= 0xff;
    }
    assert!(messages.len() > 3, "{messages:?}");
}

#[test]
fn errors_of_two_threads_do_not_mix() {
    let (plan, runtime) = (plan(), runtime());
    let damaged = [&plan[..8], &plan[..plan.len() / 2]];
    let alone = damaged.map(|bytes| message(runtime.deserialize(bytes)));
    assert_ne!(alone[0], alone[1]);
    thread::scope(|scope| {
        for (bytes, expected) in damaged.iter().zip(&alone) {
            // One runtime for both, and one for each.
            for runtime in [runtime.clone(), self::runtime()] {
                scope.spawn(move || {
                    for _ in 0..100 {
                        assert_eq!(&message(runtime.deserialize(bytes)), expected);
                    }
                });
            }
        }
    });
}

#[test]
fn a_plan_outlives_what_built_it() {
    let plan = {
        let library = rtx();
        let mut network = library.builder(None).parse(&onnx::model(onnx::relu(&[1])), None).unwrap();
        drop(library);
        let plan = network.build(&BuildOptions::default()).unwrap();
        drop(network);
        plan
    };
    let copied = thread::spawn(move || plan.to_vec()).join().unwrap();
    assert!(copied.len() > 1000);
}
