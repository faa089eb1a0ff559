//! Tables of changes of a good world: each is a mistake that is caught where it is, or one that nobody minds.

use forebay_verify::Failure;

/// A change of the good world: text, what stands in its place, and where it is caught as `Kind/namespace/name: path`.
pub(crate) type Mistake = (&'static str, &'static str, &'static str);

/// What is said of the good world with one text in place of another.
pub(crate) type Judge = fn(&str, &str) -> Vec<Failure>;

/// # Panics
/// A mistake is not caught, or elsewhere.
pub(crate) fn all_are_caught(judge: Judge, mistakes: &[Mistake]) {
    let mut missed = Vec::new();
    for (from, to, at) in mistakes {
        let failures = judge(from, to);
        let mut places =
            failures.iter().map(|failure| format!("{}/{}: {}", failure.kind, failure.name, failure.path));
        if !places.any(|place| place == *at) {
            let said = failures.iter().map(Failure::to_string).collect::<Vec<_>>().join("\n      ");
            missed.push(format!("{from}\n   -> {to}\n   expected at {at}\n   said: {said}"));
        }
    }
    assert!(missed.is_empty(), "{} of {} are missed:\n{}", missed.len(), mistakes.len(), missed.join("\n"));
}

/// # Panics
/// A change is minded.
pub(crate) fn nobody_minds(judge: Judge, changes: &[(&str, &str)]) {
    for (from, to) in changes {
        let lines: Vec<String> = judge(from, to).iter().map(Failure::to_string).collect();
        assert!(lines.is_empty(), "{from}\n   -> {to}\n{}", lines.join("\n"));
    }
}
