//! Words of several parts -> what they say: `name: value`, `NAME=FILE`, `NAME:1,3,224,224`, `NAME:0,30000`.

use std::path::PathBuf;
use std::str::FromStr;

use http::{HeaderName, HeaderValue};

/// A header of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) name: HeaderName,
    pub(crate) value: HeaderValue,
}

/// The raw values of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) file: PathBuf,
}

/// The shape of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) name: String,
    pub(crate) dimensions: Vec<i64>,
}

/// Between which values an input's values are made up.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Range {
    pub(crate) name: String,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl FromStr for Header {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let expected = || "expected 'name: value'".to_owned();
        let (name, value) = word.split_once(':').ok_or_else(expected)?;
        let name = name.trim().parse().map_err(|_| expected())?;
        Ok(Self { name, value: value.trim().parse().map_err(|_| expected())? })
    }
}

impl FromStr for Input {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word.split_once('=') {
            Some((name, file)) if !name.is_empty() && !file.is_empty() => {
                Ok(Self { name: name.to_owned(), file: file.into() })
            }
            _ => Err("expected NAME=FILE".to_owned()),
        }
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let expected =
            || "expected NAME:1,3,224,224, each number 0 or more; nothing after : for a scalar".to_owned();
        let (name, numbers) = named(word).ok_or_else(expected)?;
        let numbers = numbers.split(',').filter(|_| !numbers.is_empty());
        let dimensions = numbers.map(|number| number.trim().parse().ok().filter(|number| *number >= 0));
        Ok(Self { name, dimensions: dimensions.collect::<Option<_>>().ok_or_else(expected)? })
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let expected = || "expected NAME:LEAST,MOST, such as ids:0,30000".to_owned();
        let (name, ends) = named(word).ok_or_else(expected)?;
        let (least, most) = ends.split_once(',').ok_or_else(expected)?;
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        match (number(least), number(most)) {
            (Some(least), Some(most)) if least <= most => Ok(Self { name, least, most }),
            _ => Err(expected()),
        }
    }
}

/// The name before the last colon: names of tensors may have colons, what follows has none.
fn named(word: &str) -> Option<(String, &str)> {
    let (name, rest) = word.rsplit_once(':')?;
    (!name.is_empty()).then(|| (name.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_names_its_input_whose_name_may_have_colons() {
        let shape: Shape = "input:0:1,3".parse().unwrap();
        assert_eq!((shape.name.as_str(), shape.dimensions), ("input:0", vec![1, 3]));
        assert_eq!("x:".parse::<Shape>().unwrap().dimensions, Vec::<i64>::new());
        for wrong in ["x", ":1", "x:-1", "x:1,,2", "x:a"] {
            assert!(wrong.parse::<Shape>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_range_has_two_ends_in_order() {
        assert_eq!("x:-1,2.5".parse(), Ok(Range { name: "x".into(), least: -1.0, most: 2.5 }));
        for wrong in ["x:1", "x:2,1", "x:nan,1", "x:0,inf"] {
            assert!(wrong.parse::<Range>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_header_may_have_colons_in_its_value() {
        let header: Header = "x-forebay-token: a:b".parse().unwrap();
        assert_eq!((header.name.as_str(), header.value.to_str().unwrap()), ("x-forebay-token", "a:b"));
        assert!("no colon".parse::<Header>().is_err());
    }
}
