//! A file that is a list, in which each entry gives its reason (outsiders, skips, drift): its text enters; the entries leave, each with its
//! line.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::path;
use crate::read;

pub(crate) struct Entry {
    pub(crate) value: Value,
    pub(crate) line: usize,
}

/// Reads them.
///
/// # Errors
/// It can't be read, or is no list.
pub(crate) fn read(text: &str) -> Result<Vec<Entry>> {
    let (documents, faults) = read::documents(text);
    if let Some(fault) = faults.first() {
        bail!("line {}: {}; {}", fault.line, fault.wrong, fault.right);
    }
    let mut entries = Vec::new();
    for document in documents {
        let Value::Array(items) = document.value else { bail!("not a list: each begins with `- kind:`") };
        for (index, value) in items.into_iter().enumerate() {
            let line = path::line(&document.lines, &path::item("", index)).unwrap_or(1);
            entries.push(Entry { value, line });
        }
    }
    Ok(entries)
}

impl Entry {
    /// What it says there.
    ///
    /// # Errors
    /// Nothing.
    pub(crate) fn word(&self, key: &str) -> Result<String> {
        let word = self.value.get(key).and_then(Value::as_str).filter(|word| !word.trim().is_empty());
        word.map(str::to_owned).with_context(|| format!("the item of line {} has no `{key}`", self.line))
    }

    /// Has it no other members than these?
    ///
    /// # Errors
    /// It has, or is no mapping.
    pub(crate) fn only(&self, known: &[&str]) -> Result<()> {
        let members = self.value.as_object();
        let members = members.with_context(|| {
            format!("the item of line {} is no mapping with {}", self.line, known.join(", "))
        })?;
        let strange = members.keys().find(|key| !known.contains(&key.as_str()));
        ensure!(
            strange.is_none(),
            "the item of line {} has something else than {}",
            self.line,
            known.join(", ")
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_their_lines_and_what_is_none_is_refused_with_its_line() {
        let entries = read("# why\n- kind: A\n  why: b\n\n- kind: C\n").unwrap();
        assert_eq!(entries.iter().map(|entry| entry.line).collect::<Vec<_>>(), [2, 5]);
        assert_eq!(entries[0].word("kind").unwrap(), "A");
        entries[0].only(&["kind", "why"]).unwrap();
        let said = |refused: Result<()>| refused.unwrap_err().to_string();
        assert_eq!(said(entries[1].word("why").map(drop)), "the item of line 5 has no `why`");
        assert_eq!(said(entries[0].only(&["kind"])), "the item of line 2 has something else than kind");
        assert!(said(read("kind: A\n").map(drop)).starts_with("not a list"));
        assert!(said(read("- kind: A\n  kind: B\n").map(drop)).starts_with("line 2"));
        assert!(said(read("- A\n").unwrap()[0].only(&["kind"])).contains("no mapping"));
    }
}
