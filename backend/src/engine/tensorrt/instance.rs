//! One instance of a plan: the context that its lanes run in, one after another on the GPU. Next: `lane`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use forebay_bindings::cuda::{Device, Stream};
use forebay_bindings::{Context, Engine as Plan, Error, Scratch, TensorIOMode};

use super::shapes::{self, Placed};
use crate::engine::gpu::Tie;
use crate::signature::Signature;

/// What the lanes of one instance share.
pub(super) struct Instance {
    pub(super) plan: Plan,
    pub(super) device: Device,
    pub(super) signature: Signature,
    /// The tensors that are the signature's outputs, by their number in the plan.
    pub(super) outputs: Vec<usize>,
    pub(super) tie: Tie,
    running: Mutex<Running>,
}

/// The context.
pub(super) struct Running {
    pub(super) context: Context,
    /// How often it took another profile.
    pub(super) profiles: u64,
}

impl Instance {
    /// # Errors
    /// There is not enough memory of the GPU.
    pub(super) fn new(plan: &Plan, signature: Signature, tie: Tie) -> Result<Self, Error> {
        let device = plan.device().cloned();
        let device = device.ok_or_else(|| Error::Wrong("the plan is on no GPU".to_owned()))?;
        let running = Mutex::new(Running { context: plan.context(Scratch::OwnPerProfile)?, profiles: 0 });
        let tensors = plan.tensors();
        let outputs = (0..tensors.len()).filter(|number| tensors[*number].mode == TensorIOMode::Output);
        Ok(Self { outputs: outputs.collect(), plan: plan.clone(), device, signature, tie, running })
    }

    /// The context, from the shapes of a run to its place on the lane's stream: from then on the GPU keeps runs in order, and
    /// other lanes may prepare theirs.
    pub(super) fn context(&self) -> MutexGuard<'_, Running> {
        // Each run sets all that it needs.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Takes the first profile that allows the inputs' shapes, if the one that is taken doesn't.
    ///
    /// # Errors
    /// TensorRT refuses; that there is one was checked before.
    pub(super) fn choose_profile(&mut self, inputs: &[Placed<'_>], stream: &Stream) -> Result<(), Error> {
        if shapes::fit(inputs, self.context.profile()) {
            return Ok(());
        }
        let mut profiles = 0..self.context.engine().profiles();
        let profile = profiles.find(|profile| shapes::fit(inputs, *profile));
        self.profiles += 1;
        self.context.set_profile(profile.unwrap_or_default(), stream)
    }
}
