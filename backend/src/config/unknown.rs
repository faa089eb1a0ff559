//! A field that isn't known -> the text without it, for files of another version of Triton still say what is known. The
//! parser tells where the field's name begins; what it is set to ends where the text format says. Lines stay what they are.

use super::scanner::Scanner;

/// The text with the field at `at` blanked; `None` when there is no whole field.
pub(super) fn without(text: &str, at: usize) -> Option<String> {
    let bytes = text.as_bytes();
    let mut scanner = Scanner { bytes, at };
    if scanner.word().is_empty() {
        return None;
    }
    scanner.space();
    if scanner.takes(b':') {
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
            .chain(bytes.get(at..end)?.iter().map(blank))
            .chain(text.get(end..)?.chars())
            .collect(),
    )
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
