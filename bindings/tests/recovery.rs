//! A GPU's context that is lost is made anew once nothing of the old one is left; and memory of a GPU is counted where it is asked
//! to be. On the test double.

mod support;

use forebay_bindings::cuda::{Account, CudaError, Driver};
use forebay_bindings::{HostCode, Scratch};
use support::double::{Lane, affine, affine_context, device, double, library};

#[test]
fn a_lost_context_is_made_anew_when_nothing_of_it_is_left_and_not_before() {
    let held = double();
    let driver = Driver::load().unwrap();
    let context = affine_context();
    let lane = Lane::new(&device());
    held.double.fail("cuStreamSynchronize:1=700");
    assert!(lane.stream.synchronize().unwrap_err().is_sticky());
    assert!(device().check().unwrap_err().is_sticky());
    let refused = driver.reset(0).unwrap_err();
    assert!(matches!(refused, CudaError::Busy { .. }), "{refused}");
    drop(context);
    assert!(driver.reset(0).is_err());
    drop(lane);
    // Its error outlives the last handle: TensorRT's own CUDA runtime keeps the context.
    assert!(device().check().unwrap_err().is_sticky());
    driver.reset(0).unwrap();
    device().check().unwrap();
    let mut context = affine_context();
    let mut lane = Lane::new(&device());
    context.set_input_shape(0, &[1, 4]).unwrap();
    lane.fill(&[4.0; 4]);
    lane.start(&mut context, 4).unwrap();
    assert_eq!(lane.finish(4), [8.0, 9.0, 10.0, 11.0]);
}

#[test]
fn an_account_has_what_was_made_by_its_handle_as_long_as_that_lives() {
    let _held = double();
    let (account, other) = (Account::default(), Account::default());
    let used = || Driver::load().unwrap().memory(0).unwrap().unwrap();
    let device = device();
    let plan = affine(|_| ()).unwrap();
    let before = used();
    let mine = device.accounted(&account);
    let engine = library().runtime(Some(&mine), HostCode::Refuse).unwrap().deserialize(&plan).unwrap();
    let weights = account.bytes();
    assert!(weights > 0);
    let mut context = engine.context(Scratch::OwnPerProfile).unwrap();
    assert_eq!(account.bytes(), weights + engine.scratch_size(0).unwrap());
    let lane = Lane::new(&mine);
    context.set_profile(1, &lane.stream).unwrap();
    let all = weights + engine.scratch_size(1).unwrap() + lane.x.len() + lane.y.len();
    assert_eq!(account.bytes(), all);
    assert_eq!(before.free - used().free, all);
    let buffer = device.accounted(&other).alloc(1000).unwrap();
    assert_eq!((account.bytes(), other.bytes()), (all, 1024));
    drop((context, lane, engine, buffer));
    assert_eq!((account.bytes(), other.bytes()), (0, 0));
}

#[test]
fn a_gpu_without_a_context_is_asked_for_nothing_that_would_make_one() {
    let held = double();
    let driver = Driver::load().unwrap();
    let retained = held.double.count("cuDevicePrimaryCtxRetain");
    assert_eq!(driver.uuid(0).unwrap(), "GPU-fbfbfbfb-fbfb-fbfb-fbfb-fbfbfbfbfb00");
    assert_eq!(driver.total_memory(0).unwrap(), 1 << 30);
    // TensorRT's CUDA runtime may have one from another test.
    driver.reset(0).unwrap();
    assert_eq!(driver.memory(0).unwrap(), None);
    assert_eq!(held.double.count("cuDevicePrimaryCtxRetain"), retained);
    let device = device();
    assert_eq!(driver.memory(0).unwrap(), Some(device.memory().unwrap()));
    assert!(matches!(driver.uuid(7).unwrap_err(), CudaError::Failed { .. }));
}
