//! Text enters, documents leave, as Kubernetes reads them: YAML 1.1's words and numbers ([`scalar`]), no key twice, aliases resolved
//! within bounds, JSON as well. Each value keeps its line, under its path. What can't be read leaves as a [`Fault`].

mod build;
mod scalar;

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser};
use serde_json::Value;

use crate::path;
use build::Builder;

/// One document of a stream.
#[derive(Debug, Clone)]
pub struct Document {
    /// What it says.
    pub value: Value,
    /// Where it begins.
    pub line: usize,
    /// Line of each value by its path, as [`path`] writes paths.
    pub lines: BTreeMap<String, usize>,
}

/// What can't be read, or would not be read as it was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub line: usize,
    /// Path of the value, empty where there is none yet.
    pub path: String,
    /// What is wrong.
    pub wrong: String,
    /// What would be right.
    pub right: String,
}

/// Reads all documents of a text; those that are empty are left out. Faults stand beside the documents that could be read.
pub fn documents(text: &str) -> (Vec<Document>, Vec<Fault>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let json = text.trim_start().starts_with('{');
    // Tabs are white space in JSON, and none in YAML's indentation.
    let spaced = if json { text.replace('\t', " ") } else { String::new() };
    let (documents, faults) = events(if json { &spaced } else { text });
    if json && faults.iter().any(|fault| fault.path.is_empty()) {
        // JSON that is no YAML: pairs of surrogates and the like. Its lines are not known.
        if let Ok(value) = serde_json::from_str(text) {
            return (vec![Document { value, line: 1, lines: BTreeMap::new() }], Vec::new());
        }
    }
    (documents, faults)
}

fn events(text: &str) -> (Vec<Document>, Vec<Fault>) {
    let mut text = Cow::Borrowed(text);
    loop {
        let (documents, faults, outdented) = attempt(&text);
        match outdented.and_then(|line| indented(&text, line)) {
            Some(more) => text = Cow::Owned(more),
            None => return (documents, faults),
        }
    }
}

/// The text with a line of a flow collection further in: within brackets Kubernetes' reader takes any indentation, and ours does not.
fn indented(text: &str, line: usize) -> Option<String> {
    const FAR: &str = "                                                                ";
    let lines: Vec<&str> = text.lines().collect();
    let (before, rest) = lines.split_at_checked(line.checked_sub(1)?)?;
    let (said, after) = rest.split_first()?;
    if said.starts_with(FAR) {
        return None;
    }
    let said = format!("{FAR}{said}");
    Some([before, &[said.as_str()], after].concat().join("\n"))
}

/// What can be read, and the line at which a flow collection goes on too far out.
fn attempt(text: &str) -> (Vec<Document>, Vec<Fault>, Option<usize>) {
    let (mut documents, mut faults) = (Vec::new(), Vec::new());
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(next) => next,
            Err(error) => {
                faults.push(unreadable(text, &error));
                let outdented = ["invalid indentation", "invalid indentation in flow construct"];
                let line = outdented.contains(&error.info()).then(|| error.marker().line());
                return (documents, faults, line);
            }
        };
        let line = span.start.line();
        match event {
            Event::DocumentStart(_) => builder = Builder::default(),
            Event::DocumentEnd => {
                let (document, found) = std::mem::take(&mut builder).finish();
                documents.extend(document);
                faults.extend(found);
            }
            event => {
                if let Err(fault) = builder.take(event, line) {
                    faults.push(fault);
                    return (documents, faults, None);
                }
            }
        }
    }
    (documents, faults, None)
}

fn unreadable(text: &str, error: &saphyr_parser::ScanError) -> Fault {
    let line = error.marker().line();
    let said = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let right = if said.starts_with(['\t', ' ']) && said.trim_start_matches(' ').starts_with('\t') {
        "indent with spaces: YAML takes no tabs".to_owned()
    } else if text.contains("{{") {
        "render the template first: this is no YAML yet".to_owned()
    } else {
        format!("YAML; this line is `{}`", said.trim())
    };
    Fault { line, path: String::new(), wrong: format!("can't be read: {}", error.info()), right }
}

/// The item of a list of objects (`kind: List`), with lines by paths of its own.
pub(crate) fn part(document: &Document, at: &str, value: &Value) -> Document {
    let line = path::line(&document.lines, at).unwrap_or(document.line);
    let lines = document.lines.range(at.to_owned()..).take_while(|(path, _)| path.starts_with(at));
    let own = lines.filter_map(|(path, line)| {
        let rest = &path[at.len()..];
        rest.strip_prefix('.').or(rest.is_empty().then_some("")).map(|rest| (rest.to_owned(), *line))
    });
    Document { value: value.clone(), line, lines: own.collect() }
}

#[cfg(test)]
mod tests;
