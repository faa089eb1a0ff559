//! What the manifests refer to and don't make, as a file lists it: each with the reason that it is there.
//!
//! ```yaml
//! - kind: Secret
//!   name: forebay-redis
//!   namespace: ml          # any, where it is not said
//!   keys: [password]       # any, where they are not said
//!   why: made by the platform's team
//! ```
//!
//! Keys of a Pod are its labels, as `key=value`: so are pods declared that a selector means. Nothing is guessed beside what is declared:
//! neither a class of the cluster (of ingress, storage, priority or runtime) nor what is in another namespace.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::entries;

/// All that is declared.
#[derive(Debug, Clone, Default)]
pub struct Outsiders {
    /// In the file's order.
    pub list: Vec<Outsider>,
}

/// Something that is made elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outsider {
    /// `Secret`.
    pub kind: String,
    /// Its name; `*` at its end takes any rest.
    pub name: String,
    /// Its namespace; any where there is none.
    pub namespace: Option<String>,
    /// Keys that it has; any where there are none.
    pub keys: Option<Vec<String>>,
}

impl Outsiders {
    /// Reads the file.
    ///
    /// # Errors
    /// It can't be read, or says something else than a list of outsiders.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("{} is no list of outsiders", file.display()))
    }

    /// As [`Self::read`], of its text.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(text: &str) -> Result<Self> {
        let mut list = Vec::new();
        for (index, entry) in entries::read(text)?.iter().enumerate() {
            list.push(outsider(&entry.value).with_context(|| format!("item {}", index + 1))?);
        }
        Ok(Self { list })
    }

    /// Whether it is declared, whatever its keys. `namespace` is that in which it is looked for; none for what is in no namespace.
    #[must_use]
    pub fn holds(&self, kind: &str, name: &str, namespace: Option<&str>) -> bool {
        self.find(kind, name, namespace).next().is_some()
    }

    /// Whether it is declared with that key, or with any.
    #[must_use]
    pub fn holds_key(&self, kind: &str, name: &str, namespace: Option<&str>, key: &str) -> bool {
        let has = |outsider: &Outsider| match &outsider.keys {
            Some(keys) => keys.iter().any(|one| one == key),
            None => true,
        };
        self.find(kind, name, namespace).any(has)
    }

    fn find(&self, kind: &str, name: &str, namespace: Option<&str>) -> impl Iterator<Item = &Outsider> {
        self.list.iter().filter(move |outsider| {
            let named = match outsider.name.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => outsider.name == name,
            };
            let here = match (&outsider.namespace, namespace) {
                (Some(declared), Some(asked)) => declared == asked,
                _ => true,
            };
            outsider.kind == kind && named && here
        })
    }
}

fn outsider(item: &Value) -> Result<Outsider> {
    let members = item.as_object().context("not a mapping with kind, name and why")?;
    for key in members.keys() {
        let known = ["kind", "name", "namespace", "keys", "why"];
        ensure!(known.contains(&key.as_str()), "no member is named `{key}`; there are {}", known.join(", "));
    }
    let text = |key: &str| members.get(key).and_then(Value::as_str).map(str::to_owned);
    let keys = match members.get("keys") {
        None => None,
        Some(keys) => {
            let items = keys.as_array().context("`keys` is no list")?;
            Some(items.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        }
    };
    Ok(Outsider {
        kind: text("kind").context("no `kind`")?,
        name: text("name").context("no `name`")?,
        namespace: text("namespace"),
        keys,
    })
}

#[cfg(test)]
mod tests {
    use super::Outsiders;

    #[test]
    fn what_is_declared_is_held_with_its_keys_and_namespace() {
        let outsiders = Outsiders::parse(
            "- {kind: Secret, name: a, namespace: ml, keys: [k], why: w}\n- {kind: Service, name: b-*, why: w}\n",
        )
        .unwrap();
        assert!(outsiders.holds("Secret", "a", Some("ml")) && !outsiders.holds("Secret", "a", Some("other")));
        assert!(outsiders.holds_key("Secret", "a", Some("ml"), "k"));
        assert!(!outsiders.holds_key("Secret", "a", Some("ml"), "l"));
        assert!(outsiders.holds("Service", "b-c", Some("x")) && !outsiders.holds("Service", "c", None));
        assert!(Outsiders::parse("- {kind: Secret, nam: a}\n").is_err());
    }
}
