//! A field that isn't known -> the text without it, for files of another version of Triton still say what is known. The
//! parser tells where the field's name begins; what it is set to ends where the text format says. Lines stay what they are.

/// The text with the field at `at` blanked; `None` when there is no whole field.
pub(super) fn without(text: &str, at: usize) -> Option<String> {
    let bytes = text.as_bytes();
    let mut scanner = Scanner { bytes, at };
    scanner.word();
    if scanner.at == at {
        return None;
    }
    scanner.space();
    if scanner.peek() == Some(b':') {
        scanner.at += 1;
        scanner.space();
    }
    scanner.value()?;
    let end = scanner.at;
    scanner.space();
    // The separator after a field belongs to it.
    let end = if matches!(scanner.peek(), Some(b',' | b';')) { scanner.at + 1 } else { end };
    let blank = |byte: &u8| if *byte == b'\n' { '\n' } else { ' ' };
    Some(
        text.get(..at)?
            .chars()
            .chain(bytes[at..end].iter().map(blank))
            .chain(text.get(end..)?.chars())
            .collect(),
    )
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_while(&mut self, is_part: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&is_part) {
            self.at += 1;
        }
    }

    fn word(&mut self) {
        self.skip_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    }

    /// White space and comments.
    fn space(&mut self) {
        loop {
            self.skip_while(|byte| byte.is_ascii_whitespace());
            if self.peek() != Some(b'#') {
                return;
            }
            self.skip_while(|byte| byte != b'\n');
        }
    }

    fn value(&mut self) -> Option<()> {
        match self.peek()? {
            b'{' | b'[' | b'<' => self.group(),
            b'"' | b'\'' => {
                // Strings beside each other are one.
                while matches!(self.peek(), Some(b'"' | b'\'')) {
                    self.string()?;
                    let after = self.at;
                    self.space();
                    if !matches!(self.peek(), Some(b'"' | b'\'')) {
                        self.at = after;
                        break;
                    }
                }
                Some(())
            }
            _ => {
                let start = self.at;
                self.skip_while(|byte| !byte.is_ascii_whitespace() && !b",;{}[]<>#\"':".contains(&byte));
                (self.at > start).then_some(())
            }
        }
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

    fn string(&mut self) -> Option<()> {
        let quote = self.peek()?;
        self.at += 1;
        loop {
            match self.peek()? {
                b'\\' => self.at += 2,
                byte => {
                    self.at += 1;
                    if byte == quote {
                        return Some(());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_goes_with_its_value_and_nothing_else() {
        for (value, rest) in [
            ("3", " b: 1"),
            (" -1.5e3,", "b: 1"),
            ("\"a}\" 'b\\'c'", " b: 1"),
            (" { x: \"}\" # }\n y [ { } ] } ;", "b: 1"),
            (" [ 1, 2 ]", "\nb: 1"),
            ("< c: 1 >", ""),
        ] {
            let text = format!("a: 0 q:{value}{rest}");
            let cut = without(&text, 5).unwrap();
            assert_eq!(cut.len(), text.len());
            assert_eq!(
                cut.replace(char::is_whitespace, ""),
                format!("a:0{}", rest.replace(char::is_whitespace, "")),
                "{text}"
            );
            assert_eq!(cut.matches('\n').count(), text.matches('\n').count());
        }
        for text in ["q", "q:", "q: {", "q: \"", ": 1", "q: \"\\"] {
            assert_eq!(without(text, 0), None, "{text}");
        }
    }
}
