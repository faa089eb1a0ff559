//! One object of a manifest, with the lines of its fields.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::failure::Failure;
use crate::path;

/// An object as its file says it; nothing is defaulted.
#[derive(Debug, Clone)]
pub struct Object {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// `metadata.name`; empty where it is not said.
    pub name: String,
    /// `metadata.namespace`, where it is said.
    pub namespace: Option<String>,
    /// All of it.
    pub value: Value,
    /// Where it stands.
    pub source: Source,
}

/// Where an object stands.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The file.
    pub file: PathBuf,
    /// Its first line.
    pub line: usize,
    /// Line of each field by path.
    pub lines: BTreeMap<String, usize>,
}

impl Object {
    /// What the API server calls its group; empty for `v1`.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// `v1` of `apps/v1`.
    #[must_use]
    pub fn version(&self) -> &str {
        self.api_version.split_once('/').map_or(&self.api_version, |(_, version)| version)
    }

    /// Whether it is of that group and kind, in any version.
    #[must_use]
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.kind == kind && self.group() == group
    }

    /// A value by JSON pointer (`/spec/replicas`).
    #[must_use]
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        self.value.pointer(pointer)
    }

    /// A text by JSON pointer.
    #[must_use]
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.at(pointer).and_then(Value::as_str)
    }

    /// A failure of a field of it.
    pub fn failure(&self, path: &str, wrong: impl Into<String>, right: impl Into<String>) -> Failure {
        let name = match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        };
        Failure {
            file: self.source.file.clone(),
            line: path::line(&self.source.lines, path).unwrap_or(self.source.line),
            kind: self.kind.clone(),
            name,
            path: path.to_owned(),
            wrong: wrong.into(),
            right: right.into(),
        }
    }
}
