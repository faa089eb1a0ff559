//! Inputs that are made up, as `forebay bench` makes them: enough to measure speed, and to see that a variant still works.

use super::{Item, SampleError, requests};
use crate::client;
use crate::engine::signature::Signature;

/// Items that are made up.
const COUNT: u64 = 128;

/// Makes items up.
///
/// # Errors
/// The model takes what can't be made up.
pub(super) fn items(model: &str, signature: &Signature, seed: u64) -> Result<Vec<Item>, SampleError> {
    let item = |number: u64| {
        let request = client::made_up_for(model, signature, seed.wrapping_add(number))?;
        let inputs = requests::inputs(&request).map_err(SampleError::Few)?;
        Ok(Item { inputs, label: None, group: number })
    };
    (0..COUNT).map(item).collect()
}
