//! The pull parser with bounds and positions: what every JSON of ours is read through.

use super::{DecodeError, bound};
use crate::limits::Limits;
use jiter::{Jiter, JiterError, LinePosition, Peek};

/// How much of a client's value an error shows, in bytes.
const SHOWN_BYTES: usize = 40;

/// A JSON text, read from front to back.
#[derive(Clone)]
pub(crate) struct Reader<'j> {
    text: &'j [u8],
    json: Jiter<'j>,
    /// Where in the text `json` begins.
    base: usize,
    pub(crate) limits: &'j Limits,
}

impl<'j> Reader<'j> {
    pub(crate) fn new(text: &'j [u8], limits: &'j Limits) -> Self {
        Self { text, json: Jiter::new(text).with_allow_inf_nan(), base: 0, limits }
    }

    /// Where the next byte is, from 0.
    #[inline]
    pub(crate) fn index(&self) -> usize {
        self.base.saturating_add(self.json.current_index())
    }

    /// What is still to come.
    pub(crate) fn rest(&self) -> &'j [u8] {
        self.text.get(self.index()..).unwrap_or_default()
    }

    /// Goes on behind so many bytes, which were read and are whole values.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.base = self.index().saturating_add(bytes);
        let rest = self.text.get(self.base..).unwrap_or_default();
        self.json = Jiter::new(rest).with_allow_inf_nan();
    }

    /// How many bytes are still to come.
    pub(crate) fn left(&self) -> usize {
        self.text.len().saturating_sub(self.index())
    }

    /// An error that begins at a byte of the text.
    pub(crate) fn error_at(&self, index: usize, what: impl Into<String>) -> DecodeError {
        error_at(self.text, index, what.into())
    }

    /// An error about the value read last, which began at `start`; shows its first bytes.
    pub(crate) fn refuse(&self, start: usize, what: &str) -> DecodeError {
        let value = self.text.get(start..self.index()).unwrap_or_default();
        let cut = value.get(..SHOWN_BYTES);
        let shown = String::from_utf8_lossy(cut.unwrap_or(value));
        self.error_at(start, format!("{what}, not {shown}{}", if cut.is_some() { ".." } else { "" }))
    }

    /// An error about the value that comes next, which is skipped.
    pub(crate) fn refuse_next(&mut self, what: &str) -> DecodeError {
        let start = match self.peek() {
            Ok(_) => self.index(),
            Err(error) => return error,
        };
        match self.skip() {
            Ok(()) => self.refuse(start, what),
            Err(error) => error,
        }
    }

    /// What comes next.
    pub(crate) fn peek(&mut self) -> Result<Peek, DecodeError> {
        self.json.peek().map_err(|error| broken(self.text, self.base, &error))
    }

    /// Enters the array that comes next; what its first value is.
    pub(crate) fn array(&mut self, what: &str) -> Result<Option<Peek>, DecodeError> {
        match self.peek()? {
            Peek::Array => self.enter(),
            _ => Err(self.refuse_next(&format!("{what} must be an array"))),
        }
    }

    /// The same when it is known to be one.
    pub(crate) fn enter(&mut self) -> Result<Option<Peek>, DecodeError> {
        self.json.known_array().map_err(|error| broken(self.text, self.base, &error))
    }

    /// What the array's next value is; `None` at its end.
    #[inline]
    pub(crate) fn step(&mut self) -> Result<Option<Peek>, DecodeError> {
        self.json.array_step().map_err(|error| broken(self.text, self.base, &error))
    }

    /// Reads a string of at most `limit` bytes; `field` names it.
    pub(crate) fn text(&mut self, field: &'static str, limit: usize) -> Result<String, DecodeError> {
        if self.peek()? != Peek::String {
            return Err(self.refuse_next(&format!("{field} must be a string")));
        }
        let text = self.string()?;
        bound(field, text.len(), limit)?;
        Ok(text.to_owned())
    }

    /// Reads the string that comes next.
    pub(crate) fn string(&mut self) -> Result<&str, DecodeError> {
        self.json.known_str().map_err(|error| broken(self.text, self.base, &error))
    }

    /// Reads `true` or `false`.
    pub(crate) fn boolean(&mut self, peek: Peek) -> Result<bool, DecodeError> {
        self.json.known_bool(peek).map_err(|error| broken(self.text, self.base, &error))
    }

    /// Reads a number, or one of `NaN`, `Infinity`, `-Infinity`, as it is written.
    #[inline]
    pub(crate) fn number(&mut self, peek: Peek) -> Result<&'j [u8], DecodeError> {
        let start = self.index();
        self.json.known_number_bytes(peek).map_err(|error| broken(self.text, self.base, &error))?;
        Ok(self.text.get(start..self.index()).unwrap_or_default())
    }

    /// Reads `null` if it comes next. Clients write it for what they leave out.
    pub(crate) fn null(&mut self) -> Result<bool, DecodeError> {
        let null = self.peek()? == Peek::Null;
        if null {
            self.json.known_null().map_err(|error| broken(self.text, self.base, &error))?;
        }
        Ok(null)
    }

    /// Nothing but white space may follow.
    pub(crate) fn finish(&mut self) -> Result<(), DecodeError> {
        self.json.finish().map_err(|error| broken(self.text, self.base, &error))
    }

    /// Reads the object that comes next. `member` is called behind each key and reads the value, or leaves it, by `false`, to be
    /// skipped. A key that comes twice is refused.
    pub(crate) fn members(
        &mut self,
        what: &str,
        member: impl FnMut(&mut Self, &str) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        self.members_or(what, member)
    }

    /// The same, where more can be wrong with a member.
    pub(crate) fn members_or<E: From<DecodeError>>(
        &mut self,
        what: &str,
        mut member: impl FnMut(&mut Self, &str) -> Result<bool, E>,
    ) -> Result<(), E> {
        if self.peek()? != Peek::Object {
            return Err(self.refuse_next(&format!("{what} must be an object")).into());
        }
        let mut keys = Keys::default();
        let mut first = true;
        loop {
            let start = self.index();
            let key = if first { self.json.known_object() } else { self.json.next_key() };
            let Some(key) = key.map_err(|error| broken(self.text, self.base, &error))? else { return Ok(()) };
            if !keys.add(key) {
                let twice = format!("{what} has the key '{}' twice", keys.last());
                return Err(self.error_at(start, twice).into());
            }
            bound("keys of an object", keys.ends.len(), self.limits.max_parameters)?;
            if !member(self, keys.last())? {
                self.skip()?;
            }
            first = false;
        }
    }

    /// Skips the value that comes next, of whatever kind, and checks its syntax. Without recursion.
    pub(crate) fn skip(&mut self) -> Result<(), DecodeError> {
        // One entry for each open array or object: is it an object?
        let mut open: Vec<bool> = Vec::new();
        let mut peek = self.peek()?;
        loop {
            let entered = match peek {
                Peek::Array => self.enter()?.map(|next| (false, next)),
                Peek::Object => {
                    match self.json.known_object().map_err(|error| broken(self.text, self.base, &error))? {
                        Some(_) => Some((true, self.peek()?)),
                        None => None,
                    }
                }
                _ => {
                    self.scalar(peek)?;
                    None
                }
            };
            peek = if let Some((is_object, next)) = entered {
                open.push(is_object);
                bound("depth of JSON", open.len(), self.limits.max_json_depth)?;
                next
            } else {
                match self.leave(&mut open)? {
                    Some(next) => next,
                    None => return Ok(()),
                }
            };
        }
    }

    /// Behind a value: the next one, up through whatever ends here; `None` when all is closed.
    fn leave(&mut self, open: &mut Vec<bool>) -> Result<Option<Peek>, DecodeError> {
        while let Some(is_object) = open.last() {
            let next = if *is_object {
                match self.json.next_key().map_err(|error| broken(self.text, self.base, &error))? {
                    Some(_) => Some(self.peek()?),
                    None => None,
                }
            } else {
                self.step()?
            };
            if next.is_some() {
                return Ok(next);
            }
            open.pop();
        }
        Ok(None)
    }

    fn scalar(&mut self, peek: Peek) -> Result<(), DecodeError> {
        match peek {
            Peek::String => self.string().map(|_| ()),
            Peek::True | Peek::False => self.boolean(peek).map(|_| ()),
            Peek::Null => self.null().map(|_| ()),
            _ => self.number(peek).map(|_| ()),
        }
    }
}

#[cold]
fn error_at(text: &[u8], index: usize, what: String) -> DecodeError {
    let position = LinePosition::find(text, index);
    DecodeError::Json { what, line: position.line, column: position.column }
}

#[cold]
fn broken(text: &[u8], base: usize, error: &JiterError) -> DecodeError {
    error_at(text, base.saturating_add(error.index), error.error_type.to_string())
}

/// An object's keys so far, in one text.
#[derive(Default)]
struct Keys {
    text: String,
    ends: Vec<usize>,
}

impl Keys {
    /// `false` when it was there already.
    fn add(&mut self, key: &str) -> bool {
        let mut start = 0;
        let new = !self.ends.iter().any(|end| {
            let known = self.text.get(start..*end);
            start = *end;
            known == Some(key)
        });
        self.text.push_str(key);
        self.ends.push(self.text.len());
        new
    }

    fn last(&self) -> &str {
        let start = self.ends.iter().rev().nth(1).copied().unwrap_or(0);
        self.text.get(start..).unwrap_or_default()
    }
}
