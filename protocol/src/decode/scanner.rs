//! JSON's grammar (RFC 8259, and the tokens `NaN`, `Infinity`, `-Infinity`), one token at a time. Bytes enter; strings and numbers
//! leave as slices of them. No recursion, no allocation but for strings with escapes. `reader` adds bounds and errors with places.
//!
//! Our own, since the pull parsers there are don't build for `wasm32-unknown-unknown` or build a tree.

use std::borrow::Cow;

/// What a value is, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// What breaks the grammar, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) index: usize,
    pub(crate) what: &'static str,
}

/// A place in a JSON text.
#[derive(Clone, Debug)]
pub(crate) struct Scanner<'j> {
    text: &'j [u8],
    index: usize,
}

impl<'j> Scanner<'j> {
    pub(crate) fn new(text: &'j [u8]) -> Self {
        Self { text, index: 0 }
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// The text from `start` to here.
    pub(crate) fn since(&self, start: usize) -> &'j [u8] {
        self.text.get(start..self.index).unwrap_or_default()
    }

    fn fault<T>(&self, what: &'static str) -> Result<T, Fault> {
        let what = if self.index < self.text.len() { what } else { "the JSON ends too early" };
        Err(Fault { index: self.index, what })
    }

    fn byte(&self) -> Option<u8> {
        self.text.get(self.index).copied()
    }

    fn advance(&mut self, count: usize) {
        self.index = self.index.saturating_add(count).min(self.text.len());
    }

    /// The next byte that is not white space, which stays.
    fn token(&mut self) -> Option<u8> {
        while let Some(byte) = self.byte() {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.advance(1);
        }
        None
    }

    fn take(&mut self, byte: u8) -> bool {
        let taken = self.byte() == Some(byte);
        if taken {
            self.advance(1);
        }
        taken
    }

    /// What comes next. The place moves to its first byte.
    pub(crate) fn peek(&mut self) -> Result<Next, Fault> {
        match self.token() {
            Some(b'"') => Ok(Next::String),
            Some(b'[') => Ok(Next::Array),
            Some(b'{') => Ok(Next::Object),
            Some(b't' | b'f') => Ok(Next::Bool),
            Some(b'n') => Ok(Next::Null),
            Some(b'-' | b'0'..=b'9' | b'N' | b'I') => Ok(Next::Number),
            _ => self.fault("a value is expected"),
        }
    }

    /// Behind `[`: the first value, `None` when the array is empty.
    pub(crate) fn enter_array(&mut self) -> Result<Option<Next>, Fault> {
        self.advance(1);
        self.token();
        if self.take(b']') { Ok(None) } else { self.peek().map(Some) }
    }

    /// Behind a value of an array: the next, `None` at its end.
    pub(crate) fn next_value(&mut self) -> Result<Option<Next>, Fault> {
        self.token();
        if self.take(b',') {
            return self.peek().map(Some);
        }
        if self.take(b']') { Ok(None) } else { self.fault("',' or ']' is expected") }
    }

    /// Behind `{`: the first key, `None` when the object is empty.
    pub(crate) fn enter_object(&mut self) -> Result<Option<Cow<'j, str>>, Fault> {
        self.advance(1);
        self.token();
        if self.take(b'}') { Ok(None) } else { self.key().map(Some) }
    }

    /// Behind a value of an object: the next key, `None` at its end.
    pub(crate) fn next_key(&mut self) -> Result<Option<Cow<'j, str>>, Fault> {
        self.token();
        if self.take(b',') {
            return self.key().map(Some);
        }
        if self.take(b'}') { Ok(None) } else { self.fault("',' or '}' is expected") }
    }

    fn key(&mut self) -> Result<Cow<'j, str>, Fault> {
        if self.token() != Some(b'"') {
            return self.fault("a key in quotes is expected");
        }
        let key = self.string()?;
        self.token();
        if self.take(b':') { Ok(key) } else { self.fault("':' is expected") }
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self) -> Result<bool, Fault> {
        match self.byte() {
            Some(b't') => self.word(b"true").map(|()| true),
            _ => self.word(b"false").map(|()| false),
        }
    }

    /// `null`.
    pub(crate) fn null(&mut self) -> Result<(), Fault> {
        self.word(b"null")
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Fault> {
        if self.text.get(self.index..).is_some_and(|rest| rest.starts_with(word)) {
            self.advance(word.len());
            return Ok(());
        }
        Err(Fault { index: self.index, what: "a value is expected" })
    }

    /// A number as it is written.
    pub(crate) fn number(&mut self) -> Result<&'j [u8], Fault> {
        let start = self.index;
        self.take(b'-');
        match self.byte() {
            Some(b'I') => self.word(b"Infinity")?,
            Some(b'N') if self.index == start => self.word(b"NaN")?,
            Some(b'0') => {
                self.advance(1);
                self.fraction()?;
            }
            _ => {
                self.digits()?;
                self.fraction()?;
            }
        }
        Ok(self.since(start))
    }

    fn fraction(&mut self) -> Result<(), Fault> {
        if self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            return self.fault("a number does not begin with 0");
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'-') {
                self.take(b'+');
            }
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), Fault> {
        let rest = self.text.get(self.index..).unwrap_or_default();
        let count = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        if count == 0 {
            return self.fault("a digit is expected");
        }
        self.advance(count);
        Ok(())
    }

    /// A string, without its quotes and with its escapes resolved.
    pub(crate) fn string(&mut self) -> Result<Cow<'j, str>, Fault> {
        self.advance(1);
        let start = self.index;
        self.plain()?;
        if self.byte() == Some(b'"') {
            let text = self.utf8(start)?;
            self.advance(1);
            return Ok(Cow::Borrowed(text));
        }
        let mut resolved = self.utf8(start)?.to_owned();
        while self.take(b'\\') {
            resolved.push(self.escape()?);
            let start = self.index;
            self.plain()?;
            resolved.push_str(self.utf8(start)?);
        }
        self.advance(1);
        Ok(Cow::Owned(resolved))
    }

    /// Goes to the quote or backslash that ends a run of plain characters.
    fn plain(&mut self) -> Result<(), Fault> {
        let rest = self.text.get(self.index..).unwrap_or_default();
        let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
        self.advance(length.unwrap_or(rest.len()));
        match self.byte() {
            Some(b'"' | b'\\') => Ok(()),
            _ => self.fault("a control character in a string must be escaped"),
        }
    }

    fn utf8(&self, start: usize) -> Result<&'j str, Fault> {
        std::str::from_utf8(self.since(start)).map_err(|error| Fault {
            index: start.saturating_add(error.valid_up_to()),
            what: "a string must be UTF-8",
        })
    }

    /// Behind the backslash.
    fn escape(&mut self) -> Result<char, Fault> {
        let resolved = match self.byte() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return self.fault("an escape that JSON does not have"),
        };
        self.advance(1);
        Ok(resolved)
    }

    fn unicode_escape(&mut self) -> Result<char, Fault> {
        let start = self.index;
        let mut units = [self.hex4()?, 0];
        if (0xd800..0xdc00).contains(&units[0]) && self.take(b'\\') && self.byte() == Some(b'u') {
            units[1] = self.hex4()?;
        }
        let used = if units[1] == 0 { units.get(..1) } else { units.get(..) };
        let mut decoded = char::decode_utf16(used.unwrap_or_default().iter().copied());
        match (decoded.next(), decoded.next()) {
            (Some(Ok(character)), None) => Ok(character),
            _ => Err(Fault { index: start, what: "a \\u escape is half of a surrogate pair" }),
        }
    }

    /// `uXXXX`.
    fn hex4(&mut self) -> Result<u16, Fault> {
        self.advance(1);
        let digits = self.text.get(self.index..self.index.saturating_add(4)).unwrap_or_default();
        let hex = digits.len() == 4 && digits.iter().all(u8::is_ascii_hexdigit);
        let text = std::str::from_utf8(digits).ok().filter(|_| hex);
        let Some(unit) = text.and_then(|text| u16::from_str_radix(text, 16).ok()) else {
            return self.fault("four hex digits are expected behind \\u");
        };
        self.advance(4);
        Ok(unit)
    }

    /// Nothing but white space may follow.
    pub(crate) fn finish(&mut self) -> Result<(), Fault> {
        match self.token() {
            None => Ok(()),
            Some(_) => self.fault("nothing is expected behind the value"),
        }
    }
}
