//! Events of one document enter, its value with lines by path leaves.

use std::collections::{BTreeMap, HashMap};

use saphyr_parser::{Event, ScalarStyle, Tag};
use serde_json::{Map, Value};

use super::{Document, Fault, scalar};
use crate::path;

/// Most values of a document with its aliases resolved: ten times the largest that are seen, far below what fills memory.
const MOST_VALUES: usize = 400_000;
/// Deepest nesting: the API server's own bound is far above any schema's.
const DEEPEST: usize = 200;

/// What is open while events come.
#[derive(Default)]
pub(super) struct Builder {
    open: Vec<Open>,
    root: Option<(Value, usize)>,
    lines: BTreeMap<String, usize>,
    /// What anchors stand for, with the count of values in it.
    anchors: HashMap<usize, (Value, usize)>,
    values: usize,
    faults: Vec<Fault>,
    /// A second head was met at the top: what follows belongs to another object.
    run_on: bool,
}

/// A list or mapping that has not ended.
struct Open {
    at: String,
    anchor: usize,
    before: usize,
    line: usize,
    holds: Holds,
}

enum Holds {
    List(Vec<Value>),
    Map { members: Map<String, Value>, key: Option<(String, usize)>, merged: Vec<Value> },
}

impl Builder {
    /// The document, unless it is empty, and what was wrong in it.
    pub(super) fn finish(self) -> (Option<Document>, Vec<Fault>) {
        let lines = self.lines;
        let root = self.root.filter(|(value, _)| !value.is_null());
        (root.map(|(value, line)| Document { value, line, lines }), self.faults)
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// Nothing after it can be read.
    pub(super) fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&text, style, anchor, tag.as_deref(), line)
            }
            Event::Alias(anchor) => self.alias(anchor, line),
            Event::SequenceStart(anchor, _) => self.open(Holds::List(Vec::new()), anchor, line),
            Event::MappingStart(anchor, _) => {
                self.open(Holds::Map { members: Map::new(), key: None, merged: Vec::new() }, anchor, line)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.close();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        line: usize,
    ) -> Result<(), Fault> {
        let value = match (tag, style) {
            (Some(tag), _) if tag.is_yaml_core_schema() => scalar::tagged(&tag.suffix, text),
            (None, ScalarStyle::Plain) => scalar::plain(text),
            _ => Value::String(text.to_owned()),
        };
        if self.expects_key() {
            self.key(text, style, &value, line);
            return Ok(());
        }
        if tag.is_none() && style == ScalarStyle::Plain && scalar::is_infinite(text) {
            return Err(stop(
                line,
                &format!("`{text}` is a number without end"),
                "JSON has none: text in quotes",
            ));
        }
        self.count(1, line)?;
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), 1));
        }
        let at = self.place(line);
        self.lines.insert(at, line);
        self.put(value, line);
        Ok(())
    }

    fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { holds: Holds::Map { key: None, .. }, .. }))
    }

    /// A key is text: a boolean or number becomes its word, as the API server makes it.
    fn key(&mut self, text: &str, style: ScalarStyle, value: &Value, line: usize) {
        let key = match value {
            Value::String(key) => key.clone(),
            Value::Null if !text.is_empty() => "null".to_owned(),
            other => other.to_string(),
        };
        let top = self.open.len() == 1;
        let Some(Open { at, holds: Holds::Map { members, key: next, .. }, .. }) = self.open.last_mut() else {
            return;
        };
        if members.contains_key(&key) && !self.run_on {
            let here = path::key(at, &key);
            let first = self.lines.get(&here).copied().unwrap_or(line);
            let head = top && matches!(key.as_str(), "apiVersion" | "kind" | "metadata");
            self.run_on = head;
            self.faults.push(if head {
                Fault {
                    line,
                    path: here,
                    wrong: format!("a second `{key}` in one document (the first is in line {first})"),
                    right: "`---` on a line of its own between two objects".to_owned(),
                }
            } else {
                Fault {
                    line,
                    path: here,
                    wrong: format!("key `{key}` stands twice (the first is in line {first})"),
                    right: "each key once".to_owned(),
                }
            });
        }
        let merge = key == "<<" && style == ScalarStyle::Plain;
        *next = Some((if merge { "<<".to_owned() } else { key }, line));
    }

    fn alias(&mut self, anchor: usize, line: usize) -> Result<(), Fault> {
        let Some((value, size)) = self.anchors.get(&anchor).cloned() else {
            return Err(stop(line, "an alias of what does not end before it", "an anchor (`&name`) above"));
        };
        if self.expects_key() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            self.key(&text, ScalarStyle::DoubleQuoted, &Value::String(text.clone()), line);
            return Ok(());
        }
        self.count(size, line)?;
        let at = self.place(line);
        self.lines.insert(at, line);
        self.put(value, line);
        Ok(())
    }

    fn open(&mut self, holds: Holds, anchor: usize, line: usize) -> Result<(), Fault> {
        if self.expects_key() {
            return Err(stop(
                line,
                "a key that is a list or mapping",
                "text; `{{ }}` of a template is rendered first",
            ));
        }
        if self.open.len() >= DEEPEST {
            return Err(stop(line, "nested too deep", "at most 200 lists and mappings in each other"));
        }
        self.count(1, line)?;
        let at = self.place(line);
        // The key's line where there is one: that is where a reader looks.
        let line = self.key_line().unwrap_or(line);
        self.lines.insert(at.clone(), line);
        self.open.push(Open { at, anchor, before: self.values, line, holds });
        Ok(())
    }

    fn close(&mut self) {
        let Some(Open { anchor, before, line, holds, .. }) = self.open.pop() else { return };
        let value = match holds {
            Holds::List(items) => Value::Array(items),
            Holds::Map { mut members, merged, .. } => {
                for (key, value) in merged.into_iter().filter_map(into_members).flatten() {
                    members.entry(key).or_insert(value);
                }
                Value::Object(members)
            }
        };
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), self.values - before + 1));
        }
        self.put(value, line);
    }

    fn count(&mut self, more: usize, line: usize) -> Result<(), Fault> {
        self.values += more;
        if self.values > MOST_VALUES {
            return Err(stop(
                line,
                "too large with its aliases resolved",
                "at most 400000 values in a document",
            ));
        }
        Ok(())
    }

    fn key_line(&self) -> Option<usize> {
        match &self.open.last()?.holds {
            Holds::Map { key: Some((_, line)), .. } => Some(*line),
            _ => None,
        }
    }

    /// Path of the value that comes next.
    fn place(&self, _line: usize) -> String {
        match self.open.last() {
            None => String::new(),
            Some(Open { at, holds: Holds::List(items), .. }) => path::item(at, items.len()),
            Some(Open { at, holds: Holds::Map { key, .. }, .. }) => {
                path::key(at, key.as_ref().map_or("", |(key, _)| key))
            }
        }
    }

    fn put(&mut self, value: Value, line: usize) {
        let run_on = self.run_on && self.open.len() == 1;
        match self.open.last_mut().map(|open| &mut open.holds) {
            None => self.root = Some((value, line)),
            Some(Holds::List(items)) => items.push(value),
            Some(Holds::Map { members, key, merged }) => {
                let Some((key, _)) = key.take() else { return };
                match (key.as_str(), value) {
                    ("<<", Value::Array(items)) => merged.extend(items),
                    ("<<", value) => merged.push(value),
                    // What follows a second head is another object's.
                    _ if run_on => {}
                    (_, value) => {
                        members.insert(key, value);
                    }
                }
            }
        }
    }
}

fn into_members(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

fn stop(line: usize, wrong: &str, right: &str) -> Fault {
    Fault { line, path: String::new(), wrong: wrong.to_owned(), right: right.to_owned() }
}
