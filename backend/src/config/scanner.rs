//! The tokens of a configuration's text, read from left to right: names, values, and what lies between them. It reads the text
//! format, and JSON, which is like it in all that matters here. Next: `places` tells by it where fields stand, `unknown` where
//! one ends.

pub(super) struct Scanner<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Takes that byte if it comes next.
    pub(super) fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn skip_while(&mut self, is_part: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&is_part) {
            self.at += 1;
        }
    }

    /// What was read since then.
    fn since(&self, start: usize) -> &'a str {
        let read = self.bytes.get(start..self.at).unwrap_or_default();
        std::str::from_utf8(read).unwrap_or_default()
    }

    /// A name, or nothing.
    pub(super) fn word(&mut self) -> &'a str {
        let start = self.at;
        self.skip_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        self.since(start)
    }

    /// White space and comments.
    pub(super) fn space(&mut self) {
        loop {
            self.skip_while(|byte| byte.is_ascii_whitespace());
            if self.peek() != Some(b'#') {
                return;
            }
            self.skip_while(|byte| byte != b'\n');
        }
    }

    /// White space, comments and what may part two fields, or two elements.
    pub(super) fn gap(&mut self) {
        self.space();
        while matches!(self.peek(), Some(b',' | b';')) {
            self.at += 1;
            self.space();
        }
    }

    /// A value as it is written, and its quotes gone if it is one string.
    pub(super) fn value(&mut self) -> Option<&'a str> {
        let start = self.at;
        match self.peek()? {
            b'{' | b'[' | b'<' => self.group()?,
            b'"' | b'\'' => {
                let only = self.string()?;
                let mut end = self.at;
                self.space();
                if !matches!(self.peek(), Some(b'"' | b'\'')) {
                    self.at = end;
                    return Some(only);
                }
                // Strings beside each other are one.
                while matches!(self.peek(), Some(b'"' | b'\'')) {
                    self.string()?;
                    end = self.at;
                    self.space();
                }
                self.at = end;
            }
            first => {
                if first == b'-' {
                    self.at += 1;
                    self.space();
                }
                let number = self.at;
                self.skip_while(|byte| !byte.is_ascii_whitespace() && !b",;{}[]<>#\"':".contains(&byte));
                (self.at > number).then_some(())?;
            }
        }
        Some(self.since(start))
    }

    /// From an opening bracket to the one that closes it.
    fn group(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            self.space();
            match self.peek()? {
                b'{' | b'[' | b'<' => depth += 1,
                b'}' | b']' | b'>' => depth -= 1,
                b'"' | b'\'' => {
                    self.string()?;
                    continue;
                }
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// A string without its quotes.
    pub(super) fn string(&mut self) -> Option<&'a str> {
        let quote = self.peek()?;
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek()? {
                b'\\' => self.at += 2,
                byte if byte == quote => {
                    let text = self.since(start);
                    self.at += 1;
                    return Some(text);
                }
                _ => self.at += 1,
            }
        }
    }
}
