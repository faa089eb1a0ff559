//! The recorder of `serve`: what models were asked, kept encrypted for a while, for `forebay optimize` and whoever needs true inputs
//! later. A request that its model takes enters [`Recorder::offer`]; by chance its input tensors go to a queue, bounded in bytes, and
//! from there to disk by one thread (`writer`), into `segment`s that the `folder` drops by age and by size. [`read`] gives them back.
//!
//! It is the traffic as it is asked for: recorded before it is looked up or computed, so that hits are among it in their share, and
//! requests that a full queue refuses. What the filters answer never comes here. Of a request its input tensors are kept (names,
//! datatypes, shapes, values), with the time, the version and the outputs that it asks for: no header, no parameter, no id, nothing of
//! who asked. One that says `no-store` isn't recorded.
//!
//! A request never waits: it reserves its bytes in the queue or isn't recorded, which is counted. What isn't recorded costs no
//! allocation and no lock.

pub(crate) mod folder;
mod key;
mod queue;
mod read;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forebay_protocol::digest;
use forebay_protocol::messages::{InferInputTensor, InferRequestedOutputTensor, ModelInferRequest};
use metrics::{Counter, counter};
use prost::Message as _;
use tokio::sync::oneshot;

use crate::settings::{RecordConfig, SettingsError};
use crate::time::clock::now_ms;
pub(crate) use key::Key;
use queue::Queue;
pub(crate) use read::read;
use segment::Frame;
pub(crate) use segment::fuzz;
use writer::{Message, Writer};

/// A request's inputs, as they were recorded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recorded {
    /// When, in milliseconds since 1970.
    pub(crate) time_ms: u64,
    /// In canonical form: the model, a version, and the inputs.
    pub(crate) request: ModelInferRequest,
    /// The request says all that was asked, as everybody may: it has the digest that it had. Otherwise parameters were left out, and
    /// outputs with them, and the version is the one that it was for.
    pub(crate) is_whole: bool,
}

/// Records requests of some models.
pub(crate) struct Recorder {
    models: HashMap<String, Arc<Recording>>,
    share: f64,
    queue: Arc<Queue>,
    to_writer: Sender<Message>,
    /// Told when all is on disk that was there at the end.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

/// What is counted of a model that is recorded.
struct Recording {
    model: String,
    /// Recorded.
    written: Counter,
    /// Too many bytes wait to be written.
    dropped_queue: Counter,
    /// It could never be kept: more than the queue or the folder may hold.
    dropped_size: Counter,
    /// The folder couldn't be written.
    dropped_disk: Counter,
}

impl Recording {
    fn new(model: &str) -> Self {
        let model = model.to_owned();
        let dropped = |reason: &'static str| counter!("forebay_record_dropped", "model" => model.clone(), "reason" => reason);
        Self {
            written: counter!("forebay_record_written", "model" => model.clone()),
            dropped_queue: dropped("queue"),
            dropped_size: dropped("too_large"),
            dropped_disk: dropped("disk"),
            model,
        }
    }
}

impl Recorder {
    /// Makes the folder if it isn't there, and the thread that writes to it.
    ///
    /// # Errors
    /// When the key can't be used, or the folder not be written.
    pub(crate) fn start(config: &RecordConfig) -> Result<Arc<Self>, SettingsError> {
        let recordings = config.models.iter().map(|model| (model.clone(), Arc::new(Recording::new(model))));
        let queue = Arc::new(Queue::new(config.queue_bytes));
        let (to_writer, ended) = Writer::start(config, queue.clone())?;
        Ok(Arc::new(Self {
            models: recordings.collect(),
            share: config.share,
            queue,
            to_writer,
            ended: Mutex::new(Some(ended)),
        }))
    }

    /// Says which models are to be recorded and are not served: who meant others would wait for records for ever.
    pub(crate) fn say_unknown(&self, is_served: impl Fn(&str) -> bool) {
        for model in self.models.keys().filter(|model| !is_served(model)) {
            tracing::warn!("--record names {model}, which is not served: it is recorded once it is");
        }
    }

    /// Records a request that this version of its model takes: one of those that are recorded, and by chance. Of one that isn't
    /// everybody's, whose answer may be a tenant's alone or nobody else's, not all is.
    pub(crate) fn offer(&self, version: &str, request: &ModelInferRequest, is_everybodys: bool) {
        let Some(recording) = self.models.get(&request.model_name) else { return };
        if rand::random::<f64>() >= self.share {
            return;
        }
        let bytes = counted(request);
        // A record's length has 32 bits.
        if bytes > self.queue.most() || u32::try_from(bytes).is_err() {
            return recording.dropped_size.increment(1);
        }
        if !self.queue.reserve(bytes) {
            return recording.dropped_queue.increment(1);
        }
        // Copied: what is queued must not hold on to the memory of a whole body, which nobody counts then.
        let is_whole = is_everybodys && !digest::has_parameters(request);
        let frame = Frame::of(&recorded(version, request, is_whole, now_ms()));
        let message = Message::Record { recording: recording.clone(), frame, bytes };
        if self.to_writer.send(message).is_err() {
            self.queue.release(bytes);
            recording.dropped_disk.increment(1);
        }
    }

    /// Waits until all is on disk that was offered so far, but no longer than that.
    pub(crate) async fn end(&self, patience: Duration) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        let is_told = self.to_writer.send(Message::End).is_ok();
        if let Some(ended) = ended.filter(|_| is_told)
            && tokio::time::timeout(patience, ended).await.is_err()
        {
            tracing::warn!("cut: records that were not on disk yet");
        }
    }
}

/// What is kept of a request: all that it asks if it is to be whole, but never parameters, which may say anything.
fn recorded(version: &str, request: &ModelInferRequest, is_whole: bool, time_ms: u64) -> Recorded {
    let input = |input: &InferInputTensor| InferInputTensor {
        name: input.name.clone(),
        datatype: input.datatype.clone(),
        shape: input.shape.clone(),
        ..InferInputTensor::default()
    };
    let output = |output: &InferRequestedOutputTensor| InferRequestedOutputTensor {
        name: output.name.clone(),
        ..InferRequestedOutputTensor::default()
    };
    let (version, outputs) = if is_whole {
        (&*request.model_version, request.outputs.iter().map(output).collect())
    } else {
        (version, Vec::new())
    };
    let request = ModelInferRequest {
        model_name: request.model_name.clone(),
        model_version: version.to_owned(),
        inputs: request.inputs.iter().map(input).collect(),
        outputs,
        raw_input_contents: request.raw_input_contents.clone(),
        ..ModelInferRequest::default()
    };
    Recorded { time_ms, request, is_whole }
}

/// What a record counts as in the queue: never less than it takes there.
fn counted(request: &ModelInferRequest) -> usize {
    /// The head, the tag, the version that it was for, the queue's own.
    const BESIDE: usize = 512;
    request.encoded_len() + BESIDE
}
