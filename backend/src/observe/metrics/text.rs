//! Prometheus' text form -> its lines, read: of our own `/metrics`, and of the backends'.

use std::borrow::Cow;

/// One value of a metric.
#[derive(Debug, PartialEq)]
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    labels: Vec<(&'a str, Cow<'a, str>)>,
    pub(crate) value: f64,
}

impl Line<'_> {
    /// The value of a label; "" is none.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(label, _)| *label == name).map_or("", |(_, value)| value)
    }

    /// The value as a count: what is less than 0, or no number, is 0.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates
    pub(crate) fn count(&self) -> u64 {
        self.value as u64
    }
}

/// The lines that can be read.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.split('\n').filter(|line| !line.starts_with('#')).filter_map(read)
}

fn read(line: &str) -> Option<Line<'_>> {
    let (name, mut rest) = line.split_at(line.find(['{', ' '])?);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside.trim_start_matches(' ');
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((label, value));
            rest = after.trim_start_matches([',', ' ']);
        }
        rest = &rest[1..];
    }
    // A time may follow.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Line { name, labels, value })
}

/// What stands before the quote that ends it, and what follows.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut is_escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })?;
    let (value, after) = (&text[..end], &text[end + 1..]);
    if !value.contains('\\') {
        return Some((Cow::Borrowed(value), after));
    }
    let (mut plain, mut letters) = (String::with_capacity(value.len()), value.chars());
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next()? {
                'n' => '\n',
                other => other,
            },
            letter => letter,
        });
    }
    Some((Cow::Owned(plain), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = (String, Vec<(String, String)>, f64);

    fn one(line: &str) -> Option<Read> {
        let Line { name, labels, value } = lines(line).next()?;
        let labels = labels.into_iter().map(|(name, value)| (name.to_owned(), value.into_owned()));
        Some((name.to_owned(), labels.collect(), value))
    }

    #[test]
    fn a_line_is_read_whatever_its_labels_hold() {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(one("a 5"), Some(("a".into(), vec![], 5.0)));
        assert_eq!(one("a{} 5 1700000000"), Some(("a".into(), vec![], 5.0)));
        assert_eq!(
            one(r#"a{m="x} 1",v="\\\"\n,b=\"c"} 2.5"#),
            Some(("a".into(), vec![label("m", "x} 1"), label("v", "\\\"\n,b=\"c")], 2.5))
        );
        assert_eq!(one(r#"a{m="1", v="2",} 3"#).unwrap().1, [label("m", "1"), label("v", "2")]);
        for wrong in ["", "# HELP a b", "a", "a{m=\"1} 2", "a{m} 2", "a x", "{", "a{m=\"1\""] {
            assert_eq!(one(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_count_is_never_less_than_nothing() {
        let count = |value: &str| lines(&format!("a {value}")).next().unwrap().count();
        assert_eq!(["7", "7.9", "-1", "NaN"].map(count), [7, 7, 0, 0]);
    }

    #[test]
    fn what_the_exporter_writes_is_read_back() {
        let name = "<b>\"a\", x=\"\n} 5";
        let recorder = crate::observe::metrics::Series::of("text is read back", "1");
        recorder.count(|| metrics::counter!("read_back", "m" => name).increment(3));
        let text = crate::observe::metrics::series();
        let read = lines(&text).find(|line| line.name == "read_back").unwrap();
        assert_eq!((read.label("m"), read.count()), (name, 3));
    }
}
