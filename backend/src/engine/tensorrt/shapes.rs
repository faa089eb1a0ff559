//! A request's inputs against the plan: which tensors they are, and what its profiles allow.

use forebay_bindings::{Engine as Plan, Tensor, TensorLocation};
use forebay_protocol::datatype::DataType;

use crate::engine::{EngineError, InputTensor, Parts};

/// An input at its place in the plan.
#[derive(Clone, Copy)]
pub(super) struct Placed<'a> {
    /// The tensor's number.
    pub(super) number: usize,
    pub(super) tensor: &'a Tensor,
    pub(super) input: &'a InputTensor<'a>,
}

impl Placed<'_> {
    /// Does the plan read it as values that decide shapes, not from the GPU's memory?
    pub(super) fn is_values(&self) -> bool {
        self.tensor.location == TensorLocation::Host
    }

    /// Does a profile say of it which values it may have, not which dimensions?
    fn has_range_of_values(&self) -> bool {
        self.is_values() && self.tensor.is_shape
    }

    /// Such values, which are INT32 or INT64.
    pub(super) fn values(&self) -> Vec<i64> {
        fn numbers<const N: usize>(data: Parts<'_>, of: impl Fn([u8; N]) -> i64) -> Vec<i64> {
            data.iter().flat_map(|part| part.as_chunks().0).map(|bytes| of(*bytes)).collect()
        }
        match self.input.datatype {
            DataType::Int32 => numbers(self.input.data, |bytes| i32::from_le_bytes(bytes).into()),
            _ => numbers(self.input.data, i64::from_le_bytes),
        }
    }
}

/// Places the inputs.
///
/// # Errors
/// `BadInput`: one isn't the plan's, or its bytes aren't its shape's, or no profile allows the shapes.
pub(super) fn place<'a>(
    plan: &'a Plan,
    inputs: &'a [InputTensor<'a>],
) -> Result<Vec<Placed<'a>>, EngineError> {
    let place = |input: &'a InputTensor<'a>| {
        check_size(input)?;
        let number = plan.tensor(input.name);
        let none = || EngineError::BadInput(format!("the plan has no input '{}'", input.name));
        let number = number.ok_or_else(none)?;
        Ok(Placed { number, tensor: &plan.tensors()[number], input })
    };
    let placed = inputs.iter().map(place).collect::<Result<Vec<_>, EngineError>>()?;
    if (0..plan.profiles()).any(|profile| fit(&placed, profile)) {
        return Ok(placed);
    }
    Err(EngineError::BadInput(no_profile(plan, &placed)))
}

/// What tells the inputs' shapes from others: of each, which tensor it is and its dimensions.
pub(super) fn key(inputs: &[Placed<'_>]) -> impl Iterator<Item = i64> + Clone {
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    inputs.iter().flat_map(move |placed| {
        let shape = placed.input.shape;
        [number(placed.number), number(shape.len())].into_iter().chain(shape.iter().copied())
    })
}

/// Does the profile allow the inputs' shapes, and the values of those that decide shapes?
pub(super) fn fit(inputs: &[Placed<'_>], profile: usize) -> bool {
    inputs.iter().all(|placed| allows(placed, profile))
}

fn allows(placed: &Placed<'_>, profile: usize) -> bool {
    let range = placed.tensor.profiles.get(profile);
    let within = |numbers: &[i64]| {
        range.is_some_and(|range| {
            range.min.len() == numbers.len()
                && numbers
                    .iter()
                    .zip(range.min.iter().zip(&range.max))
                    .all(|(number, (min, max))| (min..=max).contains(&number))
        })
    };
    if placed.has_range_of_values() {
        return within(&placed.values());
    }
    !placed.tensor.shape.contains(&-1) || within(placed.input.shape)
}

fn no_profile(plan: &Plan, inputs: &[Placed<'_>]) -> String {
    let given = inputs.iter().map(|placed| {
        let name = placed.input.name;
        if placed.has_range_of_values() {
            format!("'{name}' with the values {:?}", placed.values())
        } else {
            format!("'{name}' {:?}", placed.input.shape)
        }
    });
    let ranges = (0..plan.profiles()).map(|profile| {
        let free = plan.tensors().iter().filter_map(|tensor| {
            let range = tensor.profiles.get(profile)?;
            Some(format!("'{}' {:?} to {:?}", tensor.name, range.min, range.max))
        });
        free.collect::<Vec<_>>().join(", ")
    });
    format!(
        "no profile of the plan allows {} together; it has: {}",
        given.collect::<Vec<_>>().join(", "),
        ranges.collect::<Vec<_>>().join("; ")
    )
}

/// The bytes must be the shape's: the plan would read past them.
fn check_size(input: &InputTensor<'_>) -> Result<(), EngineError> {
    if size(input.datatype, input.shape) == input.data.len() {
        return Ok(());
    }
    let (name, bytes, shape) = (input.name, input.data.len(), input.shape);
    Err(EngineError::BadInput(format!("input '{name}' has {bytes} bytes, which shape {shape:?} is not")))
}

/// Bytes of a tensor; plans have no BYTES.
pub(super) fn size(datatype: DataType, shape: &[i64]) -> usize {
    let sizes = shape.iter().map(|size| usize::try_from(*size).unwrap_or(0));
    sizes.fold(datatype.size().unwrap_or(0), usize::saturating_mul)
}
