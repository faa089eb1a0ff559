//! Tables of changes of a good world: each is a mistake that is caught where it is, or one that nobody minds. Where a cluster is given
//! ([`server`]), its API server sees them too.

mod server;

use forebay_verify::Failure;

/// A change of the good world: text, what stands in its place, and where it is caught as `Kind/namespace/name: path`.
pub(crate) type Mistake = (&'static str, &'static str, &'static str);

/// What nothing is wrong in, and who judges it.
pub(crate) struct Good {
    /// Names and texts of its files.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// What is said of it with one text in place of another.
    pub(crate) judge: fn(&str, &str) -> Vec<Failure>,
}

impl Good {
    /// # Panics
    /// A mistake is not caught, or elsewhere.
    pub(crate) fn all_are_caught(&self, mistakes: &[Mistake]) {
        let mut missed = Vec::new();
        for (from, to, at) in mistakes {
            let failures = (self.judge)(from, to);
            let mut places =
                failures.iter().map(|failure| format!("{}/{}: {}", failure.kind, failure.name, failure.path));
            if !places.any(|place| place == *at) {
                let said = failures.iter().map(Failure::to_string).collect::<Vec<_>>().join("\n      ");
                missed.push(format!("{from}\n   -> {to}\n   expected at {at}\n   said: {said}"));
            }
        }
        assert!(
            missed.is_empty(),
            "{} of {} are missed:\n{}",
            missed.len(),
            mistakes.len(),
            missed.join("\n")
        );
        let changes: Vec<_> = mistakes.iter().map(|(from, to, _)| (*from, *to)).collect();
        if let Some(refused) = server::refused(self.files, &changes) {
            println!("the server refuses {} of {}, verify all", refused.len(), mistakes.len());
        }
    }

    /// # Panics
    /// A change is minded.
    pub(crate) fn nobody_minds(&self, changes: &[(&str, &str)]) {
        for (from, to) in changes {
            let lines: Vec<String> = (self.judge)(from, to).iter().map(Failure::to_string).collect();
            assert!(lines.is_empty(), "{from}\n   -> {to}\n{}", lines.join("\n"));
        }
        let refused = server::refused(self.files, changes).unwrap_or_default();
        let said: Vec<_> =
            refused.iter().map(|(index, said)| format!("{:?}: {said}", changes[*index])).collect();
        assert!(said.is_empty(), "the server refuses what verify passes:\n{}", said.join("\n"));
    }
}
