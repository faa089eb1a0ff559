//! One lane: a stream, and memory of both sides for each tensor of an engine. Bytes of the inputs enter, a run, bytes of the
//! outputs leave.

use forebay_bindings::cuda::{Device, DeviceBuffer, Event, Graph, PinnedBuffer, Stream};
use forebay_bindings::{Context, DataType, Engine, Error, TensorIOMode};

pub(crate) struct Lane {
    pub(crate) stream: Stream,
    pub(crate) done: Event,
    /// By the tensor's number.
    places: Vec<Place>,
}

/// A tensor's memory.
struct Place {
    input: bool,
    bytes: usize,
    host: PinnedBuffer,
    gpu: DeviceBuffer,
}

/// Gives inputs the shapes that the first profile is made for, with so many rows where those are free.
pub(crate) fn set_shapes(context: &mut Context, rows: i64) -> Result<(), Error> {
    let engine = context.engine().clone();
    for (number, tensor) in engine.tensors().iter().enumerate() {
        if tensor.mode != TensorIOMode::Input {
            continue;
        }
        let mut shape =
            tensor.profiles.first().map_or_else(|| tensor.shape.to_vec(), |range| range.opt.clone());
        if tensor.shape.first() == Some(&-1) {
            shape[0] = rows;
        }
        context.set_input_shape(number, &shape)?;
    }
    context.infer_shapes()
}

impl Lane {
    /// A lane for the shapes that the context has now.
    pub(crate) fn new(context: &Context) -> Result<Self, Error> {
        let engine = context.engine();
        let device = device(engine)?;
        let mut places = Vec::new();
        for (number, tensor) in engine.tensors().iter().enumerate() {
            let bytes = context.size(number)?;
            let (host, gpu) = (device.alloc_pinned(bytes)?, device.alloc(bytes)?);
            places.push(Place { input: tensor.mode == TensorIOMode::Input, bytes, host, gpu });
        }
        Ok(Self { stream: device.stream()?, done: device.event()?, places })
    }

    /// Fills each input with that number, as each type writes it.
    pub(crate) fn fill(&self, engine: &Engine, value: u8) -> Result<(), Error> {
        for (place, tensor) in self.places.iter().zip(engine.tensors()).filter(|(place, _)| place.input) {
            let element = element(tensor.dtype, value)?;
            for to in place.host.write()?[..place.bytes].chunks_exact_mut(element.len()) {
                to.copy_from_slice(&element);
            }
        }
        Ok(())
    }

    /// Has the context use this lane's memory.
    pub(crate) fn bind(&self, context: &mut Context) -> Result<(), Error> {
        for (number, place) in self.places.iter().enumerate() {
            context.bind(number, &place.gpu, 0)?;
        }
        Ok(())
    }

    /// Puts copies and run on the stream.
    pub(crate) fn put(&self, context: &mut Context, stream: &Stream) -> Result<(), Error> {
        for place in self.places.iter().filter(|place| place.input) {
            stream.upload(&place.host, 0..place.bytes, &place.gpu, 0)?;
        }
        context.enqueue(stream)?;
        for place in self.places.iter().filter(|place| !place.input) {
            stream.download(&place.gpu, 0..place.bytes, &place.host, 0)?;
        }
        Ok(())
    }

    /// A whole run that isn't waited for.
    pub(crate) fn start(&mut self, context: &mut Context) -> Result<(), Error> {
        self.bind(context)?;
        self.put(context, &self.stream)?;
        Ok(self.done.record(&self.stream)?)
    }

    /// The same, captured.
    pub(crate) fn capture(&self, context: &mut Context) -> Result<Graph, Error> {
        self.bind(context)?;
        self.stream.capture(|stream| self.put(context, stream))
    }

    /// A captured run that isn't waited for.
    pub(crate) fn launch(&mut self, graph: &Graph) -> Result<(), Error> {
        graph.launch(&self.stream)?;
        Ok(self.done.record(&self.stream)?)
    }

    /// The first bytes, at most so many, of each output of a run that is done.
    pub(crate) fn outputs(&self, most: usize) -> Result<Vec<Vec<u8>>, Error> {
        let outputs = self.places.iter().filter(|place| !place.input);
        outputs.map(|place| Ok(place.host.read()?[..place.bytes.min(most)].to_vec())).collect()
    }
}

pub(crate) fn device(engine: &Engine) -> Result<&Device, Error> {
    engine.device().ok_or_else(|| Error::Wrong("the engine is on no GPU".to_owned()))
}

/// The number as an element. 0x3c00 is FP16's 1, 0x3f80 BF16's; other numbers of theirs nobody asks for.
fn element(dtype: DataType, value: u8) -> Result<Vec<u8>, Error> {
    Ok(match dtype {
        DataType::Fp32 => f32::from(value).to_le_bytes().to_vec(),
        DataType::Int32 => i32::from(value).to_le_bytes().to_vec(),
        DataType::Int64 => i64::from(value).to_le_bytes().to_vec(),
        DataType::Fp16 if value == 1 => 0x3c00_u16.to_le_bytes().to_vec(),
        DataType::Bf16 if value == 1 => 0x3f80_u16.to_le_bytes().to_vec(),
        DataType::Int8 | DataType::Uint8 | DataType::Bool => vec![value],
        other => return Err(Error::Wrong(format!("no {value} of {other:?} is known"))),
    })
}

/// Elements as numbers, of the types whose numbers are of use here.
pub(crate) fn numbers(dtype: DataType, bytes: &[u8]) -> Vec<f64> {
    match dtype {
        DataType::Fp32 => {
            bytes.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect()
        }
        DataType::Int32 => {
            bytes.as_chunks().0.iter().map(|bytes| f64::from(i32::from_le_bytes(*bytes))).collect()
        }
        DataType::Int64 => {
            bytes.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as f64).collect()
        }
        _ => bytes.iter().map(|byte| f64::from(*byte)).collect(),
    }
}
