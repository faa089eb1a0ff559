//! Names in a shared tier: what a value is enters, its name leaves. All begin with one prefix, so that a tier can be shared with others,
//! and by meshes that know nothing of each other.

use std::sync::Arc;

use forebay_protocol::digest::Key;

/// Before the keys of entries.
const ENTRY: &str = "e:";

/// The prefix.
#[derive(Clone, Debug)]
pub(crate) struct Names(Arc<str>);

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        Self(prefix.into())
    }

    /// Of what is kept by that name.
    pub(in crate::cache) fn of(&self, what: &str) -> String {
        format!("{}:{what}", self.0)
    }

    /// The same, with a tag by which a Redis in cluster mode has all of them at one node.
    pub(in crate::cache) fn together(&self, what: &str) -> String {
        format!("{{{}}}:{what}", self.0)
    }

    /// Of an entry, its key as bytes.
    pub(super) fn entry(&self, key: &Key) -> Vec<u8> {
        [self.0.as_bytes(), b":", ENTRY.as_bytes(), &key.0].concat()
    }

    /// The same, where names are text.
    pub(super) fn entry_text(&self, key: &Key) -> String {
        format!("{}:{ENTRY}{}", self.0, blake3::Hash::from_bytes(key.0).to_hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_begin_with_the_prefix() {
        let names = Names::new("stage.eu");
        assert_eq!(names.of("2:beats"), "stage.eu:2:beats");
        assert_eq!(names.together("2:beats"), "{stage.eu}:2:beats");
        assert_eq!(names.entry(&Key([7; 32])), [&b"stage.eu:e:"[..], &[7; 32]].concat());
        assert_eq!(names.entry_text(&Key([7; 32])), format!("stage.eu:e:{}", "07".repeat(32)));
    }
}
