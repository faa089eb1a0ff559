//! How an answer is written into a slot: fixed fields, header fields, body. Bytes leave; of bytes of this format, an answer.

use crate::l1::{Answer, AnswerKey};
use bytes::Bytes;
use forebay_protocol::cache_control::Freshness;
use forebay_protocol::digest::Generation;
use forebay_protocol::entry::Field;

/// Version of the slot format: another one is a miss. Bump it when the layout changes.
const FORMAT: u8 = 5;
/// Header: format, flags, header length (4), body length (4), `created_ms` (8), seconds of freshness, of
/// `stale-while-revalidate` and of `stale-if-error` (4 each), `cost_us` (8), answer key and
/// generation (32 each), length of the fields (4). Then the fields, each name and value after its length (4), and the body. Integers
/// are little-endian.
pub(super) const HEADER_BYTES: usize = 106;
const FLAG_BINARY: u8 = 1;
const FLAG_VERBATIM: u8 = 2;
const FLAG_GENERATION: u8 = 4;
const FLAG_WITH_AUTHORIZATION: u8 = 8;
const FLAG_SAID_SO: u8 = 16;

/// Writes `answer`, of that key. `None`: it is longer than the format can say.
pub(super) fn encode(key: &AnswerKey, answer: &Answer) -> Option<Vec<u8>> {
    let mut flags = 0;
    if answer.header_length.is_some() {
        flags |= FLAG_BINARY;
    }
    if answer.verbatim {
        flags |= FLAG_VERBATIM;
    }
    if answer.generation.is_some() {
        flags |= FLAG_GENERATION;
    }
    if answer.with_authorization {
        flags |= FLAG_WITH_AUTHORIZATION;
    }
    if answer.is_said_so {
        flags |= FLAG_SAID_SO;
    }
    let fields = write_fields(&answer.fields)?;
    let bytes = HEADER_BYTES.saturating_add(fields.len()).saturating_add(answer.body.len());
    let mut slot = Vec::with_capacity(bytes);
    slot.extend_from_slice(&[FORMAT, flags]);
    slot.extend_from_slice(&u32::try_from(answer.header_length.unwrap_or(0)).ok()?.to_le_bytes());
    slot.extend_from_slice(&u32::try_from(answer.body.len()).ok()?.to_le_bytes());
    slot.extend_from_slice(&answer.created_ms.to_le_bytes());
    let Freshness { max_age_s, stale_while_revalidate_s, stale_if_error_s } = answer.freshness;
    for seconds in [max_age_s, stale_while_revalidate_s, stale_if_error_s] {
        slot.extend_from_slice(&seconds.to_le_bytes());
    }
    slot.extend_from_slice(&answer.cost_us.to_le_bytes());
    slot.extend_from_slice(key);
    slot.extend_from_slice(&answer.generation.as_ref().map_or([0; 32], |generation| generation.0));
    slot.extend_from_slice(&u32::try_from(fields.len()).ok()?.to_le_bytes());
    slot.extend_from_slice(&fields);
    slot.extend_from_slice(&answer.body);
    Some(slot)
}

fn write_fields(fields: &[Field]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for part in fields.iter().flat_map(|field| [field.name.as_bytes(), &field.value]) {
        bytes.extend_from_slice(&u32::try_from(part.len()).ok()?.to_le_bytes());
        bytes.extend_from_slice(part);
    }
    Some(bytes)
}

fn read_fields(mut bytes: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let name = std::str::from_utf8(take_part(&mut bytes)?).ok()?.to_owned();
        fields.push(Field { name, value: Bytes::copy_from_slice(take_part(&mut bytes)?) });
    }
    Some(fields)
}

fn take_part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_le_bytes(take(rest)?) as usize;
    let (part, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(part)
}

/// Reads what was written under that key; `None` for all else.
pub(super) fn decode(slot: &[u8], key: &AnswerKey) -> Option<Answer> {
    let mut rest = slot;
    let [format, flags] = take::<2>(&mut rest)?;
    let header_length = u32::from_le_bytes(take(&mut rest)?) as usize;
    let body_length = u32::from_le_bytes(take(&mut rest)?) as usize;
    let created_ms = u64::from_le_bytes(take(&mut rest)?);
    let freshness = Freshness {
        max_age_s: u32::from_le_bytes(take(&mut rest)?),
        stale_while_revalidate_s: u32::from_le_bytes(take(&mut rest)?),
        stale_if_error_s: u32::from_le_bytes(take(&mut rest)?),
    };
    let cost_us = u64::from_le_bytes(take(&mut rest)?);
    let stored_key: AnswerKey = take(&mut rest)?;
    let generation = Generation(take(&mut rest)?);
    let fields_length = u32::from_le_bytes(take(&mut rest)?) as usize;
    if format != FORMAT || stored_key != *key {
        return None;
    }
    let (fields, body) = rest.split_at_checked(fields_length)?;
    if body.len() != body_length {
        return None;
    }
    Some(Answer {
        generation: (flags & FLAG_GENERATION != 0).then_some(generation),
        is_said_so: flags & FLAG_SAID_SO != 0,
        created_ms,
        freshness,
        cost_us,
        with_authorization: flags & FLAG_WITH_AUTHORIZATION != 0,
        fields: read_fields(fields)?,
        header_length: (flags & FLAG_BINARY != 0).then_some(header_length),
        verbatim: flags & FLAG_VERBATIM != 0,
        body: body.to_vec(),
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l1::slots::tests::{KEY, answer};

    #[test]
    fn another_keys_answer_is_a_miss_and_so_is_another_format() {
        let mut slot = encode(&KEY, &answer(10)).unwrap();
        assert!(decode(&slot, &KEY).is_some());
        assert_eq!(decode(&slot, &[8; 32]), None);
        assert_eq!(decode(&slot[..slot.len() - 1], &KEY), None);
        slot[0] = FORMAT + 1;
        assert_eq!(decode(&slot, &KEY), None);
    }

    #[test]
    fn fields_read_back_and_broken_ones_are_a_miss() {
        let field = |name: &str, value: &'static [u8]| Field { name: name.into(), value: value.into() };
        let fields = vec![field("cache-control", b"max-age=5"), field("x-empty", b"")];
        let kept = Answer { fields, ..answer(10) };
        let slot = encode(&KEY, &kept).unwrap();
        assert_eq!(decode(&slot, &KEY), Some(kept));
        for at in HEADER_BYTES - 4..HEADER_BYTES + 4 {
            let mut broken = slot.clone();
            broken[at] = 0xff;
            assert_eq!(decode(&broken, &KEY), None, "byte {at}");
        }
    }

    #[test]
    fn the_bytes_of_version_5_are_these() {
        let fields = vec![Field { name: "a".into(), value: Bytes::from_static(b"bc") }];
        let kept = Answer { fields, is_said_so: true, header_length: None, verbatim: false, ..answer(2) };
        let slot = encode(&KEY, &kept).unwrap();
        let golden = [
            &[5, FLAG_GENERATION | FLAG_WITH_AUTHORIZATION | FLAG_SAID_SO][..],
            &[0, 0, 0, 0, 2, 0, 0, 0],
            &[1, 0, 0, 0, 0, 0, 0, 0],
            &[3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0],
            &[7; 32],
            &[9; 32],
            &[11, 0, 0, 0, 1, 0, 0, 0, b'a', 2, 0, 0, 0, b'b', b'c'],
            &[5, 5],
        ];
        assert_eq!(slot, golden.concat());
    }

    #[test]
    fn slots_of_earlier_versions_are_a_miss() {
        // `created_ms`, `stored_ms`, `max_age_s`; of version 2 the cost too, and the length of fields.
        let (numbers, cost, fields) = ([0; 20], [0; 8], [0; 4]);
        let [first, second, third] =
            [1, 2, 3].map(|format| [format, FLAG_GENERATION, 0, 0, 0, 0, 2, 0, 0, 0].to_vec());
        let first = [&first[..], &numbers, &KEY, &[9; 32], &[5, 5]].concat();
        let second = [&second[..], &numbers, &cost, &KEY, &[9; 32], &fields, &[5, 5]].concat();
        // As the second, with a `max_age_s` that was the only one.
        let third = [&third[..], &[0; 12], &cost, &KEY, &[9; 32], &fields, &[5, 5]].concat();
        // As of now, with a flag less.
        let mut fourth = encode(&KEY, &answer(2)).unwrap();
        fourth[0] = 4;
        assert_eq!([first, second, third, fourth].map(|slot| decode(&slot, &KEY)), [const { None }; 4]);
    }
}
