//! The golden vectors fix digest, raw key, key and entry. Who has to change one needs a new domain tag instead, and leaves the
//! vectors of the version before: what was written then must be a miss now, and be named.

#[path = "shared/answer.rs"]
mod answer;

use answer::{answer, unhex};
use forebay_protocol::digest::Key;
use forebay_protocol::entry::{Entry, EntryError, Secret};
use serde_json::{Value, json};

fn vectors(json: &str) -> Vec<Value> {
    let vectors: Vec<Value> = serde_json::from_str(json).unwrap();
    assert!(!vectors.is_empty());
    vectors
}

fn check(json: &str) {
    for vector in vectors(json) {
        assert_eq!(answer(&vector), vector["expected"], "{}", vector["name"]);
    }
}

#[test]
fn requests_have_their_digests_and_keys() {
    check(include_str!("../golden/2/requests.json"));
}

#[test]
fn entries_open_and_seal_to_the_same_bytes() {
    check(include_str!("../golden/2/entries.json"));
}

#[test]
fn digests_and_keys_of_version_1_are_nobodys_today() {
    for mut vector in vectors(include_str!("../golden/1/requests.json")) {
        if vector["tenant"] == "" {
            vector["tenant"] = Value::Null;
        }
        vector["accept_encoding"] = json!("");
        let today = answer(&vector);
        for hash in ["raw_key", "digest", "key"] {
            let then = &vector["expected"][hash];
            assert!(then.is_null() || *then != today[hash], "{}: {hash}", vector["name"]);
        }
    }
}

#[test]
fn an_entry_of_version_1_is_named_as_one() {
    for vector in vectors(include_str!("../golden/1/entries.json")) {
        let of = |name: &str| unhex(vector[name].as_str().unwrap());
        let key: Key = vector["key"].as_str().unwrap().parse().unwrap();
        let secret = Secret::from_bytes(&of("secret_hex")).unwrap();
        let opened = Entry::open(of("sealed_hex").into(), &key, &secret);
        assert_eq!(opened, Err(EntryError::UnknownVersion('1')), "{}", vector["name"]);
    }
}
