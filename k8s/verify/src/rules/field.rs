//! Where a rule stands: one field of one object, there or not. A rule asks for children, values and list entries, and says what is
//! wrong at the field itself, so that no rule writes a path by hand.

use serde_json::Value;

use crate::path;
use crate::rules::quantity::Quantity;
use crate::rules::text::Wrong;
use crate::{Failure, Object};

/// A field of an object, with its path; missing fields are fields too, since many rules are about what is missing.
#[derive(Clone)]
pub(crate) struct Field<'a> {
    /// The object that the field is of.
    pub(crate) object: &'a Object,
    /// As an API server writes it: `spec.template.spec.containers[0].name`.
    pub(crate) path: String,
    value: Option<&'a Value>,
}

impl<'a> Field<'a> {
    /// The whole object.
    pub(crate) fn root(object: &'a Object) -> Self {
        Self { object, path: String::new(), value: Some(&object.value) }
    }

    /// A child, there or not.
    pub(crate) fn at(&self, key: &str) -> Self {
        let value = self.value.and_then(|value| value.get(key));
        Self { object: self.object, path: path::key(&self.path, key), value }
    }

    /// A descendant by a path of plain words: `spec.template.spec`.
    pub(crate) fn down(&self, path: &str) -> Self {
        path.split('.').fold(self.clone(), |field, key| field.at(key))
    }

    /// The entries of a list; none where it is missing.
    pub(crate) fn list(&self) -> Vec<Self> {
        let entries = self.value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        (0..).zip(entries).map(|(place, value)| self.entry(place, value)).collect()
    }

    fn entry(&self, place: usize, value: &'a Value) -> Self {
        Self { object: self.object, path: path::item(&self.path, place), value: Some(value) }
    }

    /// The entries of a map; none where it is missing.
    pub(crate) fn map(&self) -> Vec<(&'a str, Self)> {
        let entries = self.value.and_then(Value::as_object);
        entries.map_or_else(Vec::new, |map| map.keys().map(|key| (key.as_str(), self.at(key))).collect())
    }

    /// Said at all: not missing and not null.
    pub(crate) fn is_said(&self) -> bool {
        self.value.is_some_and(|value| !value.is_null())
    }

    /// Missing, null, `""`, `[]` or `{}`.
    pub(crate) fn is_empty(&self) -> bool {
        match self.value {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Object(map)) => map.is_empty(),
            Some(_) => false,
        }
    }

    /// The value as it was read.
    pub(crate) fn value(&self) -> Option<&'a Value> {
        self.value.filter(|value| !value.is_null())
    }

    /// A text that is not empty.
    pub(crate) fn text(&self) -> Option<&'a str> {
        self.value.and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// A text, or `""` where there is none.
    pub(crate) fn text_or_empty(&self) -> &'a str {
        self.text().unwrap_or_default()
    }

    /// A whole number.
    pub(crate) fn number(&self) -> Option<i64> {
        self.value.and_then(Value::as_i64)
    }

    /// `true`, and not `false` or missing.
    pub(crate) fn is_true(&self) -> bool {
        self.value.and_then(Value::as_bool) == Some(true)
    }

    /// `false`, and not `true` or missing.
    pub(crate) fn is_false(&self) -> bool {
        self.value.and_then(Value::as_bool) == Some(false)
    }

    /// An amount such as `500m` or `1Gi`; none where it is missing or not an amount.
    pub(crate) fn quantity(&self) -> Option<Quantity> {
        match self.value? {
            Value::String(text) => Quantity::parse(text).ok(),
            Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
            _ => None,
        }
    }

    /// What is wrong here, and what would be right.
    pub(crate) fn fail(
        &self,
        failures: &mut Vec<Failure>,
        wrong: impl Into<String>,
        right: impl Into<String>,
    ) {
        failures.push(self.object.failure(&self.path, wrong, right));
    }

    /// Fails where a text is said that has not the form.
    pub(crate) fn form(&self, failures: &mut Vec<Failure>, form: fn(&str) -> Wrong) {
        if let Some((wrong, right)) = self.text().and_then(form) {
            self.fail(failures, wrong, right);
        }
    }

    /// The value as one would quote it.
    pub(crate) fn quoted(&self) -> String {
        self.value.map_or_else(|| "nothing".to_owned(), Value::to_string)
    }

    /// Fails where nothing is said; else whether something is.
    pub(crate) fn require(&self, failures: &mut Vec<Failure>, right: &str) -> bool {
        let missing = self.is_empty();
        if missing {
            self.fail(failures, "is missing", right);
        }
        !missing
    }

    /// Fails where a text is none of those that are allowed; a missing one is its default.
    pub(crate) fn one_of(&self, failures: &mut Vec<Failure>, allowed: &[&str]) {
        if self.text().is_some_and(|text| !allowed.contains(&text)) {
            self.fail(
                failures,
                format!("there is no {}", self.quoted()),
                format!("one of {}", allowed.join(", ")),
            );
        }
    }

    /// As [`Self::one_of`], where nothing is no default.
    pub(crate) fn one_of_said(&self, failures: &mut Vec<Failure>, allowed: &[&str]) {
        if self.is_said() && self.text().is_none_or(|text| !allowed.contains(&text)) {
            self.fail(
                failures,
                format!("there is no {}", self.quoted()),
                format!("one of {}", allowed.join(", ")),
            );
        }
    }

    /// Fails where a number lies outside; a missing one is its default.
    pub(crate) fn between(&self, failures: &mut Vec<Failure>, least: i64, most: i64) {
        if let Some(number) = self.number()
            && !(least..=most).contains(&number)
        {
            let range =
                if most == i64::MAX { format!("at least {least}") } else { format!("{least} to {most}") };
            self.fail(failures, format!("{number} is out of range"), range);
        }
    }
}
