//! What is wrong, where, and what would be right: one line.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

/// Something that Kubernetes, or what runs on it, would refuse or take otherwise than meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    /// The file that says it.
    pub file: PathBuf,
    /// Its line; 0 where no line is known.
    pub line: usize,
    /// The object's kind, empty where nothing could be read.
    pub kind: String,
    /// The object's name, with its namespace before a slash where it has one.
    pub name: String,
    /// The field, as `spec.containers[0].image`.
    pub path: String,
    /// What is wrong.
    pub wrong: String,
    /// What would be right.
    pub right: String,
}

impl Display for Failure {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self { file, line, kind, name, path, wrong, right } = self;
        write!(formatter, "{}:{line}: ", file.display())?;
        if !kind.is_empty() {
            write!(formatter, "{kind}/{name}: ")?;
        }
        if !path.is_empty() {
            write!(formatter, "{path}: ")?;
        }
        let said = format!("{wrong}; {right}");
        // One line a failure, whatever a parser's message holds.
        formatter.write_str(&said.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}
