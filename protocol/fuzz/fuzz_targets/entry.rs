//! Entries: never a panic; what is read can be sealed and opened again.
#![no_main]

use bytes::Bytes;
use forebay_protocol::digest::Key;
use forebay_protocol::entry::{Entry, Secret};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (key, secret) = (Key([1; 32]), Secret::from_bytes(&[2; 16]).unwrap());
    assert!(Entry::open(Bytes::copy_from_slice(data), &key, &secret).is_err(), "nobody guesses a MAC");
    if let Ok(entry) = Entry::decode_plain(Bytes::copy_from_slice(data)) {
        let opened = Entry::open(Bytes::from(entry.seal(&key, &secret)), &key, &secret).unwrap();
        assert_eq!(opened.encode_plain(), entry.encode_plain());
    }
});
