//! Looks at a folder that is written to.

use std::path::Path;

use super::*;
use crate::models::repository;

/// A model `m` of which the upstream says these versions.
struct Bench {
    root: tempfile::TempDir,
    known: Known,
    are_loaded: bool,
}

impl Bench {
    fn new(are_loaded: bool) -> Self {
        let bench = Self { root: tempfile::tempdir().unwrap(), known: Known::default(), are_loaded };
        bench.write("1", "first");
        bench
    }

    fn write(&self, version: &str, content: &str) {
        let folder = self.root.path().join("m").join(version);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("model.onnx"), content).unwrap();
    }

    fn fingerprint(&self) -> Fingerprint {
        repository::fingerprint(self.root.path(), "m").unwrap()
    }

    fn look(&mut self, versions: &[&str]) {
        let versions: Vec<String> = versions.iter().map(|version| (*version).to_owned()).collect();
        let fingerprint = self.fingerprint();
        let look = Look { fingerprint, versions: &versions, are_loaded: self.are_loaded };
        let root: &Path = self.root.path();
        self.known.look(look, |version| repository::digest(root, "m", version)).unwrap();
    }

    fn is_sure(&self, version: &str) -> bool {
        self.known.loaded(version).is_some()
    }
}

#[test]
fn what_was_loaded_before_the_first_look_is_in_doubt_unless_the_operator_says_that_files_stay() {
    for are_loaded in [false, true] {
        let mut bench = Bench::new(are_loaded);
        bench.look(&["1"]);
        bench.look(&["1"]);
        assert_eq!(bench.is_sure("1"), are_loaded);
    }
}

#[test]
fn files_that_change_leave_a_doubt_that_ends_with_a_load_and_not_with_time() {
    let mut bench = Bench::new(true);
    bench.look(&["1"]);
    bench.write("1", "changed");
    for _ in 0..3 {
        bench.look(&["1"]);
        assert!(!bench.is_sure("1"));
    }
    let from = bench.fingerprint();
    bench.known.is_loaded(from);
    bench.look(&["1"]);
    assert!(bench.is_sure("1"));
}

#[test]
fn files_that_come_back_as_they_were_leave_the_doubt() {
    let mut bench = Bench::new(true);
    bench.look(&["1"]);
    bench.write("1", "changed");
    bench.look(&["1"]);
    bench.write("1", "first");
    bench.look(&["1"]);
    assert!(!bench.is_sure("1"), "the others may have been loaded meanwhile");
}

#[test]
fn files_that_are_only_touched_or_of_another_version_leave_none() {
    let mut bench = Bench::new(true);
    bench.look(&["1"]);
    bench.write("1", "first");
    bench.write("2", "second");
    bench.look(&["1"]);
    assert!(bench.is_sure("1"));
}

#[test]
fn files_that_changed_during_a_load_leave_a_doubt() {
    let mut bench = Bench::new(true);
    bench.look(&["1"]);
    let from = bench.fingerprint();
    bench.write("1", "later");
    bench.known.is_loaded(from);
    bench.look(&["1"]);
    assert!(!bench.is_sure("1"));
}

#[test]
fn a_model_or_a_version_that_appears_beside_files_that_stood_still_was_loaded_from_them() {
    let mut bench = Bench::new(false);
    let fingerprint = bench.fingerprint();
    bench.known.is_absent(Some(fingerprint));
    bench.look(&["1"]);
    assert!(bench.is_sure("1"));
    bench.write("2", "second");
    bench.look(&["1"]);
    bench.look(&["1", "2"]);
    assert!(bench.is_sure("1") && bench.is_sure("2"));
    bench.write("3", "third");
    bench.look(&["3"]);
    assert!(!bench.is_sure("3"), "they came between two looks, and may have changed after they were loaded");
}

#[test]
fn files_that_change_while_the_upstream_starts_leave_a_doubt() {
    let mut bench = Bench::new(false);
    let fingerprint = bench.fingerprint();
    bench.known.is_absent(Some(fingerprint));
    bench.write("1", "changed");
    let fingerprint = bench.fingerprint();
    bench.known.is_absent(Some(fingerprint));
    bench.look(&["1"]);
    assert!(!bench.is_sure("1"), "it may have read them before");
}

#[test]
fn a_load_of_other_files_leaves_a_doubt_until_one_of_the_folders() {
    let mut bench = Bench::new(true);
    bench.look(&["1"]);
    bench.known.is_strange();
    for _ in 0..2 {
        bench.look(&["1"]);
        assert!(!bench.is_sure("1"));
    }
    let from = bench.fingerprint();
    bench.known.is_loaded(from);
    bench.look(&["1"]);
    assert!(bench.is_sure("1"));
}
