//! An `.npz` file -> items: each array's first dimension counts them.

use std::path::Path;

use super::super::arrays::{self, Array};
use super::{Item, MOST_BYTES, SampleError, check};
use crate::engine::numbers;
use crate::engine::signature::Signature;
use crate::settings::SampleSettings;

/// Reads the items.
///
/// # Errors
/// As [`super::Samples::read`].
pub(super) fn items(
    path: &Path,
    signature: &Signature,
    settings: &SampleSettings,
) -> Result<Vec<Item>, SampleError> {
    let mut arrays = arrays::read(path, MOST_BYTES)?;
    let present = arrays.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let mut numbered = |name: Option<&String>| -> Result<Option<Vec<f64>>, SampleError> {
        let Some(name) = name else { return Ok(None) };
        let Some(at) = arrays.iter().position(|(known, _)| known == name) else {
            return Err(SampleError::Missing { name: name.clone(), present: present.clone() });
        };
        let array = arrays.remove(at).1;
        Ok(numbers::of(array.datatype, &array.data))
    };
    let labels = numbered(settings.labels.as_ref())?;
    let groups = numbered(settings.groups.as_ref())?;
    let wanted = signature.inputs.iter().filter(|spec| !spec.is_optional);
    if let Some(spec) = wanted.into_iter().find(|spec| !arrays.iter().any(|(name, _)| *name == spec.name)) {
        return Err(SampleError::Missing { name: spec.name.clone(), present });
    }
    let count = arrays.first().map_or(0, |(_, array)| rows(array));
    let lengths = arrays.iter().map(|(name, array)| (name.clone(), rows(array)));
    let lengths = lengths.chain(labels.iter().map(|all| ("labels".to_owned(), all.len())));
    for (name, length) in lengths.chain(groups.iter().map(|all| ("groups".to_owned(), all.len()))) {
        if length != count {
            let reason = format!("has {length} items, others have {count}");
            return Err(SampleError::Wrong { what: "array", name, reason });
        }
    }
    let mut items = Vec::with_capacity(count);
    for row in 0..count {
        let mut inputs = Vec::with_capacity(arrays.len());
        for (name, array) in &arrays {
            let spec = signature.inputs.iter().find(|spec| spec.name == *name);
            let keeps = spec.is_none_or(|spec| spec.shape.len() == array.shape.len());
            let item = of_row(array, row, count, keeps);
            check("array", signature, name, &item)?;
            inputs.push((name.clone(), item));
        }
        items.push(Item {
            inputs,
            label: labels.as_ref().map(|all| all[row]),
            group: groups.as_ref().map_or(row as u64, |all| all[row].to_bits()),
        });
    }
    Ok(items)
}

fn rows(array: &Array) -> usize {
    array.shape.first().and_then(|rows| usize::try_from(*rows).ok()).unwrap_or(0)
}

/// One row; its first dimension is 1 where the model has one for the batch, and gone where it has none.
fn of_row(array: &Array, row: usize, rows: usize, keeps_dimension: bool) -> Array {
    let size = array.data.len() / rows.max(1);
    let mut shape = array.shape[1..].to_vec();
    if keeps_dimension {
        shape.insert(0, 1);
    }
    Array { datatype: array.datatype, shape, data: array.data.slice(row * size..(row + 1) * size) }
}
