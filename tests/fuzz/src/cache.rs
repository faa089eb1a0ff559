//! What the cache reads: entries, directives, the table of live generations, polls, lookups that come together.

use bytes::Bytes;
use forebay_protocol::cache_control::{RequestDirectives, ResponseDirectives};
use forebay_protocol::digest::Key;
use forebay_protocol::entry::{Entry, Secret};
use forebay_protocol::generations::Table;
use forebay_protocol::lookups::{Lookups, MAX_LOOKUPS, Outcomes};
use forebay_protocol::poll::Poll;
use forebay_protocol::request::header_length;
use prost::Message as _;

/// What is read can be sealed and opened again.
pub(crate) fn entry(data: &[u8]) {
    let (key, secret) = (Key([1; 32]), Secret::from_bytes(&[2; 16]).unwrap());
    assert!(
        Entry::open(Bytes::copy_from_slice(data), &key, &secret, |_, _| None).is_err(),
        "nobody guesses a MAC"
    );
    if let Ok(entry) = Entry::decode_plain(Bytes::copy_from_slice(data)) {
        let opened =
            Entry::open(Bytes::from(entry.seal(&key, &secret, |_| None)), &key, &secret, |_, _| None)
                .unwrap();
        assert_eq!(opened.encode_plain(), entry.encode_plain());
    }
}

/// What is read can be written and read again; the header of a binary request's length, too, is a header.
pub(crate) fn cache_control(data: &[u8]) {
    let values: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let _ = RequestDirectives::parse(values.iter().copied());
    let _ = header_length(values.iter().copied());
    if let Some(ResponseDirectives { freshness, .. }) = ResponseDirectives::parse(values.iter().copied()) {
        let again = ResponseDirectives::parse([freshness.to_string().as_bytes()]);
        assert_eq!(again.map(|again| again.freshness), Some(freshness));
    }
}

/// What is read is written as it was.
pub(crate) fn generations(data: &[u8]) {
    let Ok(table) = Table::parse(data) else { return };
    let text = serde_json::to_vec(&table).unwrap();
    assert_eq!(serde_json::from_slice::<Table>(&text).unwrap(), table);
}

/// What is read is written as it was.
pub(crate) fn poll(data: &[u8]) {
    let Ok(poll) = Poll::parse(data) else { return };
    let text = serde_json::to_vec(&poll).unwrap();
    assert_eq!(Poll::parse(&text).unwrap(), poll);
}

/// What is read is written as it was: what a filter asks, and what a gate says of it, of which entries are read again.
pub(crate) fn lookups(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    if let Ok(lookups) = Lookups::parse(data.clone()) {
        assert_eq!(Lookups::parse(lookups.encode_to_vec().into()), Ok(lookups));
    }
    for count in 1..=MAX_LOOKUPS {
        let Some(outcomes) = Outcomes::parse(data.clone(), count) else { continue };
        for outcome in &outcomes {
            let _ = Entry::decode_plain(outcome.entry.clone());
        }
        let told = Outcomes { outcomes }.encode_to_vec();
        assert!(Outcomes::parse(told.into(), count).is_some());
    }
}
