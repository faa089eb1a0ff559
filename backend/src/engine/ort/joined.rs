//! Memory where a batch's inputs become one each, for runs on the CPU; kept from batch to batch. An input that lies in one place
//! stays there. Next: `tensors` views it.

use std::time::{Duration, Instant};

use forebay_protocol::datatype::DataType;

use crate::engine::{InputTensor, Parts};

/// Memory of a session's inputs, by their place among them.
#[derive(Default)]
pub(super) struct Joined(Vec<Input>);

#[derive(Default)]
struct Input {
    /// Of 8 bytes each, so that elements of every type may start at its start.
    words: Vec<u64>,
    bytes: usize,
}

impl Joined {
    /// Joins the inputs that lie in several places, and tells how long that took.
    pub(super) fn join(&mut self, inputs: &[InputTensor<'_>]) -> Duration {
        if !inputs.iter().any(is_joined) {
            return Duration::ZERO;
        }
        let began = Instant::now();
        self.0.resize_with(inputs.len().max(self.0.len()), Input::default);
        for (joined, input) in self.0.iter_mut().zip(inputs).filter(|(_, input)| is_joined(input)) {
            joined.fill(input.data);
        }
        began.elapsed()
    }

    /// The bytes of the input at that place, in one: where they arrived, or joined.
    pub(super) fn of<'a>(&'a self, place: usize, input: &InputTensor<'a>) -> &'a [u8] {
        let joined = || self.0.get(place).map_or(&[][..], Input::bytes);
        input.data.one().unwrap_or_else(joined)
    }
}

/// Strings are not: they become the engine's own, part by part.
fn is_joined(input: &InputTensor<'_>) -> bool {
    input.data.one().is_none() && input.datatype != DataType::Bytes
}

impl Input {
    fn fill(&mut self, parts: Parts<'_>) {
        self.bytes = parts.len();
        self.words.resize(self.bytes.div_ceil(size_of::<u64>()), 0);
        parts.copy_into(&mut bytemuck::cast_slice_mut(&mut self.words)[..self.bytes]);
    }

    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(data: Parts<'_>) -> InputTensor<'_> {
        InputTensor { name: "x", datatype: DataType::Uint8, shape: &[], data }
    }

    #[test]
    fn what_lies_in_one_place_stays_there_and_the_rest_is_joined() {
        let (whole, parts) = (vec![1, 2], [&[3][..], &[4, 5]]);
        let mut joined = Joined::default();
        let inputs = [input(Parts::One(&whole)), input(Parts::Several(&parts))];
        assert!(!joined.join(&inputs).is_zero());
        assert_eq!(joined.of(0, &inputs[0]).as_ptr(), whole.as_ptr());
        assert_eq!(joined.of(1, &inputs[1]), [3, 4, 5]);
        // A smaller batch after a larger one.
        let inputs = [input(Parts::Several(&[&[6], &[7]])), input(Parts::One(&whole))];
        joined.join(&inputs);
        assert_eq!((joined.of(0, &inputs[0]), joined.of(1, &inputs[1])), (&[6, 7][..], &[1, 2][..]));
    }
}
