//! One instance of a plan: the context that its lanes run in, one after another on the GPU, and where its graphs' contexts come
//! from. Next: `lane`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use forebay_bindings::cuda::{Device, Stream};
use forebay_bindings::{Context, Engine as Plan, Error, Scratch, SharedScratch, TensorIOMode};

use super::shapes::{self, Placed};
use crate::engine::gpu::Tie;
use crate::engine::signature::Signature;

/// What the lanes of one instance share.
pub(super) struct Instance {
    pub(super) plan: Plan,
    pub(super) device: Device,
    pub(super) signature: Signature,
    /// The tensors that are the signature's outputs, by their number in the plan.
    pub(super) outputs: Vec<usize>,
    pub(super) tie: Tie,
    context: Mutex<Context>,
    /// Of an instance with graphs: what all of its contexts run in, one after another. It is as large as any profile needs.
    scratch: Option<SharedScratch>,
}

impl Instance {
    /// # Errors
    /// There is not enough memory of the GPU.
    pub(super) fn new(plan: &Plan, signature: Signature, tie: Tie, graphs: bool) -> Result<Self, Error> {
        let device = plan.device().cloned();
        let device = device.ok_or_else(|| Error::Wrong("the plan is on no GPU".to_owned()))?;
        let scratch = graphs.then(|| {
            let sizes = (0..plan.profiles()).map(|profile| plan.scratch_size(profile));
            let size = sizes.collect::<Result<Vec<_>, _>>()?.into_iter().max().unwrap_or(0);
            Ok::<_, Error>(SharedScratch::new(&device, size)?)
        });
        let scratch = scratch.transpose()?;
        let context = plan.context(scratch.clone().map_or(Scratch::OwnPerProfile, Scratch::Shared))?;
        let tensors = plan.tensors();
        let outputs = (0..tensors.len()).filter(|number| tensors[*number].mode == TensorIOMode::Output);
        let outputs = outputs.collect();
        Ok(Self {
            plan: plan.clone(),
            device,
            signature,
            outputs,
            tie,
            context: Mutex::new(context),
            scratch,
        })
    }

    /// The context, from the shapes of a run to its place on the lane's stream: from then on the GPU keeps runs in order, and
    /// other lanes may prepare theirs.
    pub(super) fn context(&self) -> MutexGuard<'_, Context> {
        // Each run sets all that it needs.
        self.context.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A context of a graph's own. Its runs and those of the other contexts are done one after another.
    ///
    /// # Errors
    /// There is not enough memory of the GPU, or the model asks for no graphs.
    pub(super) fn graph_context(&self) -> Result<Context, Error> {
        let scratch = self.scratch.clone().ok_or_else(|| Error::Wrong("there are no graphs".to_owned()))?;
        self.plan.graph_context(Scratch::Shared(scratch))
    }
}

/// Has the context take the first profile that allows the inputs' shapes, if the one that is taken doesn't.
///
/// # Errors
/// TensorRT refuses; that there is one was checked before.
pub(super) fn choose_profile(
    context: &mut Context,
    inputs: &[Placed<'_>],
    stream: &Stream,
) -> Result<(), Error> {
    if shapes::fit(inputs, context.profile()) {
        return Ok(());
    }
    let mut profiles = 0..context.engine().profiles();
    let profile = profiles.find(|profile| shapes::fit(inputs, *profile));
    context.set_profile(profile.unwrap_or_default(), stream)
}
