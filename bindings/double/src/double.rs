//! Paths of the libraries enter a test, and [`Double`], which steers what they do.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_int};
use std::sync::OnceLock;
use std::time::Duration;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

/// The folder of the three libraries.
pub const FOLDER: &str = env!("FOREBAY_DOUBLE_FOLDER");
/// The double of CUDA's driver.
pub const CUDA: &str = concat!(env!("FOREBAY_DOUBLE_FOLDER"), "/libcuda.so.1");
/// The double of TensorRT.
pub const NVINFER: &str =
    concat!(env!("FOREBAY_DOUBLE_FOLDER"), "/libnvinfer.so.", env!("FOREBAY_DOUBLE_MAJOR"));
/// The double of TensorRT's ONNX parser.
pub const PARSER: &str =
    concat!(env!("FOREBAY_DOUBLE_FOLDER"), "/libnvonnxparser.so.", env!("FOREBAY_DOUBLE_MAJOR"));
/// The folder of the stand-in: the double of TensorRT whose runs are kernels of whatever driver there is, a GPU's or the double.
pub const STANDIN: &str = env!("FOREBAY_STANDIN_FOLDER");
/// TensorRT's headers, which it was built with.
pub const INCLUDE: &str = env!("FOREBAY_DOUBLE_INCLUDE");

/// The first rules of a process: see [`Double::fail`].
pub const FAIL: &str = "FOREBAY_DOUBLE_FAIL";
/// A file of rules, which take the place of those before whenever it says something new: for processes that a test started.
pub const RULES: &str = "FOREBAY_DOUBLE_RULES";
/// A file that gets a line a call, with its name.
pub const TRACE: &str = "FOREBAY_DOUBLE_TRACE";
/// A folder of gates: work of a call is held while there is a file with the call's name. The trace tells it by a line `held` and the
/// name.
pub const GATES: &str = "FOREBAY_DOUBLE_GATES";
/// How many devices there are: 1.
pub const DEVICES: &str = "FOREBAY_DOUBLE_DEVICES";
/// Bytes of memory of each device: 1 GiB.
pub const MEMORY: &str = "FOREBAY_DOUBLE_MEMORY";
/// Compute capability of each device: 86 for 8.6.
pub const CAPABILITY: &str = "FOREBAY_DOUBLE_CAPABILITY";
/// The version that the double of TensorRT tells: that of the headers, 110400 for 11.4.0.
pub const VERSION: &str = "FOREBAY_DOUBLE_VERSION";

/// The environment of a process that uses the double: `command.envs(double::environment())`.
pub fn environment() -> [(&'static str, &'static str); 1] {
    [("LD_LIBRARY_PATH", FOLDER)]
}

/// The loaded double. One a process: its counts, rules and gates are the process's.
pub struct Double {
    functions: Functions,
}

struct Functions {
    fail: unsafe extern "C" fn(*const c_char) -> c_int,
    count: unsafe extern "C" fn(*const c_char) -> u64,
    counts: unsafe extern "C" fn(*mut c_char, usize) -> usize,
    alive_list: unsafe extern "C" fn(*mut c_char, usize) -> usize,
    close_gate: unsafe extern "C" fn(*const c_char),
    open_gate: unsafe extern "C" fn(*const c_char),
    await_held: unsafe extern "C" fn(*const c_char, c_int, c_int) -> c_int,
    reset: unsafe extern "C" fn(),
}

impl Double {
    /// Loads the double into this process, once. The loader then finds it by the names of the real libraries, unless a file of
    /// such a name comes first on its path (a driver's `libcuda.so`, which only machines with a GPU have).
    ///
    /// # Errors
    /// A library can't be loaded.
    pub fn load() -> Result<&'static Self, libloading::Error> {
        static LOADED: OnceLock<Double> = OnceLock::new();
        if let Some(double) = LOADED.get() {
            return Ok(double);
        }
        let cuda = open(CUDA)?;
        for path in [NVINFER, PARSER] {
            std::mem::forget(open(path)?);
        }
        // SAFETY: the types are those of control/control.h, which the library was built with.
        let functions = unsafe {
            Functions {
                fail: *cuda.get(b"forebay_double_fail\0")?,
                count: *cuda.get(b"forebay_double_count\0")?,
                counts: *cuda.get(b"forebay_double_counts\0")?,
                alive_list: *cuda.get(b"forebay_double_alive_list\0")?,
                close_gate: *cuda.get(b"forebay_double_close_gate\0")?,
                open_gate: *cuda.get(b"forebay_double_open_gate\0")?,
                await_held: *cuda.get(b"forebay_double_await_held\0")?,
                reset: *cuda.get(b"forebay_double_reset\0")?,
            }
        };
        // Its threads outlive every use of it.
        std::mem::forget(cuda);
        Ok(LOADED.get_or_init(|| Double { functions }))
    }

    /// Makes calls fail, by rules `call:which=code` joined by commas, in place of the rules before. `call` is a name as
    /// [`Double::counts`] lists them, or `*`; `which` counts from 1 from now on, or is `*`; `code` is the error (a `CUresult` or an
    /// `nvinfer1::ErrorCode`; 552 makes a function that creates an object return the bogus pointer 0x228), or, below 0, a signal that the process gets.
    ///
    /// # Panics
    /// The rules can't be read.
    pub fn fail(&self, rules: &str) {
        let text = c_string(rules);
        // SAFETY: the text lives for the call.
        let taken = unsafe { (self.functions.fail)(text.as_ptr()) };
        assert_eq!(taken, 0, "not rules: {rules}");
    }

    /// How often a call was made since the last reset, refused ones included.
    pub fn count(&self, call: &str) -> u64 {
        let name = c_string(call);
        // SAFETY: the name lives for the call.
        unsafe { (self.functions.count)(name.as_ptr()) }
    }

    /// Every call made since the last reset, with how often.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        lines(self.functions.counts)
    }

    /// What is alive, by kind: `device_memory`, `pinned_memory`, `context`, `stream`, `event`, `graph`, `graph_exec`, and
    /// TensorRT's objects.
    pub fn alive(&self) -> BTreeMap<String, u64> {
        lines(self.functions.alive_list)
    }

    /// Holds the work that a call queues (`cuMemcpyDtoHAsync_v2`, `enqueueV3`) when its turn on its stream comes.
    pub fn close_gate(&self, call: &str) {
        let name = c_string(call);
        // SAFETY: the name lives for the call.
        unsafe { (self.functions.close_gate)(name.as_ptr()) }
    }

    /// Lets it go on.
    pub fn open_gate(&self, call: &str) {
        let name = c_string(call);
        // SAFETY: the name lives for the call.
        unsafe { (self.functions.open_gate)(name.as_ptr()) }
    }

    /// Waits until that many pieces of work stand before a closed gate; false if they don't in that time.
    pub fn await_held(&self, call: &str, held: u16, limit: Duration) -> bool {
        let name = c_string(call);
        let milliseconds = c_int::try_from(limit.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the name lives for the call.
        unsafe { (self.functions.await_held)(name.as_ptr(), c_int::from(held), milliseconds) != 0 }
    }

    /// No rules, no counts, open gates, and contexts without an error. What is alive stays.
    pub fn reset(&self) {
        // SAFETY: it takes nothing.
        unsafe { (self.functions.reset)() }
    }
}

fn open(path: &str) -> Result<Library, libloading::Error> {
    // SAFETY: the library is this package's own; loading it runs no code but its static initialisers.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }
}

fn c_string(text: &str) -> CString {
    CString::new(text).expect("names of calls have no zero byte")
}

/// The lines "name number" that a function writes.
fn lines(write: unsafe extern "C" fn(*mut c_char, usize) -> usize) -> BTreeMap<String, u64> {
    let mut text = vec![0u8; 64];
    loop {
        // SAFETY: the buffer has as many bytes as it says; the function ends the text with a zero within them.
        let needed = unsafe { write(text.as_mut_ptr().cast(), text.len()) };
        if needed <= text.len() {
            text.truncate(needed - 1);
            break;
        }
        text.resize(needed, 0);
    }
    let text = String::from_utf8(text).expect("names of calls are ASCII");
    text.lines()
        .map(|line| {
            let (name, number) = line.split_once(' ').expect("a name and a number");
            (name.to_owned(), number.parse().expect("a number"))
        })
        .collect()
}
