//! The GPU's memory is touched where there is none. What each later call says, and what brings the context back, leaves: the
//! recovery of `forebay serve` rests on the answers.

use std::ffi::{CStr, CString};
use std::path::Path;
use std::ptr;

use cudarc::driver::sys::{self, CUresult};
use forebay_bindings::Error;
use forebay_bindings::cuda::Device;
use serde_json::{Value, json};

use crate::{Source, checks, gpu};

/// The stand-in's kernels, which the driver compiles.
const KERNELS: &str = include_str!("../../../double/kernels/kernels.ptx");
/// The one among them that writes where no memory is.
const FAULT: &CStr = c"forebay_fault";

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
    // The driver and the context are there, and the context is this thread's: a run went before.
    let missing =
        ["cuModuleLoadData", "cuModuleGetFunction", "cuLaunchKernel"].iter().find(|name| !has(name));
    if let Some(missing) = missing {
        return format!("not run: the driver has no {missing}");
    }
    let Ok(text) = CString::new(KERNELS) else { return "not run: the kernels hold a zero".to_owned() };
    let (mut module, mut function) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the functions are there; the text ends with a zero; the driver writes handles to places that live. The kernel takes
    // no parameters. That it ruins the context is what it is for: whoever uses the context gets errors, no other harm.
    let results = unsafe {
        [
            sys::cuModuleLoadData(&raw mut module, text.as_ptr().cast()),
            sys::cuModuleGetFunction(&raw mut function, module, FAULT.as_ptr()),
            sys::cuLaunchKernel(
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
    match results.iter().position(|result| *result != CUresult::CUDA_SUCCESS) {
        Some(step) => format!("not run: step {step} failed with {:?}", results[step]),
        None => checks::healthy(device),
    }
}

/// Resets the first GPU's primary context. Nothing of this process uses it any more.
fn reset() -> String {
    if !has("cuDevicePrimaryCtxReset_v2") {
        return "not run: the driver has no such function".to_owned();
    }
    // SAFETY: the function is there; 0 is the first GPU, which exists: its context was used before.
    format!("{:?}", unsafe { sys::cuDevicePrimaryCtxReset_v2(0) })
}

/// Has the driver that function? cudarc panics at the call of one that is missing.
fn has(symbol: &str) -> bool {
    // SAFETY: the driver was loaded before; the function is only looked for.
    unsafe { sys::culib().get::<unsafe extern "C" fn()>(symbol.as_bytes()).is_ok() }
}
