//! The GPU's memory is touched where there is none. What each later call says, and what brings the context back, leaves: the
//! recovery of `forebay serve` rests on the answers.

use std::ffi::{CStr, CString};
use std::path::Path;
use std::ptr;

use driver::Functions;

use forebay_bindings::Error;
use forebay_bindings::cuda::Device;
use serde_json::{Value, json};

use crate::{Source, checks, gpu};

/// The stand-in's kernels, which the driver compiles.
const KERNELS: &str = include_str!("../../../double/kernels/kernels.ptx");
/// The one among them that writes where no memory is.
const FAULT: &CStr = c"forebay_fault";

/// The driver's functions that only this needs, by bindgen.
#[allow(
    missing_docs,
    unreachable_pub,
    non_camel_case_types,
    non_snake_case,
    dead_code,
    unsafe_op_in_unsafe_fn
)]
#[allow(clippy::all, clippy::pedantic, clippy::undocumented_unsafe_blocks)]
mod driver {
    include!(concat!(env!("OUT_DIR"), "/fault.rs"));
}

/// The steps, each with what it found.
pub(crate) fn meet(source: &Source, plan: &Path) -> Result<Value, Error> {
    let mut steps: Vec<Value> = Vec::new();
    let mut told = |what: &str, found: String| {
        let step = json!({ "what": what, "found": found });
        // Said at once, too: the next step may end the process.
        println!("{step}");
        steps.push(step);
    };
    let device = gpu()?;
    let engine = source.engine(&device, plan)?;
    told("a run before", found(checks::one_run(&engine)));
    told("a kernel that writes where no memory is", touch_nothing(&device));
    told("the context then", checks::healthy(&device));
    told("a run on the same engine", found(checks::one_run(&engine)));
    told("a new engine in the same context", found(again(source, &device, plan)));
    drop(engine);
    drop(device);
    told(
        "everything let go, the context retained anew",
        found(gpu().and_then(|device| again(source, &device, plan))),
    );
    told("cuDevicePrimaryCtxReset", reset());
    told(
        "the context retained after the reset",
        found(gpu().and_then(|device| again(source, &device, plan))),
    );
    Ok(Value::Array(steps))
}

fn again(source: &Source, device: &Device, plan: &Path) -> Result<String, Error> {
    checks::one_run(&source.engine(device, plan)?)
}

fn found(outcome: Result<String, Error>) -> String {
    outcome.unwrap_or_else(|error| error.to_string())
}

/// Runs a kernel that writes where no memory is, and waits for it.
fn touch_nothing(device: &Device) -> String {
    let driver = match load() {
        Ok(driver) => driver,
        Err(error) => return format!("not run: {error}"),
    };
    let Ok(text) = CString::new(KERNELS) else { return "not run: the kernels hold a zero".to_owned() };
    let (mut module, mut function) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the text ends with a zero; the driver writes handles to places that live; its context is there and this thread's, for
    // a run went before. The kernel takes no parameters. That it ruins the context is what it is for: whoever uses the context
    // gets errors, no other harm.
    let results = unsafe {
        [
            driver.cuModuleLoadData(&raw mut module, text.as_ptr().cast()),
            driver.cuModuleGetFunction(&raw mut function, module, FAULT.as_ptr()),
            driver.cuLaunchKernel(
                function,
                1,
                1,
                1,
                1,
                1,
                1,
                0,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            ),
        ]
    };
    match results.iter().position(|result| *result != driver::CUDA_SUCCESS) {
        Some(step) => format!("not run: step {step} failed with {}", results[step]),
        None => checks::healthy(device),
    }
}

/// Resets the first GPU's primary context. Nothing of this process uses it any more.
fn reset() -> String {
    match load() {
        // SAFETY: 0 is the first GPU, which exists: its context was used before.
        Ok(driver) => format!("{}", unsafe { driver.cuDevicePrimaryCtxReset_v2(0) }),
        Err(error) => format!("not run: {error}"),
    }
}

/// The driver's functions that only this needs. It is loaded already: this counts once more.
fn load() -> Result<Functions, libloading::Error> {
    // SAFETY: the driver is initialised; the functions are those that its header declares.
    unsafe { Functions::new("libcuda.so.1") }
}
