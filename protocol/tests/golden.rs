//! The golden vectors fix digest, raw key, key and entry. Who has to change one needs a new domain tag instead.

#[path = "shared/answer.rs"]
mod answer;

use answer::answer;
use serde_json::Value;

fn check(vectors: &str) {
    let vectors: Vec<Value> = serde_json::from_str(vectors).unwrap();
    assert!(!vectors.is_empty());
    for vector in vectors {
        assert_eq!(answer(&vector), vector["expected"], "{}", vector["name"]);
    }
}

#[test]
fn requests_have_their_digests_and_keys() {
    check(include_str!("../golden/requests.json"));
}

#[test]
fn entries_open_and_seal_to_the_same_bytes() {
    check(include_str!("../golden/entries.json"));
}
