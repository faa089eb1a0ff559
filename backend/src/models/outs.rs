//! Which variants are out for all servers of a service, as this one knows it: what the service's ledger says and what its own shadows
//! found enter; `chosen` asks it of each variant. In the ledger a variant that is out is a field, which names it, and a text, which says
//! why and until when. Next: `fleet` keeps the ledger.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::variant::{Digest, Known};
use crate::cache::live::ledger::{Fields, Note};

/// A variant is out for so long after the last server whose processor it was not judged on said so: one that comes and goes doesn't
/// have all others change their answers each time.
const OUT_BY_CPU: Duration = Duration::from_mins(10);
/// And so long after a server said last that its shadow broke its budget: those that know it go on to say it. One that is judged
/// again is another variant.
const OUT_BY_SHADOW: Duration = Duration::from_hours(30 * 24);

/// Which variant, of all that there ever were: one that is made or judged again is another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Which {
    pub(crate) model: String,
    pub(crate) version: u64,
    /// Of its `variant.json`.
    pub(crate) digest: Digest,
}

/// Why a server says that a variant is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ground {
    /// It was judged on another class of processor than this server has.
    Cpu,
    /// It disagreed with its original more often than its budget says.
    Shadow,
}

/// What the ledger says of a variant that is out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Text {
    why: Ground,
    /// A sentence.
    what: String,
    /// By the pool's clock.
    until_ms: u64,
}

/// All that are out.
#[derive(Default)]
pub(crate) struct Outs {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// As the ledger had it last.
    told: BTreeMap<Which, Text>,
    /// Whose budgets are broken, as this server found out or was told; it is said as long as this server runs.
    broken: BTreeMap<Which, String>,
}

impl Which {
    pub(crate) fn of(model: &str, version: u64, known: &Known) -> Self {
        Self { model: model.to_owned(), version, digest: known.digest.clone() }
    }

    /// The name of a field about it.
    pub(crate) fn field(&self, of: &str) -> String {
        let Self { model, version, digest } = self;
        serde_json::json!([of, model, version, digest.to_string()]).to_string()
    }

    fn of_field(field: &str, of: &str) -> Option<Self> {
        let (kind, model, version, digest): (String, String, u64, Digest) =
            serde_json::from_str(field).ok()?;
        (kind == of).then_some(Self { model, version, digest })
    }
}

/// The kind of field that names a variant that is out.
const OUT: &str = "out";

impl Outs {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why that variant is out for all, if it is.
    pub(crate) fn why(&self, which: &Which) -> Option<(Ground, String)> {
        let state = self.state();
        let broken = state.broken.get(which).map(|what| (Ground::Shadow, what.clone()));
        broken.or_else(|| state.told.get(which).map(|text| (text.why, text.what.clone())))
    }

    /// That variant's budget is broken: it is out from now on.
    pub(crate) fn broke(&self, which: Which, what: String) {
        self.state().broken.insert(which, what);
    }

    /// Takes what the ledger says now.
    pub(crate) fn hear(&self, fields: &Fields, now_ms: u64) {
        let one = |(field, text): (&String, &String)| {
            let text: Text = serde_json::from_str(text).ok()?;
            Some((Which::of_field(field, OUT)?, text))
        };
        let told = fields.iter().filter_map(one).filter(|(_, text)| text.until_ms > now_ms);
        let mut state = self.state();
        state.told = told.collect();
        let broken = state.told.iter().filter(|(_, text)| text.why == Ground::Shadow);
        let broken: Vec<_> = broken.map(|(which, text)| (which.clone(), text.what.clone())).collect();
        for (which, what) in broken {
            state.broken.entry(which).or_insert(what);
        }
    }

    /// What this server says: those that its processor keeps it from serving, and those whose budgets are broken.
    pub(crate) fn notes(&self, by_cpu: impl Iterator<Item = (Which, String)>, now_ms: u64) -> Vec<Note> {
        let broken = self.state().broken.clone();
        let by_shadow = broken.into_iter().map(|(which, what)| (which, Ground::Shadow, what));
        let by_cpu = by_cpu.map(|(which, what)| (which, Ground::Cpu, what));
        let note = |(which, why, what): (Which, Ground, String)| {
            let kept = if why == Ground::Cpu { OUT_BY_CPU } else { OUT_BY_SHADOW };
            let until_ms = now_ms.saturating_add(u64::try_from(kept.as_millis()).unwrap_or(u64::MAX));
            let text = serde_json::to_string(&Text { why, what, until_ms }).unwrap_or_default();
            Note::Put { field: which.field(OUT), text }
        };
        // What is told twice of one variant is told last by the ground that lasts longer.
        by_cpu.chain(by_shadow).map(note).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn which(version: u64) -> Which {
        Which { model: "m \"1\"".into(), version, digest: Digest::of(b"it") }
    }

    /// What the ledger has after those notes.
    fn fields(notes: Vec<Note>) -> Fields {
        let put = |note| match note {
            Note::Put { field, text } => (field, text),
            Note::Add { .. } | Note::Drop { .. } => unreachable!("all that is noted here stays"),
        };
        notes.into_iter().map(put).collect()
    }

    #[test]
    fn what_one_server_says_another_hears_until_its_time_is_over() {
        let (one, another) = (Outs::default(), Outs::default());
        let said = fields(one.notes([(which(2), "no VNNI".to_owned())].into_iter(), 1000));
        another.hear(&said, 1000);
        assert_eq!(another.why(&which(2)), Some((Ground::Cpu, "no VNNI".to_owned())));
        assert_eq!(another.why(&which(3)), None);
        assert!(another.notes(std::iter::empty(), 1000).is_empty(), "whose processor it is says it");
        another.hear(&said, 1000 + 10 * 60 * 1000);
        assert_eq!(another.why(&which(2)), None);
    }

    #[test]
    fn a_broken_budget_is_said_by_all_that_know_it() {
        let (one, another) = (Outs::default(), Outs::default());
        one.broke(which(2), "3 of 9".to_owned());
        assert!(one.why(&which(2)).is_some(), "before the pool is told");
        let said = fields(one.notes(std::iter::empty(), 1000));
        another.hear(&said, 1000);
        another.hear(&Fields::new(), 1000);
        assert_eq!(another.why(&which(2)), Some((Ground::Shadow, "3 of 9".to_owned())), "the pool forgot it");
        assert_eq!(fields(another.notes(std::iter::empty(), 1000)), said);
    }

    #[test]
    fn the_ledger_has_these_fields() {
        let one = Outs::default();
        one.broke(which(2), "it".to_owned());
        let digest = Digest::of(b"it");
        let expected = (
            format!(r#"["out","m \"1\"",2,"{digest}"]"#),
            r#"{"why":"shadow","what":"it","until_ms":2592000001}"#.to_owned(),
        );
        assert_eq!(fields(one.notes(std::iter::empty(), 1)), [expected].into());
        let junk = Fields::from([
            ("x".to_owned(), "y".to_owned()),
            (r#"["out","m",2]"#.to_owned(), "{}".to_owned()),
        ]);
        one.hear(&junk, 0);
    }
}
