//! `input [ ... ]` -> `input: [ ... ]`. The text format lets a list of messages stand without a colon, and Triton's
//! files are written so; the parser wants the colon. Lines stay what they are.

/// Puts a colon between a field's name and the list after it, outside strings and comments.
pub(super) fn with_colons(text: &str) -> String {
    let mut result = String::with_capacity(text.len() + 16);
    let mut place = Within::Code;
    let mut after_name = false;
    for character in text.chars() {
        match place {
            Within::Code => {
                match character {
                    '"' | '\'' => place = Within::String { quote: character },
                    '#' => place = Within::Comment,
                    '[' if after_name => result.push(':'),
                    _ => {}
                }
                if character != '#' && !character.is_whitespace() {
                    after_name = character.is_ascii_alphanumeric() || character == '_';
                }
            }
            Within::Comment if character == '\n' => place = Within::Code,
            Within::String { quote } if character == quote => place = Within::Code,
            Within::String { quote } if character == '\\' => place = Within::Escape { quote },
            Within::Escape { quote } => place = Within::String { quote },
            Within::Comment | Within::String { .. } => {}
        }
        result.push(character);
    }
    result
}

#[derive(Clone, Copy)]
enum Within {
    Code,
    Comment,
    String { quote: char },
    Escape { quote: char },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_get_their_colon_and_nothing_else_changes() {
        for (text, expected) in [
            ("input [ { dims: [ 1 ] } ]", "input :[ { dims: [ 1 ] } ]"),
            ("input\n# comment [\n[", "input\n# comment [\n:["),
            ("a: \"x [\" b: 'y\\' [' c [", "a: \"x [\" b: 'y\\' [' c :["),
            ("dims:[1]", "dims:[1]"),
        ] {
            assert_eq!(with_colons(text), expected);
        }
    }
}
