//! The scanner with bounds, and errors that say where: what every JSON of ours is read through.

use super::scanner::{Fault, Next, Scanner};
use super::{DecodeError, bound};
use crate::limits::Limits;
use std::borrow::Cow;

/// How much of a client's value an error shows, in bytes.
const SHOWN_BYTES: usize = 40;

/// A JSON text, read from front to back.
#[derive(Clone)]
pub(crate) struct Reader<'j> {
    text: &'j [u8],
    scanner: Scanner<'j>,
    pub(crate) limits: &'j Limits,
}

impl<'j> Reader<'j> {
    pub(crate) fn new(text: &'j [u8], limits: &'j Limits) -> Self {
        Self { text, scanner: Scanner::new(text), limits }
    }

    /// Where the next byte is, from 0.
    pub(crate) fn index(&self) -> usize {
        self.scanner.index()
    }

    /// How many bytes are still to come.
    pub(crate) fn left(&self) -> usize {
        self.text.len().saturating_sub(self.index())
    }

    /// An error that begins at a byte of the text.
    pub(crate) fn error_at(&self, index: usize, what: impl Into<String>) -> DecodeError {
        let before = self.text.get(..index).unwrap_or(self.text);
        let line_start =
            before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline.saturating_add(1));
        #[allow(clippy::naive_bytecount)] // once for a body that is refused
        let newlines = before.iter().filter(|byte| **byte == b'\n').count();
        DecodeError::Json {
            what: what.into(),
            line: newlines.saturating_add(1),
            column: before.len().saturating_sub(line_start).saturating_add(1),
        }
    }

    fn located<T>(&self, result: Result<T, Fault>) -> Result<T, DecodeError> {
        result.map_err(|fault| self.error_at(fault.index, fault.what))
    }

    /// An error about the value read last, which began at `start`; shows its first bytes.
    pub(crate) fn refuse(&self, start: usize, what: &str) -> DecodeError {
        let value = self.scanner.since(start);
        let cut = value.get(..SHOWN_BYTES);
        let shown = String::from_utf8_lossy(cut.unwrap_or(value));
        self.error_at(start, format!("{what}, not {shown}{}", if cut.is_some() { ".." } else { "" }))
    }

    /// An error about the value that comes next, which is skipped.
    pub(crate) fn refuse_next(&mut self, what: &str) -> DecodeError {
        let skipped = self.peek().map(|_| self.index()).and_then(|start| self.skip().map(|()| start));
        match skipped {
            Ok(start) => self.refuse(start, what),
            Err(error) => error,
        }
    }

    /// What comes next.
    pub(crate) fn peek(&mut self) -> Result<Next, DecodeError> {
        let next = self.scanner.peek();
        self.located(next)
    }

    /// Enters the array that comes next; what its first value is.
    pub(crate) fn array(&mut self, what: &str) -> Result<Option<Next>, DecodeError> {
        match self.peek()? {
            Next::Array => self.enter(),
            _ => Err(self.refuse_next(&format!("{what} must be an array"))),
        }
    }

    /// The same when it is known to be one.
    pub(crate) fn enter(&mut self) -> Result<Option<Next>, DecodeError> {
        let first = self.scanner.enter_array();
        self.located(first)
    }

    /// What the array's next value is; `None` at its end.
    pub(crate) fn step(&mut self) -> Result<Option<Next>, DecodeError> {
        let next = self.scanner.next_value();
        self.located(next)
    }

    /// Reads a string of at most `limit` bytes; `field` names it.
    pub(crate) fn text(&mut self, field: &'static str, limit: usize) -> Result<String, DecodeError> {
        if self.peek()? != Next::String {
            return Err(self.refuse_next(&format!("{field} must be a string")));
        }
        let text = self.string()?;
        bound(field, text.len(), limit)?;
        Ok(text.into_owned())
    }

    /// Reads the string that comes next.
    pub(crate) fn string(&mut self) -> Result<Cow<'j, str>, DecodeError> {
        let text = self.scanner.string();
        self.located(text)
    }

    /// Reads the `true` or `false` that comes next.
    pub(crate) fn boolean(&mut self) -> Result<bool, DecodeError> {
        let value = self.scanner.boolean();
        self.located(value)
    }

    /// Reads the number that comes next, or one of `NaN`, `Infinity`, `-Infinity`, as it is written.
    pub(crate) fn number(&mut self) -> Result<&'j [u8], DecodeError> {
        let text = self.scanner.number();
        self.located(text)
    }

    /// Reads `null` if it comes next. Clients write it for what they leave out.
    pub(crate) fn null(&mut self) -> Result<bool, DecodeError> {
        let null = self.peek()? == Next::Null;
        if null {
            let read = self.scanner.null();
            self.located(read)?;
        }
        Ok(null)
    }

    /// Nothing but white space may follow.
    pub(crate) fn finish(&mut self) -> Result<(), DecodeError> {
        let end = self.scanner.finish();
        self.located(end)
    }

    /// Reads the object that comes next. `member` is called behind each key and reads the value, or leaves it, by `false`, to be
    /// skipped. A key that comes twice is refused.
    pub(crate) fn members(
        &mut self,
        what: &str,
        mut member: impl FnMut(&mut Self, &str) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        if self.peek()? != Next::Object {
            return Err(self.refuse_next(&format!("{what} must be an object")));
        }
        let mut keys: Vec<Cow<'j, str>> = Vec::new();
        loop {
            let start = self.index();
            let key = if keys.is_empty() { self.scanner.enter_object() } else { self.scanner.next_key() };
            let Some(key) = self.located(key)? else { return Ok(()) };
            if keys.contains(&key) {
                return Err(self.error_at(start, format!("{what} has the key '{key}' twice")));
            }
            bound("keys of an object", keys.len().saturating_add(1), self.limits.max_parameters)?;
            if !member(self, &key)? {
                self.skip()?;
            }
            keys.push(key);
        }
    }

    /// Skips the value that comes next, of whatever kind, and checks its syntax. Without recursion.
    pub(crate) fn skip(&mut self) -> Result<(), DecodeError> {
        // One entry for each open array or object: is it an object?
        let mut open: Vec<bool> = Vec::new();
        let mut next = self.peek()?;
        loop {
            let inside = match next {
                Next::Array => self.enter()?,
                Next::Object => {
                    let key = self.scanner.enter_object();
                    self.value_of(key)?
                }
                _ => {
                    self.scalar(next)?;
                    None
                }
            };
            next = if let Some(inside) = inside {
                open.push(next == Next::Object);
                bound("depth of JSON", open.len(), self.limits.max_json_depth)?;
                inside
            } else {
                match self.leave(&mut open)? {
                    Some(next) => next,
                    None => return Ok(()),
                }
            };
        }
    }

    /// Behind a value: the next one, up through whatever ends here; `None` when all is closed.
    fn leave(&mut self, open: &mut Vec<bool>) -> Result<Option<Next>, DecodeError> {
        while let Some(is_object) = open.last() {
            let next = if *is_object {
                let key = self.scanner.next_key();
                self.value_of(key)?
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

    fn value_of(&mut self, key: Result<Option<Cow<'j, str>>, Fault>) -> Result<Option<Next>, DecodeError> {
        match self.located(key)? {
            Some(_) => self.peek().map(Some),
            None => Ok(None),
        }
    }

    fn scalar(&mut self, next: Next) -> Result<(), DecodeError> {
        match next {
            Next::String => self.string().map(|_| ()),
            Next::Bool => self.boolean().map(|_| ()),
            Next::Null => self.null().map(|_| ()),
            _ => self.number().map(|_| ()),
        }
    }
}
