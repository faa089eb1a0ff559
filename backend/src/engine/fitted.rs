//! A session as clients see it: their shapes enter and become the model's, computed shapes become theirs; what the configuration
//! doesn't list isn't there. A session and a view of its model enter, a session leaves. Next: `schedule` runs it.

use std::sync::Arc;

use forebay_bindings::cuda::Account;

use super::gpu::Gpu;
use super::signature::Signature;
use super::signature::view::{Reshape, View};
use super::{EngineError, InputTensor, OutputTensor, Run, Session};

/// The session, with that view of its model.
pub(crate) fn fitted(session: Box<dyn Session>, view: &Arc<View>) -> Box<dyn Session> {
    if view.is_all_of(session.signature()) {
        return session;
    }
    Box::new(Fitted { session, view: view.clone() })
}

struct Fitted {
    session: Box<dyn Session>,
    view: Arc<View>,
}

impl Session for Fitted {
    fn signature(&self) -> &Signature {
        &self.view.signature
    }

    fn run(&mut self, inputs: &[InputTensor<'_>], outputs: &[usize]) -> Result<Run, EngineError> {
        let view = &*self.view;
        let shapes =
            inputs.iter().map(|input| reshaped(view, input)).collect::<Result<Vec<_>, EngineError>>()?;
        let inputs: Vec<InputTensor<'_>> = inputs
            .iter()
            .zip(&shapes)
            .map(|(input, shape)| InputTensor { shape: shape.as_deref().unwrap_or(input.shape), ..*input })
            .collect();
        let places: Vec<usize> = outputs.iter().map(|index| view.outputs[*index].0).collect();
        let mut run = self.session.run(&inputs, &places)?;
        for (output, index) in run.outputs.iter_mut().zip(outputs) {
            output.index = *index;
            if let Some(reshape) = &view.outputs[*index].1 {
                reshape_output(output, reshape, &view.signature.outputs[*index].name)?;
            }
        }
        Ok(run)
    }

    fn lost(&self) -> Option<&Arc<Gpu>> {
        self.session.lost()
    }

    fn memory(&self) -> Option<(i32, Account)> {
        self.session.memory()
    }
}

/// The model's shape of an input, where it isn't the client's.
fn reshaped(view: &View, input: &InputTensor<'_>) -> Result<Option<Vec<i64>>, EngineError> {
    let place = view.signature.inputs.iter().position(|spec| spec.name == input.name);
    let Some(reshape) = place.and_then(|place| view.inputs[place].as_ref()) else { return Ok(None) };
    // Requests are checked before; what warms a session may be wrong.
    let wrong = || {
        let (name, shape, expected) = (input.name, input.shape, reshape.from());
        EngineError::BadInput(format!("input '{name}' has shape {shape:?}, {expected:?} is expected"))
    };
    reshape.of(input.shape).map(Some).ok_or_else(wrong)
}

fn reshape_output(output: &mut OutputTensor, reshape: &Reshape, name: &str) -> Result<(), EngineError> {
    let declared = reshape.from();
    if let Some(shape) = reshape.of(&output.shape) {
        output.shape = shape;
        Ok(())
    } else if declared.is_empty() {
        // A model that doesn't tell an output's dimensions tells the same as of a scalar.
        Ok(())
    } else {
        let shape = &output.shape;
        Err(EngineError::Failed(format!(
            "output '{name}' was computed with shape {shape:?}, the configuration declares {declared:?}"
        )))
    }
}

#[cfg(test)]
mod tests;
