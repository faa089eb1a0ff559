//! A run allocates nothing on the host, neither put call by call nor as a graph.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use support::double::{Lane, affine_context, device, double};

/// The system's allocator, which counts for each thread.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is the system allocator's; counting touches no memory of callers.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(address, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocated(work: impl FnOnce()) -> u64 {
    let before = ALLOCATED.get();
    work();
    ALLOCATED.get() - before
}

#[test]
fn a_run_allocates_nothing_on_the_host() {
    let _held = double();
    let mut context = affine_context();
    let mut lanes = [Lane::new(&device()), Lane::new(&device())];
    let mut bytes = [0; 16];
    context.set_input_shape(0, &[1, 4]).unwrap();
    let mut round = |context: &mut forebay_bindings::Context| {
        for lane in &mut lanes {
            lane.input.write().unwrap()[..16].copy_from_slice(&[1; 16]);
            lane.start(context, 4).unwrap();
        }
        for lane in &lanes {
            lane.done.wait().unwrap();
            bytes.copy_from_slice(&lane.output.read().unwrap()[..16]);
        }
    };
    round(&mut context);
    assert!(allocated(|| drop(Box::new(1))) == 1, "the counter counts");
    assert_eq!(allocated(|| (0..10).for_each(|_| round(&mut context))), 0);

    let lane = &lanes[0];
    let graph = lane.stream.capture(|_| lane.put(&mut context, 4)).unwrap();
    graph.launch(&lane.stream).unwrap();
    lane.stream.synchronize().unwrap();
    let launches = allocated(|| {
        for _ in 0..10 {
            graph.launch(&lane.stream).unwrap();
            lane.stream.synchronize().unwrap();
        }
    });
    assert_eq!(launches, 0);
}
