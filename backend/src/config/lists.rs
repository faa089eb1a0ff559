//! `input [ ... ]` -> `input: [ ... ]`. The text format lets a list of messages stand without a colon, and Triton's
//! files are written so; the parser wants the colon. Lines stay what they are.

/// Puts a colon between a field's name and the list after it, outside strings and comments.
pub(super) fn with_colons(text: &str) -> String {
    let mut result = String::with_capacity(text.len() + 16);
    let mut place = Place::Code;
    let mut after_name = false;
    for character in text.chars() {
        match place {
            Place::Code => {
                match character {
                    '"' | '\'' => place = Place::String { quote: character },
                    '#' => place = Place::Comment,
                    '[' if after_name => result.push(':'),
                    _ => {}
                }
                if character != '#' && !character.is_whitespace() {
                    after_name = character.is_ascii_alphanumeric() || character == '_';
                }
            }
            Place::Comment if character == '\n' => place = Place::Code,
            Place::String { quote } if character == quote => place = Place::Code,
            Place::String { quote } if character == '\\' => place = Place::Escape { quote },
            Place::Escape { quote } => place = Place::String { quote },
            Place::Comment | Place::String { .. } => {}
        }
        result.push(character);
    }
    result
}

#[derive(Clone, Copy)]
enum Place {
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
