//! The golden vectors fix digest, raw key, key and entry, and what gate and filter tell each other. Who has to change one needs a new
//! domain tag or format instead, and leaves the vectors of the version before: what was written then must be a miss now, and be
//! named. Lookups and records are read and written elsewhere: their vectors are tried there.

#[path = "shared/answer.rs"]
mod answer;

use answer::{answer, unhex};
use forebay_protocol::digest::Key;
use forebay_protocol::entry::{Entry, EntryError, Secret};
use forebay_protocol::generations::{Table, TableError};
use forebay_protocol::lookups::{Lookup, Lookups, Outcome, Outcomes};
use forebay_protocol::poll::{Poll, PollError};
use forebay_protocol::proof::Prover;
use prost::Message as _;
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
fn generations_of_what_was_purged_are_others() {
    check(include_str!("../golden/2/purged.json"));
}

#[test]
fn entries_open_and_seal_to_the_same_bytes() {
    check(include_str!("../golden/2/entries.json"));
}

#[test]
fn packed_entries_open_and_seal_to_the_same_bytes() {
    check(include_str!("../golden/3/entries.json"));
}

#[test]
fn between_gate_and_filter_entries_are_the_same_without_the_mac() {
    for vector in vectors(include_str!("../golden/2/entries.json")) {
        let sealed = unhex(vector["sealed_hex"].as_str().unwrap());
        let plain = [b"FBP2", &sealed[36..]].concat();
        let entry = Entry::decode_plain(plain.clone().into()).unwrap();
        assert_eq!(entry.encode_plain(), plain, "{}", vector["name"]);
        for other in *b"13" {
            let other = [&b"FBP"[..], &[other], &sealed[36..]].concat();
            assert!(matches!(Entry::decode_plain(other.into()), Err(EntryError::UnknownVersion(_))));
        }
    }
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
        let opened = Entry::open(of("sealed_hex").into(), &key, &secret, |_, _| None);
        assert_eq!(opened, Err(EntryError::UnknownVersion('1')), "{}", vector["name"]);
    }
}

/// The bytes of a vector, and the same as a later version would begin them.
fn bytes(vector: &Value) -> (&str, String) {
    let bytes = vector["bytes"].as_str().unwrap();
    let later = bytes.replacen("\"format\":2", "\"format\":3", 1);
    assert_ne!(bytes, later, "{}", vector["name"]);
    (bytes, later)
}

#[test]
fn tables_are_these_bytes_and_their_epochs_are_proven_so() {
    for vector in vectors(include_str!("../golden/2/tables.json")) {
        let (bytes, later) = bytes(&vector);
        let table = Table::parse(bytes.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&table).unwrap(), bytes, "{}", vector["name"]);
        let secret = Secret::from_bytes(&unhex(vector["secret_hex"].as_str().unwrap())).unwrap();
        assert_eq!(table.proof, Prover::of(&secret).prove(table.epoch), "{}", vector["name"]);
        assert!(matches!(Table::parse(later.as_bytes()), Err(TableError::UnknownFormat(3))));
    }
}

#[test]
fn polls_are_these_bytes() {
    for vector in vectors(include_str!("../golden/2/polls.json")) {
        let (bytes, later) = bytes(&vector);
        let poll = Poll::parse(bytes.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&poll).unwrap(), bytes, "{}", vector["name"]);
        assert!(matches!(Poll::parse(later.as_bytes()), Err(PollError::UnknownFormat(3))));
    }
}

#[test]
fn lookups_that_go_together_are_these_bytes_and_so_is_what_comes_of_them() {
    for vector in vectors(include_str!("../golden/2/batches.json")) {
        let bytes = unhex(vector["bytes_hex"].as_str().unwrap());
        let list = |name: &str| vector[name].as_array().cloned().unwrap_or_default();
        let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
        let lookups = list("lookups").into_iter().map(|it| Lookup {
            service: text(&it, "service"),
            tenant: text(&it, "tenant"),
            model: text(&it, "model"),
            version: text(&it, "version"),
            digest: unhex(&text(&it, "digest")).into(),
            traceparent: text(&it, "traceparent"),
        });
        let outcomes = list("outcomes").into_iter().map(|it| Outcome {
            status: it["status"].as_u64().unwrap().try_into().unwrap(),
            entry: unhex(&text(&it, "entry")).into(),
        });
        let (lookups, outcomes) =
            (Lookups { lookups: lookups.collect() }, Outcomes { outcomes: outcomes.collect() });
        if lookups.lookups.is_empty() {
            assert_eq!(outcomes.encode_to_vec(), bytes, "{}", vector["name"]);
            assert_eq!(Outcomes::parse(bytes.into(), outcomes.outcomes.len()), Some(outcomes.outcomes));
        } else {
            assert_eq!(lookups.encode_to_vec(), bytes, "{}", vector["name"]);
            assert_eq!(Lookups::parse(bytes.into()), Ok(lookups));
        }
    }
}
