//! A checked request on its way through the queue: its tensors for the session, and its result into the pool and back.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use forebay_protocol::datatype::DataType;
use forebay_protocol::digest::{Generation, Key};
use forebay_protocol::entry::Entry;
use forebay_protocol::manner::Manner;
use forebay_protocol::messages::{InferOutputTensor, ModelInferRequest, ModelInferResponse};
use http::HeaderMap;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::classify::Classified;
use super::{InferError, headers, in_sequence};
use crate::cache::pool::Lease;
use crate::cache::store::Store;
use crate::engine::signature::classification;
use crate::engine::{EngineError, InputTensor, Parts};
use crate::models::Version;
use crate::models::served::Computes;
use crate::observe::trace::{Stage, Trace};
use crate::schedule::answers::{Answers, Done, Found, Landed};
use crate::schedule::flight::Lead;
use crate::schedule::given::Given;
use crate::schedule::{Computed, Demand, RunError, Schedule, Work, batch};
use crate::time::clock::now_ms;

/// Where a result is kept, and under what.
#[derive(Clone)]
pub(super) struct Keep {
    pub(super) store: Arc<Store>,
    pub(super) key: Key,
    pub(super) generation: Generation,
    /// For no longer than that, in seconds.
    pub(super) ttl: Option<u32>,
}

/// A request that a session must answer.
pub(super) struct Asked {
    pub(super) version: Arc<Version>,
    pub(super) request: ModelInferRequest,
    /// Which outputs to compute.
    pub(super) outputs: Vec<usize>,
    pub(super) manner: Manner,
    /// `None`: the result is not kept.
    pub(super) keep: Option<Keep>,
    /// What goes on with it, where an upstream computes.
    pub(super) passed: HeaderMap,
    pub(super) deadline: Option<Instant>,
    /// Since when it waits, if it waited before it is queued.
    pub(super) since: Option<Instant>,
    /// Of one that leads: others wait for the result.
    pub(super) lead: Option<Lead<Answers>>,
    /// Of one that computes for other servers, too: they wait for what is kept.
    pub(super) lease: Option<Lease>,
    pub(super) trace: Trace,
}

impl Asked {
    /// Has the result computed, which is kept under the key if there is one.
    ///
    /// # Errors
    /// `Queue`, `Run`, `Deadline` and `Lost`.
    pub(super) async fn compute(self) -> Result<Done, InferError> {
        let version = self.version.clone();
        match &version.computes {
            Computes::Sessions(schedule) => self.by_session(schedule).await,
            Computes::Upstream(remote) => self.by_upstream(remote).await,
        }
    }

    /// Queues the request and waits for its result. Dropping the future takes the request out of the queue; once it runs, the result is
    /// kept and shared all the same.
    async fn by_session(mut self, schedule: &Schedule) -> Result<Done, InferError> {
        let demand = self.demand(schedule);
        let deadline = self.deadline;
        let version = self.version.clone();
        let (reply, mut answer) = oneshot::channel();
        let mut ticket = schedule.submit(Box::new(Queued { asked: self, reply }), demand)?;
        let answered = match ticket.expires() {
            None => answer.await,
            Some(at) => match timeout_at(at.into(), &mut answer).await {
                Ok(answered) => answered,
                Err(_) if ticket.withdraw() => {
                    version.statistics.expired();
                    Ok(Err(RunError::Expired))
                }
                Err(_) => answer.await,
            },
        };
        ticket.close();
        match answered.map_err(|_| InferError::Lost)? {
            Err(RunError::Expired) if deadline.is_some_and(|at| at <= Instant::now()) => {
                Err(InferError::Deadline)
            }
            answered => Ok(answered?),
        }
    }

    fn demand(&mut self, schedule: &Schedule) -> Demand {
        let batches = schedule.batches() && !in_sequence(&self.request);
        let places = if batches { self.arrange() } else { Vec::new() };
        let inputs = self.inputs();
        let rows = rows(&inputs).filter(|_| self.version.config.max_batch_size > 0);
        Demand {
            bytes: self.bytes(),
            rows: rows.unwrap_or(1),
            shapes: rows.filter(|_| batches).map(|_| batch::shapes(&places, &inputs, &self.outputs)),
            priority: self.manner.priority,
            timeout: self.manner.timeout,
            since: self.since,
            deadline: self.deadline,
        }
    }

    /// Puts the inputs in the signature's order, and tells their places in it: those of two requests are joined one by one.
    fn arrange(&mut self) -> Vec<usize> {
        let Self { version, request, .. } = self;
        let specs = &version.signature.inputs;
        let place = |name: &str| specs.iter().position(|spec| spec.name == name).unwrap_or(specs.len());
        let contents = std::mem::take(&mut request.raw_input_contents);
        let mut both: Vec<_> = std::mem::take(&mut request.inputs).into_iter().zip(contents).collect();
        both.sort_by_key(|(input, _)| place(&input.name));
        (request.inputs, request.raw_input_contents) = both.into_iter().unzip();
        request.inputs.iter().map(|input| place(&input.name)).collect()
    }

    /// Whether the original of a variant computes it too, behind the answer.
    fn is_shadowed(&self) -> bool {
        self.version.shadow().is_some_and(|shadow| shadow.takes(&self.outputs))
    }

    /// Bytes of the tensors.
    pub(super) fn bytes(&self) -> usize {
        self.request.raw_input_contents.iter().map(Bytes::len).sum()
    }

    fn inputs(&self) -> Vec<InputTensor<'_>> {
        let inputs = self.request.inputs.iter().zip(&self.request.raw_input_contents);
        inputs
            .filter_map(|(input, data)| {
                // The signature's check compared the datatype with a known one.
                let datatype: DataType = input.datatype.parse().ok()?;
                let data = Parts::One(data);
                Some(InputTensor { name: &input.name, datatype, shape: &input.shape, data })
            })
            .collect()
    }

    /// The response to give, and whether it is kept: what is given is what is kept.
    pub(super) fn keep(&self, mut response: ModelInferResponse, cost_us: u64) -> (Given, bool) {
        let (Some(Keep { store, key, generation, ttl }), Some(policy)) = (&self.keep, self.version.policy)
        else {
            return (Given::Own(response), false);
        };
        let policy = policy.within(*ttl);
        for data in &mut response.raw_output_contents {
            // What is kept must not hold on to the memory of a whole batch, nor to the engine's.
            *data = Bytes::copy_from_slice(data);
        }
        let entry = Arc::new(Entry {
            response: Some(response),
            generation: generation.0.to_vec().into(),
            cost_us,
            created_ms: now_ms(),
            max_age_s: policy.freshness.max_age_s,
            stale_while_revalidate_s: policy.freshness.stale_while_revalidate_s,
            stale_if_error_s: policy.freshness.stale_if_error_s,
            fields: vec![headers::kept(policy)],
        });
        let began = Instant::now();
        let stored = store.keep(*key, entry.clone());
        self.trace.stage(Stage::Keep, began);
        (Given::Kept(entry), stored)
    }
}

/// The rows of a batch: the first dimension, if all inputs agree on it.
fn rows(inputs: &[InputTensor<'_>]) -> Option<u64> {
    let first = inputs.first()?.shape.first()?;
    let agree = inputs.iter().all(|input| input.shape.first() == Some(first));
    u64::try_from(*first).ok().filter(|rows| agree && *rows > 0)
}

/// A request in the queue.
struct Queued {
    asked: Asked,
    reply: oneshot::Sender<Result<Done, RunError>>,
}

impl Work for Queued {
    fn inputs(&self) -> Vec<InputTensor<'_>> {
        self.asked.inputs()
    }

    fn outputs(&self) -> &[usize] {
        &self.asked.outputs
    }

    fn trace(&self) -> Option<&Trace> {
        Some(&self.asked.trace)
    }

    /// Keeps the answer and gives it to those who wait for it before it goes out. A client that left doesn't make it useless to
    /// others.
    fn done(self: Box<Self>, result: Result<Computed, RunError>) {
        let Self { mut asked, reply } = *self;
        let outputs = result.as_ref().ok().filter(|_| asked.is_shadowed());
        let shadowed = outputs.map(|computed| (computed.outputs.clone(), asked.version.clone()));
        let done = result.map(|computed| {
            let cost_us = u64::try_from(computed.cost.as_micros()).unwrap_or(u64::MAX);
            let response = asked.response(computed);
            let (response, stored) = asked.keep(response, cost_us);
            Done { response, cost_us, stored }
        });
        asked.tell(&done);
        // Nobody waits for it any more, maybe.
        let _ = reply.send(done);
        if let Some((outputs, version)) = shadowed
            && let Some(shadow) = version.shadow()
        {
            shadow.offer(asked.request, &outputs);
        }
    }
}

impl Asked {
    /// Tells those who wait for it what came of it, here and in other servers.
    pub(super) fn tell(&mut self, done: &Result<Done, RunError>) {
        let (lead, lease) = (self.lead.take(), self.lease.take());
        match (lease, done) {
            (Some(lease), Ok(done)) => lease.end(done.stored),
            (Some(lease), Err(RunError::Engine(EngineError::BadInput(_)))) => lease.end(false),
            // It may succeed for another, which has the lease now.
            _ => {}
        }
        if let Some(lead) = lead {
            let found = match done {
                Ok(done) => Some(Found::Computed(done.clone())),
                Err(RunError::Engine(EngineError::BadInput(reason))) => Some(Found::Refused(reason.clone())),
                // It may succeed for the one that waits longest, which leads now.
                Err(_) => None,
            };
            if let Some(found) = found {
                lead.land(&Landed { found, by: self.trace.span() });
            }
        }
    }

    /// The computed outputs, classified where the request asks for that.
    fn response(&mut self, computed: Computed) -> ModelInferResponse {
        let mut response = ModelInferResponse {
            model_name: std::mem::take(&mut self.request.model_name),
            model_version: self.version.number.clone(),
            outputs: Vec::with_capacity(computed.outputs.len()),
            raw_output_contents: Vec::with_capacity(computed.outputs.len()),
            ..ModelInferResponse::default()
        };
        for (place, output) in computed.outputs.into_iter().enumerate() {
            let spec = &self.version.signature.outputs[output.index];
            let asked = self.request.outputs.get(place).and_then(classification);
            let (datatype, shape, data) = match asked {
                None | Some(0) => (spec.datatype, output.shape, output.data),
                Some(most) => {
                    let classified = Classified {
                        datatype: spec.datatype,
                        shape: &output.shape,
                        data: &output.data,
                        has_batch: self.version.config.max_batch_size > 0,
                        labels: self.version.labels.get(&spec.name).map_or(&[], Vec::as_slice),
                    };
                    let (shape, elements) = classified.top(most);
                    (DataType::Bytes, shape, elements)
                }
            };
            response.outputs.push(InferOutputTensor {
                name: spec.name.clone(),
                datatype: datatype.as_str().to_owned(),
                shape,
                ..InferOutputTensor::default()
            });
            response.raw_output_contents.push(data);
        }
        response
    }
}
