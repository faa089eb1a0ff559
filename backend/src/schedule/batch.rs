//! Several requests -> one, and its outputs -> each one's own. Inputs of requests that have the same shapes but for
//! the first dimension enter, joined along it as parts, which the session gathers; computed outputs are cut along it.

use bytes::Bytes;
use forebay_protocol::datatype::DataType;

use super::Work;
use crate::engine::{InputTensor, OutputTensor, Parts};

/// A part as large as this stays where it was computed; copying it costs more than keeping the rest of the batch's
/// memory until all parts are sent: about a microsecond, like the answer's other costs.
const SHARED_BYTES: usize = 16 << 10;

/// What must be the same for requests to run together: which inputs there are, for some may be left out, their dimensions but the
/// first, and the outputs. `places` are the inputs' in the signature, whose order they have.
pub(crate) fn shapes(places: &[usize], inputs: &[InputTensor<'_>], outputs: &[usize]) -> Box<[i64]> {
    let dimensions = places.iter().zip(inputs).flat_map(|(place, input)| {
        let rest = input.shape.get(1..).unwrap_or_default();
        [size(*place), size(rest.len())].into_iter().chain(rest.iter().copied())
    });
    dimensions.chain(outputs.iter().copied().map(size)).collect()
}

fn size(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// The inputs of several requests as those of one.
pub(super) struct Joined<'a> {
    inputs: Vec<Input<'a>>,
}

struct Input<'a> {
    /// The first request's; the others' differ in rows and bytes.
    like: InputTensor<'a>,
    shape: Vec<i64>,
    parts: Vec<&'a [u8]>,
}

impl<'a> Joined<'a> {
    /// Joins the inputs of `works`, which have so many rows together.
    pub(super) fn new(works: impl Iterator<Item = &'a dyn Work>, rows: u64) -> Self {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        let mut works = works.map(Work::inputs);
        let first = works.next().unwrap_or_default();
        let mut inputs: Vec<Input<'a>> = first.into_iter().map(|like| Input::new(like, rows)).collect();
        for work in works {
            for (joined, input) in inputs.iter_mut().zip(work) {
                joined.parts.extend(input.data.iter());
            }
        }
        Self { inputs }
    }

    /// The joined inputs.
    pub(super) fn inputs(&self) -> Vec<InputTensor<'_>> {
        self.inputs.iter().map(Input::view).collect()
    }
}

impl<'a> Input<'a> {
    fn new(like: InputTensor<'a>, rows: i64) -> Self {
        let mut shape = like.shape.to_vec();
        if let Some(first) = shape.first_mut() {
            *first = rows;
        }
        Self { shape, parts: like.data.iter().collect(), like }
    }

    fn view(&self) -> InputTensor<'_> {
        InputTensor { shape: &self.shape, data: Parts::Several(&self.parts), ..self.like }
    }
}

/// Cuts outputs into those of each request, which have so many rows; `None` when one has another first dimension than the
/// batch.
pub(super) fn cut(
    rows: &[u64],
    outputs: &[OutputTensor],
    datatypes: impl Fn(usize) -> DataType,
) -> Option<Vec<Vec<OutputTensor>>> {
    let total: u64 = rows.iter().sum();
    let mut parts: Vec<Vec<OutputTensor>> = rows.iter().map(|_| Vec::with_capacity(outputs.len())).collect();
    for output in outputs {
        let (first, rest) = output.shape.split_first()?;
        if u64::try_from(*first).ok()? != total {
            return None;
        }
        let mut cuts = Cuts { output, datatype: datatypes(output.index), elements: elements(rest)?, at: 0 };
        for (part, &rows) in parts.iter_mut().zip(rows) {
            let data = cuts.next(usize::try_from(rows).ok()?)?;
            let mut shape = output.shape.clone();
            shape[0] = i64::try_from(rows).ok()?;
            part.push(OutputTensor { index: output.index, shape, data });
        }
        if cuts.at != output.data.len() {
            return None;
        }
    }
    Some(parts)
}

fn elements(shape: &[i64]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |all, &size| all.checked_mul(usize::try_from(size).ok()?))
}

/// One output on its way into parts.
struct Cuts<'a> {
    output: &'a OutputTensor,
    datatype: DataType,
    /// Of one row.
    elements: usize,
    /// Bytes that are cut off already.
    at: usize,
}

impl Cuts<'_> {
    fn next(&mut self, rows: usize) -> Option<Bytes> {
        let elements = rows.checked_mul(self.elements)?;
        let data = &self.output.data;
        let end = match self.datatype.size() {
            Some(size) => self.at.checked_add(elements.checked_mul(size)?)?,
            None => (0..elements).try_fold(self.at, |at, _| {
                let length: [u8; 4] = data.get(at..at.checked_add(4)?)?.try_into().ok()?;
                at.checked_add(4)?.checked_add(usize::try_from(u32::from_le_bytes(length)).ok()?)
            })?,
        };
        let part = data.get(self.at..end)?;
        let part =
            if part.len() < SHARED_BYTES { Bytes::copy_from_slice(part) } else { data.slice_ref(part) };
        self.at = end;
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_with_other_inputs_don_t_run_together() {
        let input =
            InputTensor { name: "x", datatype: DataType::Uint8, shape: &[1, 2], data: Parts::One(&[]) };
        let both = shapes(&[0, 1], &[input, input], &[0]);
        assert_eq!(both, shapes(&[0, 1], &[input, input], &[0]));
        assert_ne!(shapes(&[0], &[input], &[0]), shapes(&[1], &[input], &[0]));
        assert_ne!(both, shapes(&[0], &[input], &[0]));
    }

    fn output(shape: &[i64], data: &[u8]) -> OutputTensor {
        OutputTensor { index: 0, shape: shape.to_vec(), data: Bytes::copy_from_slice(data) }
    }

    #[test]
    fn outputs_are_cut_by_rows() {
        let parts = cut(&[1, 2], &[output(&[3, 2], &[1, 2, 3, 4, 5, 6])], |_| DataType::Uint8).unwrap();
        assert_eq!((&parts[0][0].shape[..], &parts[0][0].data[..]), (&[1, 2][..], &[1, 2][..]));
        assert_eq!((&parts[1][0].shape[..], &parts[1][0].data[..]), (&[2, 2][..], &[3, 4, 5, 6][..]));
    }

    #[test]
    fn strings_are_cut_by_their_lengths() {
        let data = b"\x01\0\0\0a\0\0\0\0\x02\0\0\0bc";
        let parts = cut(&[2, 1], &[output(&[3], data)], |_| DataType::Bytes).unwrap();
        assert_eq!([&parts[0][0].data[..], &parts[1][0].data[..]], [&data[..9], &data[9..]]);
    }

    #[test]
    fn what_is_no_batch_is_not_cut() {
        for (shape, data) in [(&[2, 1][..], &[0; 2][..]), (&[], &[0]), (&[3, 1], &[0; 2]), (&[3, 1], &[0; 4])]
        {
            assert!(cut(&[1, 2], &[output(shape, data)], |_| DataType::Uint8).is_none(), "{shape:?}");
        }
    }
}
