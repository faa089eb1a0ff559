//! Several requests -> one, and its outputs -> each one's own. Inputs of requests that have the same shapes but for
//! the first dimension enter, joined along it; computed outputs are cut along it.

use bytes::Bytes;
use forebay_protocol::datatype::DataType;

use super::Work;
use crate::engine::{InputTensor, OutputTensor};

/// A part as large as this stays where it was computed; copying it costs more than keeping the rest of the batch's
/// memory until all parts are sent: about a microsecond, like the answer's other costs.
const SHARED_BYTES: usize = 16 << 10;

/// What must be the same for requests to run together: names are in the signature's order, so the inputs' dimensions but
/// the first, and the outputs.
pub(crate) fn shapes(inputs: &[InputTensor<'_>], outputs: &[usize]) -> Box<[i64]> {
    let dimensions = inputs.iter().flat_map(|input| {
        let rest = input.shape.get(1..).unwrap_or_default();
        std::iter::once(size(rest.len())).chain(rest.iter().copied())
    });
    dimensions.chain(outputs.iter().copied().map(size)).collect()
}

fn size(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// Memory of the joined inputs, kept from batch to batch.
#[derive(Default)]
pub(super) struct Joined {
    inputs: Vec<Input>,
    rows: Vec<u64>,
}

struct Input {
    name: String,
    datatype: DataType,
    shape: Vec<i64>,
    /// Of 8 bytes each, so that elements of every type may start at its start.
    data: Vec<u64>,
    bytes: usize,
}

impl Joined {
    /// Joins the inputs of `works`, whose rows are `rows`.
    pub(super) fn join<'a>(&mut self, works: impl Iterator<Item = (&'a dyn Work, u64)> + Clone) {
        self.rows.clear();
        self.rows.extend(works.clone().map(|(_, rows)| rows));
        let total = i64::try_from(self.rows.iter().sum::<u64>()).unwrap_or(i64::MAX);
        let each: Vec<Vec<InputTensor<'_>>> = works.map(|(work, _)| work.inputs()).collect();
        let Some(first) = each.first() else { return };
        self.inputs.resize_with(first.len(), || Input {
            name: String::new(),
            datatype: DataType::Bool,
            shape: Vec::new(),
            data: Vec::new(),
            bytes: 0,
        });
        for (index, (joined, like)) in self.inputs.iter_mut().zip(first).enumerate() {
            joined.name.clear();
            joined.name.push_str(like.name);
            joined.datatype = like.datatype;
            joined.shape.clear();
            joined.shape.push(total);
            joined.shape.extend_from_slice(like.shape.get(1..).unwrap_or_default());
            joined.fill(each.iter().filter_map(|inputs| inputs.get(index)).map(|input| input.data));
        }
    }

    /// The joined inputs.
    pub(super) fn inputs(&self) -> Vec<InputTensor<'_>> {
        self.inputs.iter().map(Input::view).collect()
    }

    /// Cuts outputs into those of each request; `None` when one has another first dimension than the batch.
    pub(super) fn cut(
        &self,
        outputs: &[OutputTensor],
        datatypes: impl Fn(usize) -> DataType,
    ) -> Option<Vec<Vec<OutputTensor>>> {
        let mut parts: Vec<Vec<OutputTensor>> =
            self.rows.iter().map(|_| Vec::with_capacity(outputs.len())).collect();
        for output in outputs {
            let (first, rest) = output.shape.split_first()?;
            let total: u64 = self.rows.iter().sum();
            if u64::try_from(*first).ok()? != total {
                return None;
            }
            let mut cuts =
                Cuts { output, datatype: datatypes(output.index), elements: elements(rest)?, at: 0 };
            for (part, &rows) in parts.iter_mut().zip(&self.rows) {
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
}

impl Input {
    fn view(&self) -> InputTensor<'_> {
        let data = &bytemuck::cast_slice(&self.data)[..self.bytes];
        InputTensor { name: &self.name, datatype: self.datatype, shape: &self.shape, data }
    }

    fn fill<'a>(&mut self, parts: impl Iterator<Item = &'a [u8]> + Clone) {
        self.bytes = parts.clone().map(<[u8]>::len).sum();
        self.data.resize(self.bytes.div_ceil(size_of::<u64>()), 0);
        let mut rest: &mut [u8] = bytemuck::cast_slice_mut(&mut self.data);
        for part in parts {
            let (here, after) = rest.split_at_mut(part.len());
            here.copy_from_slice(part);
            rest = after;
        }
    }
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

    fn joined(rows: &[u64]) -> Joined {
        Joined { inputs: Vec::new(), rows: rows.to_vec() }
    }

    fn output(shape: &[i64], data: &[u8]) -> OutputTensor {
        OutputTensor { index: 0, shape: shape.to_vec(), data: Bytes::copy_from_slice(data) }
    }

    #[test]
    fn outputs_are_cut_by_rows() {
        let parts =
            joined(&[1, 2]).cut(&[output(&[3, 2], &[1, 2, 3, 4, 5, 6])], |_| DataType::Uint8).unwrap();
        assert_eq!((&parts[0][0].shape[..], &parts[0][0].data[..]), (&[1, 2][..], &[1, 2][..]));
        assert_eq!((&parts[1][0].shape[..], &parts[1][0].data[..]), (&[2, 2][..], &[3, 4, 5, 6][..]));
    }

    #[test]
    fn strings_are_cut_by_their_lengths() {
        let data = b"\x01\0\0\0a\0\0\0\0\x02\0\0\0bc";
        let parts = joined(&[2, 1]).cut(&[output(&[3], data)], |_| DataType::Bytes).unwrap();
        assert_eq!([&parts[0][0].data[..], &parts[1][0].data[..]], [&data[..9], &data[9..]]);
    }

    #[test]
    fn what_is_no_batch_is_not_cut() {
        for (shape, data) in [(&[2, 1][..], &[0; 2][..]), (&[], &[0]), (&[3, 1], &[0; 2]), (&[3, 1], &[0; 4])]
        {
            assert!(joined(&[1, 2]).cut(&[output(shape, data)], |_| DataType::Uint8).is_none(), "{shape:?}");
        }
    }
}
