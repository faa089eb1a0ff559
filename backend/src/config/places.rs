//! The text of a configuration and what its message may have -> the line of each field, by its path: `input[0].dims[1]`,
//! `parameters[lanes].string_value`. Next: whatever is wrong with a field is said with its line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::scanner::Scanner;

/// The places of more fields than this are not kept: elements past it are told with the line of their list.
const MOST_PLACES: usize = 1 << 16;

/// So many fields that aren't known are told; a file with more is no configuration of any version.
pub(super) const MOST_UNKNOWN: usize = 64;

/// Where the fields of one configuration stand.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// Of the file, or what stands in its place, for messages.
    path: PathBuf,
    lines: BTreeMap<String, usize>,
    /// Paths of fields that the message can't have, some of them if there are many.
    unknown: Vec<String>,
}

impl Places {
    /// Those of that text, in which a message of that kind is written: in the text format, or as JSON.
    pub(super) fn of(path: &Path, text: &str, message: &MessageDescriptor) -> Self {
        let scanner = Scanner { bytes: text.as_bytes(), at: 0 };
        let mut walk = Walk { scanner, lines: BTreeMap::new(), unknown: Vec::new(), counted: 0, line: 1 };
        walk.scanner.space();
        walk.scanner.takes(b'{');
        // What can't be read is the parser's to refuse.
        let _ = walk.fields("", message);
        Self { path: path.to_owned(), lines: walk.lines, unknown: walk.unknown }
    }

    /// Those of a configuration that isn't written: everything is at its path.
    pub(crate) fn nowhere(path: &Path) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    /// Paths of fields that the message can't have.
    pub(super) fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// The line of a field, else of what it is part of.
    pub(super) fn line(&self, field: &str) -> usize {
        let mut field = field;
        loop {
            if let Some(line) = self.lines.get(field) {
                return *line;
            }
            let end = if field.ends_with(']') { field.rfind('[') } else { field.rfind('.') };
            let Some(end) = end else { return 1 };
            field = &field[..end];
        }
    }

    /// `m/config.pbtxt:7`, for messages about that field.
    pub(crate) fn at(&self, field: &str) -> String {
        let path = self.path.display();
        if self.lines.is_empty() { path.to_string() } else { format!("{path}:{}", self.line(field)) }
    }

    /// The same for the field whose path ends with that name, or key of a map; without a line if there is none.
    pub(crate) fn at_named(&self, name: &str) -> String {
        let ends = [format!("[{name}]"), format!(".{name}")];
        let is_it = |field: &&String| *field == name || ends.iter().any(|end| field.ends_with(end.as_str()));
        let found = self.lines.keys().find(is_it);
        found.map_or_else(|| self.path.display().to_string(), |field| self.at(field))
    }
}

struct Walk<'a> {
    scanner: Scanner<'a>,
    lines: BTreeMap<String, usize>,
    unknown: Vec<String>,
    /// Up to where lines are counted, and the line there.
    counted: usize,
    line: usize,
}

impl<'a> Walk<'a> {
    /// Notes the first line on which a field stands.
    fn note(&mut self, field: &str, at: usize) {
        if self.lines.len() < MOST_PLACES && !self.lines.contains_key(field) {
            let lines = |from: usize, to: usize| {
                let between = self.scanner.bytes.get(from..to).unwrap_or_default();
                between.split(|byte| *byte == b'\n').count() - 1
            };
            // A value may stand before its key.
            self.line = if at < self.counted {
                self.line - lines(at, self.counted)
            } else {
                self.line + lines(self.counted, at)
            };
            self.counted = at;
            self.lines.insert(field.to_owned(), self.line);
        }
    }

    /// The fields of a message, to the bracket that closes it, or the end.
    fn fields(&mut self, prefix: &str, message: &MessageDescriptor) -> Option<()> {
        // Elements are counted over all mentions of a field.
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        loop {
            self.scanner.gap();
            let at = self.scanner.at;
            if matches!(self.scanner.peek(), None | Some(b'}' | b'>')) {
                self.scanner.at += 1;
                return Some(());
            }
            let name = self.name()?;
            let Some(field) = find(message, name) else {
                let path = join(prefix, name);
                self.note(&path, at);
                if self.unknown.len() < MOST_UNKNOWN && !self.unknown.contains(&path) {
                    self.unknown.push(path);
                }
                self.scanner.value()?;
                continue;
            };
            let path = join(prefix, field.name());
            self.note(&path, at);
            if field.is_list() || field.is_map() {
                self.elements(&path, &field, counts.entry(path.clone()).or_default())?;
            } else {
                self.one(&path, &field.kind())?;
            }
        }
    }

    /// A field's name and what parts it from its value.
    fn name(&mut self) -> Option<&'a str> {
        let name = match self.scanner.peek()? {
            b'"' | b'\'' => self.scanner.string()?,
            _ => self.scanner.word(),
        };
        (!name.is_empty()).then_some(())?;
        self.scanner.space();
        self.scanner.takes(b':');
        self.scanner.space();
        Some(name)
    }

    /// The elements of a list or map: in brackets, or one alone.
    fn elements(&mut self, path: &str, field: &FieldDescriptor, count: &mut usize) -> Option<()> {
        let is_group = self.scanner.takes(b'[');
        loop {
            self.scanner.gap();
            if is_group && self.scanner.takes(b']') {
                return Some(());
            }
            let at = self.scanner.at;
            if field.is_map() {
                self.entry(path, field)?;
            } else {
                let element = format!("{path}[{count}]");
                self.note(&element, at);
                *count += 1;
                self.one(&element, &field.kind())?;
            }
            if !is_group {
                return Some(());
            }
        }
    }

    /// `{ key: .. value: .. }`, or all of a map as JSON has it: `{ "..": .. }`.
    fn entry(&mut self, path: &str, field: &FieldDescriptor) -> Option<()> {
        let Kind::Message(entry) = field.kind() else { return None };
        let value = entry.map_entry_value_field().kind();
        let start = self.scanner.at;
        if !(self.scanner.takes(b'{') || self.scanner.takes(b'<')) {
            return None;
        }
        self.scanner.space();
        if self.scanner.peek() == Some(b'"') {
            loop {
                self.scanner.gap();
                let at = self.scanner.at;
                if self.scanner.takes(b'}') {
                    return Some(());
                }
                let element = format!("{path}[{}]", self.name()?);
                self.note(&element, at);
                self.one(&element, &value)?;
            }
        }
        // The key may stand after the value: first it is looked for.
        let mut key = ("", start);
        let parts = self.scanner.at;
        loop {
            self.scanner.gap();
            if matches!(self.scanner.peek()?, b'}' | b'>') {
                break;
            }
            let at = self.scanner.at;
            let name = self.name()?;
            let written = self.scanner.value()?;
            if name == "key" {
                key = (written, at);
            }
        }
        let (key, at) = key;
        let element = format!("{path}[{key}]");
        self.note(&element, at);
        self.scanner.at = parts;
        loop {
            self.scanner.gap();
            if matches!(self.scanner.peek()?, b'}' | b'>') {
                self.scanner.at += 1;
                return Some(());
            }
            match self.name()? {
                "value" => self.one(&element, &value)?,
                _ => _ = self.scanner.value()?,
            }
        }
    }

    /// One value of that kind.
    fn one(&mut self, path: &str, kind: &Kind) -> Option<()> {
        match kind {
            Kind::Message(message) if matches!(self.scanner.peek()?, b'{' | b'<') => {
                self.scanner.at += 1;
                self.fields(path, message)
            }
            _ => self.scanner.value().map(drop),
        }
    }
}

/// By the name in the text format, or the one in JSON.
fn find(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name))
}

pub(super) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

#[cfg(test)]
mod tests;
