//! The test double of CUDA and TensorRT, for one test at a time: its rules and counts are the process's.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_bindings::cuda::{Device, DeviceBuffer, Driver, Event, PinnedBuffer, Stream};
use forebay_bindings::{
    BuildOptions, Context, Engine, Error, Flavour, HostCode, Library, Plan, Profile, Range, Scratch,
};
use tensorrt_double::{Double, NVINFER, onnx};

/// What is waited for must be there by then.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// What `affine` makes of rows of the same value.
pub(crate) fn expected(value: f32, rows: usize) -> Vec<f32> {
    (0..rows).flat_map(|_| (0_u8..4).map(move |column| 2.0 * value + f32::from(column))).collect()
}

/// The double, as long as a test has it.
pub(crate) struct Held {
    pub(crate) double: &'static Double,
    _turn: MutexGuard<'static, ()>,
}

/// Takes the double, as new.
pub(crate) fn double() -> Held {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let double = Double::load().expect("the double loads");
    double.reset();
    Held { double, _turn: turn }
}

impl Held {
    /// What is alive, by kind; what there is none of is left out.
    pub(crate) fn alive(&self) -> Vec<(String, u64)> {
        self.double.alive().into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

pub(crate) fn device() -> Device {
    Driver::load().and_then(|driver| driver.device(0)).expect("the double has a GPU")
}

pub(crate) fn library() -> Library {
    Library::open(NVINFER, Flavour::Enterprise).expect("the double is of our version")
}

/// One profile of `x`: rows from `min` to `max`, with the columns that follow.
pub(crate) fn rows(min: i64, max: i64, columns: &[i64]) -> Profile {
    let dims = |rows| [&[rows], columns].concat();
    let range = Range { input: "x".into(), values: false, min: dims(min), opt: dims(max), max: dims(max) };
    Profile { inputs: vec![range] }
}

/// `y = 2x + [0 1 2 3]`, 1 to 4 rows in the first profile, 1 to 64 in the second.
pub(crate) fn affine(change: impl FnOnce(&mut BuildOptions)) -> Result<Plan, Error> {
    let profiles = vec![rows(1, 4, &[4]), rows(1, 64, &[4])];
    let mut options = BuildOptions { profiles, ..BuildOptions::default() };
    change(&mut options);
    library().builder(Some(&device())).parse(&onnx::affine().encode(), None)?.build(&options)
}

pub(crate) fn engine(plan: &Plan) -> Engine {
    let runtime = library().runtime(Some(&device()), HostCode::Refuse).expect("a runtime");
    runtime.deserialize(plan).expect("an engine")
}

/// An engine of `affine` with one context.
pub(crate) fn affine_context() -> Context {
    engine(&affine(|_| ()).expect("a plan")).context(Scratch::Own).expect("a context")
}

/// A stream with its own buffers: what an instance has two of.
pub(crate) struct Lane {
    pub(crate) stream: Stream,
    pub(crate) input: PinnedBuffer,
    pub(crate) x: DeviceBuffer,
    pub(crate) y: DeviceBuffer,
    pub(crate) output: PinnedBuffer,
    pub(crate) done: Event,
}

impl Lane {
    pub(crate) fn new(device: &Device) -> Self {
        let bytes = 4 * 4 * 64;
        Self {
            stream: device.stream().unwrap(),
            input: device.alloc_pinned(bytes).unwrap(),
            x: device.alloc(bytes).unwrap(),
            y: device.alloc(bytes).unwrap(),
            output: device.alloc_pinned(bytes).unwrap(),
            done: device.event().unwrap(),
        }
    }

    /// Writes the input.
    pub(crate) fn fill(&self, values: &[f32]) {
        let mut input = self.input.write().expect("the input is free");
        for (to, value) in input.chunks_exact_mut(4).zip(values) {
            to.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Binds the buffers, copies the input, runs, copies the output: all put on the stream.
    pub(crate) fn start(&mut self, context: &mut Context, values: usize) -> Result<(), Error> {
        context.bind(0, &self.x, 0)?;
        context.bind(1, &self.y, 0)?;
        self.put(context, values)?;
        Ok(self.done.record(&self.stream)?)
    }

    /// What a graph has of it.
    pub(crate) fn put(&self, context: &mut Context, values: usize) -> Result<(), Error> {
        self.stream.upload(&self.input, 0..values * 4, &self.x, 0)?;
        context.enqueue(&self.stream)?;
        Ok(self.stream.download(&self.y, 0..values * 4, &self.output, 0)?)
    }

    /// Waits and reads the output.
    pub(crate) fn finish(&self, values: usize) -> Vec<f32> {
        self.done.wait().expect("the work is done");
        let output = self.output.read().expect("the output is free");
        let bytes = output.chunks_exact(4).take(values);
        bytes.map(|value| f32::from_le_bytes(value.try_into().unwrap())).collect()
    }
}
