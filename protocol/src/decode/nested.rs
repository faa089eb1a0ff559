//! Values whose arrays are their shape: V1 names none. A value, or arrays of values, enters; its raw form is appended, and what
//! comes after it must be nested in the same way.

use super::values::{Target, Walk, read_by, refuse};
use super::{DecodeError, Reader, bound};
use crate::tensor::TensorError;
use jiter::Peek;

/// How values are nested, as far as it is known: by those that were read.
#[derive(Debug, Default)]
pub(crate) struct Nesting {
    /// Of the arrays at each depth, how many members they have; `None` until one of them ended, for inner ones end first.
    lengths: Vec<Option<usize>>,
    /// In how many arrays each value lies.
    depth: Option<usize>,
}

/// What differs from what was before.
struct Ragged(String);

impl Nesting {
    /// The dimensions of what was read.
    pub(crate) fn shape(&self) -> impl Iterator<Item = usize> {
        self.lengths.iter().map(|length| length.unwrap_or(0))
    }

    /// A value lies in `depth` arrays.
    fn value(&mut self, depth: usize) -> Result<(), Ragged> {
        // Empty arrays tell of a depth too.
        let known = self.depth.unwrap_or(depth).max(self.lengths.len());
        self.depth = Some(depth);
        if known == depth {
            Ok(())
        } else {
            Err(Ragged(format!("lies in {depth} arrays, what came before it in {known}")))
        }
    }

    /// An array that is the `depth`th around its members has so many of them.
    fn array(&mut self, depth: usize, length: usize) -> Result<(), Ragged> {
        if let Some(known) = self.depth.filter(|known| *known < depth) {
            return Err(Ragged(format!("lies where values came before it, in {known} arrays")));
        }
        if self.lengths.len() < depth {
            self.lengths.resize(depth, None);
        }
        let Some(here) = depth.checked_sub(1).and_then(|place| self.lengths.get_mut(place)) else {
            return Ok(());
        };
        match *here.get_or_insert(length) {
            known if known == length => Ok(()),
            known => Err(Ragged(format!("has {length} members, what came before it {known}"))),
        }
    }
}

/// Appends what comes next to `raw`; all of it is nested as `nesting` tells, which learns what it doesn't know.
pub(crate) fn read_nested(
    reader: &mut Reader<'_>,
    target: Target<'_>,
    nesting: &mut Nesting,
    raw: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    read_by(reader, target, Alike { nesting, raw })
}

struct Alike<'a> {
    nesting: &'a mut Nesting,
    raw: &'a mut Vec<u8>,
}

impl Walk for Alike<'_> {
    type Found = ();
    const BASE64: bool = true;

    fn walk(
        self,
        reader: &mut Reader<'_>,
        target: Target<'_>,
        mut push: impl FnMut(&mut Reader<'_>, Peek, &mut Vec<u8>) -> Result<Option<&'static str>, DecodeError>,
    ) -> Result<(), DecodeError> {
        let Self { nesting, raw } = self;
        let limits = reader.limits;
        let ragged = |reader: &Reader<'_>, start: usize, what: &str, Ragged(how): Ragged| {
            reader.error_at(start, format!("{} '{}': {what} {how}", target.kind, target.name))
        };
        // Where each open array begins, and how many members it has so far.
        let mut open: Vec<(usize, usize)> = Vec::new();
        let mut found: usize = 0;
        let mut next = Some(reader.peek()?);
        loop {
            match next {
                None => {
                    let depth = open.len();
                    let Some((start, length)) = open.pop() else { return Ok(()) };
                    nesting.array(depth, length).map_err(|error| ragged(reader, start, "an array", error))?;
                }
                Some(Peek::Array) => {
                    bound("dimensions of a shape", open.len().saturating_add(1), limits.max_rank)?;
                    open.push((reader.index(), 0));
                    next = reader.enter()?;
                    continue;
                }
                Some(peek) => {
                    let start = reader.index();
                    nesting.value(open.len()).map_err(|error| ragged(reader, start, "a value", error))?;
                    if let Some(problem) = push(reader, peek, raw)? {
                        return Err(refuse(reader, target, start, found, problem));
                    }
                    if raw.len() > limits.max_tensor_bytes {
                        return Err(target.wrong(TensorError::TooLarge { limit: limits.max_tensor_bytes }));
                    }
                    found = found.saturating_add(1);
                }
            }
            // Behind a value, or an array that ended.
            let Some((_, length)) = open.last_mut() else { return Ok(()) };
            *length = length.saturating_add(1);
            next = reader.step()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datatype::DataType;
    use crate::decode::Kind;
    use crate::limits::Limits;

    /// Shape and values of texts that are read one after the other.
    fn read(texts: &[&str]) -> Result<(Vec<usize>, Vec<u8>), DecodeError> {
        let (limits, mut nesting, mut raw) = (Limits::default(), Nesting::default(), Vec::new());
        let target = Target { kind: Kind::Input, name: "x", datatype: DataType::Uint8 };
        for text in texts {
            let mut reader = Reader::new(text.as_bytes(), &limits);
            read_nested(&mut reader, target, &mut nesting, &mut raw)?;
            reader.finish()?;
        }
        Ok((nesting.shape().collect(), raw))
    }

    #[test]
    fn arrays_are_the_shape() {
        for (text, shape, values) in [
            ("7", &[][..], &[7][..]),
            ("[1, 2, 3]", &[3], &[1, 2, 3]),
            ("[[1],[2]]", &[2, 1], &[1, 2]),
            ("[[[1,2],[3,4],[5,6]]]", &[1, 3, 2], &[1, 2, 3, 4, 5, 6]),
            ("[]", &[0], &[]),
            ("[[],[]]", &[2, 0], &[]),
        ] {
            assert_eq!(read(&[text]).unwrap(), (shape.to_vec(), values.to_vec()), "{text}");
        }
        assert_eq!(read(&["[1,2]", "[3,4]"]).unwrap(), (vec![2], vec![1, 2, 3, 4]));
    }

    #[test]
    fn what_is_nested_in_another_way_than_before_is_refused() {
        for texts in [
            &["[[1],[1,2]]"][..],
            &["[[1,2],[3],[4,5,6]]"],
            &["[1,[2]]"],
            &["[[1],2]"],
            &["[[],[1]]"],
            &["[[1],[]]"],
            &["[[],[[1]]]"],
            &["[1]", "[1,2]"],
            &["[1]", "1"],
            &["1", "[]"],
            &["[]", "1"],
            &["[[],1]"],
            &["[[1]]", "[1]"],
        ] {
            let error = read(texts).unwrap_err().to_string();
            assert!(error.contains("'x'") && error.contains("came before it"), "{texts:?}: {error}");
        }
        let deep = "[".repeat(33) + &"]".repeat(33);
        assert!(matches!(read(&[&deep]), Err(DecodeError::Limit { .. })));
    }
}
