//! Rows: each is a value for the only input, or an object with a value for each. They become columns as they are read.

use super::{Column, Input, PredictError, dimensions, is_bytes, named, only, target};
use crate::decode::{self, Nesting, Reader, bound};
use jiter::Peek;

/// A column that grows by a value a row.
struct Growing<'a> {
    input: Input<'a>,
    /// Of one row's value.
    nesting: Nesting,
    rows: usize,
    raw: Vec<u8>,
}

/// Reads the list of rows.
pub(super) fn read<'a>(
    reader: &mut Reader<'_>,
    inputs: &[Input<'a>],
) -> Result<Vec<Column<'a>>, PredictError> {
    let mut columns: Vec<Growing<'a>> = Vec::new();
    let mut next = reader.array("'instances'")?;
    let mut row: usize = 0;
    while let Some(peek) = next {
        if peek == Peek::Object && !is_bytes(reader, inputs)? {
            reader.members_or("an instance", |reader, name| -> Result<bool, PredictError> {
                read_value(reader, &mut columns, named(inputs, name)?, row)?;
                Ok(true)
            })?;
        } else {
            read_value(reader, &mut columns, only(inputs)?, row)?;
        }
        let rows = row.saturating_add(1);
        if columns.iter().any(|column| column.rows != rows) {
            return Err(PredictError::OtherInputs(row));
        }
        row = rows;
        next = reader.step()?;
    }
    let columns: Vec<Column<'a>> = columns.into_iter().map(Growing::whole).collect();
    for column in &columns {
        // The rows are one more than what was bounded where it was read.
        bound("dimensions of a shape", column.shape.len(), reader.limits.max_rank)?;
    }
    Ok(columns)
}

fn read_value<'a>(
    reader: &mut Reader<'_>,
    columns: &mut Vec<Growing<'a>>,
    input: Input<'a>,
    row: usize,
) -> Result<(), PredictError> {
    let place = match columns.iter().position(|column| column.input.name == input.name) {
        Some(place) => place,
        None if row == 0 => {
            columns.push(Growing { input, nesting: Nesting::default(), rows: 0, raw: Vec::new() });
            columns.len().saturating_sub(1)
        }
        None => return Err(PredictError::OtherInputs(row)),
    };
    if let Some(Growing { nesting, rows, raw, .. }) = columns.get_mut(place) {
        decode::read_nested(reader, target(input), nesting, raw)?;
        *rows = rows.saturating_add(1);
    }
    Ok(())
}

impl<'a> Growing<'a> {
    fn whole(self) -> Column<'a> {
        let shape = dimensions(std::iter::once(self.rows).chain(self.nesting.shape()));
        Column { input: self.input, shape, raw: self.raw }
    }
}
