//! A checked request on its way through the queue: its tensors for the session, and its result into the pool and back.

use std::sync::Arc;

use forebay_protocol::datatype::DataType;
use forebay_protocol::digest::Key;
use forebay_protocol::entry::Entry;
use forebay_protocol::messages::{InferOutputTensor, ModelInferRequest, ModelInferResponse};
use tokio::sync::oneshot;

use super::InferError;
use crate::engine::InputTensor;
use crate::instances::{Computed, RunError, Work};
use crate::models::Version;
use crate::store::{Store, now_ms};

/// What a session gave.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) response: ModelInferResponse,
    pub(super) cost_us: u64,
    pub(super) stored: bool,
}

/// Queues the request and waits for its result, which is kept under the key if there is one.
///
/// # Errors
/// `Queue`, `Run` and `Lost`.
pub(super) async fn compute(
    version: &Arc<Version>,
    request: ModelInferRequest,
    outputs: Vec<usize>,
    keep: Option<(Arc<Store>, Key)>,
) -> Result<Done, InferError> {
    let bytes = request.raw_input_contents.iter().map(bytes::Bytes::len).sum();
    let (reply, answer) = oneshot::channel();
    let work = Asked { version: version.clone(), request, outputs, keep, reply };
    version.instances.submit(Box::new(work), bytes)?;
    Ok(answer.await.map_err(|_| InferError::Lost)??)
}

/// A request in the queue.
struct Asked {
    version: Arc<Version>,
    request: ModelInferRequest,
    outputs: Vec<usize>,
    keep: Option<(Arc<Store>, Key)>,
    reply: oneshot::Sender<Result<Done, RunError>>,
}

impl Work for Asked {
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn inputs(&self) -> Vec<InputTensor<'_>> {
        let inputs = self.request.inputs.iter().zip(&self.request.raw_input_contents);
        inputs
            .filter_map(|(input, data)| {
                // The signature's check compared the datatype with a known one.
                let datatype: DataType = input.datatype.parse().ok()?;
                Some(InputTensor { name: &input.name, datatype, shape: &input.shape, data })
            })
            .collect()
    }

    fn outputs(&self) -> &[usize] {
        &self.outputs
    }

    /// Keeps the answer before it goes out. A client that left doesn't make it useless to others.
    fn done(self: Box<Self>, result: Result<Computed, RunError>) {
        let Self { version, request, keep, reply, .. } = *self;
        let answered = result.map(|computed| {
            let cost_us = u64::try_from(computed.compute.as_micros()).unwrap_or(u64::MAX);
            let response = response(&version, request.model_name, computed);
            version.metrics.inferences.increment(1);
            let mut stored = false;
            if let (Some((store, key)), Some(freshness)) = (keep, version.freshness) {
                let entry = Entry {
                    response: Some(response.clone()),
                    generation: version.generation.0.to_vec().into(),
                    cost_us,
                    created_ms: now_ms(),
                    max_age_s: freshness.max_age_s,
                    stale_while_revalidate_s: freshness.stale_while_revalidate_s,
                    stale_if_error_s: freshness.stale_if_error_s,
                };
                stored = store.keep(key, entry);
            }
            Done { response, cost_us, stored }
        });
        if reply.send(answered).is_err() {
            version.metrics.failure_canceled.increment(1);
        }
    }
}

fn response(version: &Version, model_name: String, computed: Computed) -> ModelInferResponse {
    let mut response = ModelInferResponse {
        model_name,
        model_version: version.number.clone(),
        outputs: Vec::with_capacity(computed.outputs.len()),
        raw_output_contents: Vec::with_capacity(computed.outputs.len()),
        ..ModelInferResponse::default()
    };
    for output in computed.outputs {
        let spec = &version.signature.outputs[output.index];
        response.outputs.push(InferOutputTensor {
            name: spec.name.clone(),
            datatype: spec.datatype.as_str().to_owned(),
            shape: output.shape,
            ..InferOutputTensor::default()
        });
        response.raw_output_contents.push(output.data);
    }
    response
}
