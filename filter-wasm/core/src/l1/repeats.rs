//! Raw keys of requests that come again and again, without hashing them: the bytes of a whole request enter, its raw key leaves if
//! those very bytes came before.
//!
//! BLAKE3 of a large body costs more than all else that a hit does. To compare it with what is kept costs a twentieth of that, and is
//! as sure. Where to look says a quick fingerprint of some of the bytes, which anybody may make collide: then the body is hashed, as
//! if nothing were kept here. The same fingerprint tells that a large body came for the first time, whose raw key nobody needs yet.

use super::{AnswerKey, Bounded, bounded};
use forebay_protocol::digest::RawKeyParts;
use forebay_protocol::tenant::Tenant;
use quick_cache::Weighter;

/// What a kept request costs beside its body, in bytes: its other parts, their allocations and the map's own slot.
const OVERHEAD_BYTES: u64 = 512;
/// Larger bodies are hashed when they come for the second time. Smaller ones cost little, and their first repeat needs no parsing.
const SMALL_BYTES: usize = 4096;
/// Fingerprints that are remembered, to know what came before. Each takes four bytes.
const REMEMBERED: usize = 1 << 14;
/// Of a large body, how much of it is in the fingerprint: its ends, and as many pieces between them.
const END_BYTES: usize = 1024;
const PIECES: usize = 32;
const PIECE_BYTES: usize = 64;

/// Requests that came, as one worker knows them.
pub struct Repeats {
    kept: Bounded<u64, Request, Bytes>,
    max_bytes: u64,
    /// Parts of fingerprints, each where another part says.
    remembered: Vec<u32>,
}

/// What is known of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Those bytes came before.
    Kept(AnswerKey),
    /// They may have: its raw key is worth its price.
    Maybe(u64),
    /// It is large and came for the first time, as far as is remembered.
    First,
}

/// A whole request.
#[derive(Clone)]
struct Request {
    service: String,
    tenant: Option<Tenant>,
    path: String,
    content_type: Vec<u8>,
    header_length: Vec<u8>,
    accept: Vec<u8>,
    accept_encoding: Vec<u8>,
    body: Vec<u8>,
    raw_key: AnswerKey,
}

impl Request {
    fn new(parts: &RawKeyParts<'_>, raw_key: AnswerKey) -> Self {
        Self {
            service: parts.scope.service.to_owned(),
            tenant: parts.scope.tenant.cloned(),
            path: parts.path.to_owned(),
            content_type: parts.content_type.to_owned(),
            header_length: parts.header_length.to_owned(),
            accept: parts.accept.to_owned(),
            accept_encoding: parts.accept_encoding.to_owned(),
            body: parts.body.to_owned(),
            raw_key,
        }
    }

    /// Are these all the bytes of its raw key?
    fn is(&self, parts: &RawKeyParts<'_>) -> bool {
        self.service == parts.scope.service
            && self.tenant.as_ref() == parts.scope.tenant
            && self.path == parts.path
            && self.content_type == parts.content_type
            && self.header_length == parts.header_length
            && self.accept == parts.accept
            && self.accept_encoding == parts.accept_encoding
            && are_equal(&self.body, parts.body)
    }
}

/// `==`, many bytes at a time: in Wasm, Rust's own looks at one byte after the other.
fn are_equal(one: &[u8], other: &[u8]) -> bool {
    let ((blocks, rest), (others, others_rest)) = (one.as_chunks::<64>(), other.as_chunks::<64>());
    let differ = |(one, other): (&[u8; 64], &[u8; 64])| {
        one.iter().zip(other).fold(0, |differ, (one, other)| differ | (one ^ other)) != 0
    };
    one.len() == other.len() && !blocks.iter().zip(others).any(differ) && rest == others_rest
}

#[derive(Clone)]
struct Bytes;

impl Weighter<u64, Request> for Bytes {
    fn weight(&self, _: &u64, request: &Request) -> u64 {
        let parts =
            [&request.content_type, &request.header_length, &request.accept, &request.accept_encoding];
        let parts = parts.into_iter().map(Vec::len).fold(request.path.len(), usize::saturating_add);
        OVERHEAD_BYTES.saturating_add(parts.saturating_add(request.body.len()) as u64)
    }
}

impl Repeats {
    /// None yet; never more than so many bytes of them.
    pub fn new(bytes: u64) -> Self {
        let remembered = (REMEMBERED * size_of::<u32>()) as u64;
        let kept_bytes = bytes.saturating_sub(remembered);
        let is_off = kept_bytes == 0;
        let estimate = usize::try_from(kept_bytes / (OVERHEAD_BYTES * 4)).unwrap_or(usize::MAX);
        Self {
            kept: bounded(estimate, kept_bytes, Bytes),
            max_bytes: if is_off { 0 } else { bytes },
            remembered: if is_off { Vec::new() } else { vec![0; REMEMBERED] },
        }
    }

    /// Most bytes of it.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Bytes of it.
    pub fn bytes(&self) -> u64 {
        self.kept.weight()
    }

    /// What is known of a request. One that is large is remembered.
    pub fn look(&mut self, parts: &RawKeyParts<'_>) -> Repeat {
        let fingerprint = fingerprint(parts);
        if let Some(request) = self.kept.get(&fingerprint).filter(|request| request.is(parts)) {
            return Repeat::Kept(request.raw_key);
        }
        if parts.body.len() <= SMALL_BYTES || self.remember(fingerprint) {
            return Repeat::Maybe(fingerprint);
        }
        Repeat::First
    }

    /// Is it remembered? It is from now on.
    fn remember(&mut self, fingerprint: u64) -> bool {
        let places = self.remembered.len() as u64;
        let place = fingerprint.checked_rem(places).and_then(|place| usize::try_from(place).ok());
        let place = place.and_then(|place| self.remembered.get_mut(place));
        // Where nothing is remembered all may have come before.
        let Some(place) = place else { return true };
        // 0 is an empty place.
        let part = u32::try_from(fingerprint >> 32).unwrap_or(0).max(1);
        std::mem::replace(place, part) == part
    }

    /// A request with this fingerprint was answered by its raw key: the next time it need not be hashed.
    pub fn keep(&mut self, fingerprint: u64, parts: &RawKeyParts<'_>, raw_key: AnswerKey) {
        if self.max_bytes > 0 {
            self.kept.insert(fingerprint, Request::new(parts, raw_key));
        }
    }
}

/// A number that equal requests share, and others seldom.
fn fingerprint(parts: &RawKeyParts<'_>) -> u64 {
    let mut mix = Mix(parts.body.len() as u64);
    mix.add(parts.scope.service.as_bytes());
    mix.add(parts.scope.tenant.map_or("", |tenant| tenant.as_str()).as_bytes());
    mix.add(parts.path.as_bytes());
    for part in [parts.content_type, parts.header_length, parts.accept, parts.accept_encoding] {
        mix.add(part);
    }
    let body = parts.body;
    if body.len() <= SMALL_BYTES {
        mix.add(body);
        return mix.finish();
    }
    let (first, rest) = body.split_at_checked(END_BYTES).unwrap_or((body, &[]));
    let (between, last) =
        rest.split_last_chunk::<END_BYTES>().map_or((rest, &[][..]), |(rest, last)| (rest, last));
    mix.add(first);
    for piece in between.chunks(between.len().div_ceil(PIECES).max(1)) {
        mix.add(piece.get(..PIECE_BYTES).unwrap_or(piece));
    }
    mix.add(last);
    mix.finish()
}

/// A quick mix of bytes, as of compilers' hash maps: spread well, and no secret.
struct Mix(u64);

impl Mix {
    fn add(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.number(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        if let Some(place) = last.get_mut(..rest.len()) {
            place.copy_from_slice(rest);
        }
        self.number(u64::from_le_bytes(last) ^ ((bytes.len() as u64) << 56));
    }

    #[inline]
    fn number(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(23) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(self) -> u64 {
        (self.0 ^ (self.0 >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_protocol::digest::{Scope, raw_key};

    fn parts<'a>(tenant: Option<&'a Tenant>, body: &'a [u8]) -> RawKeyParts<'a> {
        RawKeyParts {
            scope: Scope { service: "s", tenant },
            path: "/v2/models/m/infer",
            content_type: b"application/json",
            header_length: b"",
            accept: b"*/*",
            accept_encoding: b"gzip",
            body,
        }
    }

    /// A request comes: its raw key, hashed or not, and whether it was.
    fn comes(repeats: &mut Repeats, parts: &RawKeyParts<'_>) -> (Option<AnswerKey>, bool) {
        match repeats.look(parts) {
            Repeat::Kept(key) => (Some(key), false),
            Repeat::Maybe(fingerprint) => {
                let key = raw_key(parts);
                repeats.keep(fingerprint, parts, key);
                (Some(key), true)
            }
            Repeat::First => (None, false),
        }
    }

    #[test]
    fn the_same_bytes_have_their_raw_key_and_no_others_have_it() {
        let (t, u) = (Tenant::parse("t").unwrap(), Tenant::parse("u").unwrap());
        let mut repeats = Repeats::new(1 << 20);
        let body = [7; 100];
        let own = parts(Some(&t), &body);
        assert_eq!(comes(&mut repeats, &own), (Some(raw_key(&own)), true));
        assert_eq!(comes(&mut repeats, &own), (Some(raw_key(&own)), false));
        for other in [
            RawKeyParts { scope: Scope { service: "x", ..own.scope }, ..own },
            RawKeyParts { scope: Scope { tenant: Some(&u), ..own.scope }, ..own },
            RawKeyParts { scope: Scope { tenant: None, ..own.scope }, ..own },
            RawKeyParts { path: "/v2/models/n/infer", ..own },
            RawKeyParts { content_type: b"", ..own },
            RawKeyParts { header_length: b"2", ..own },
            RawKeyParts { accept: b"", ..own },
            RawKeyParts { accept_encoding: b"", ..own },
            RawKeyParts { body: &[7; 99], ..own },
        ] {
            assert_eq!(comes(&mut repeats, &other), (Some(raw_key(&other)), true), "{other:?}");
        }
    }

    #[test]
    fn bodies_that_differ_where_the_fingerprint_does_not_look_are_not_the_same() {
        let mut repeats = Repeats::new(1 << 20);
        let mut body = vec![0; 100_000];
        comes(&mut repeats, &parts(None, &body));
        let own = comes(&mut repeats, &parts(None, &body));
        let looked = fingerprint(&parts(None, &body));
        let hidden = (0..body.len()).find(|at| {
            body[*at] = 1;
            let same = fingerprint(&parts(None, &body)) == looked;
            body[*at] = u8::from(same);
            same
        });
        assert!(hidden.is_some(), "some byte is not looked at");
        let other = parts(None, &body);
        assert_eq!(repeats.look(&other), Repeat::Maybe(looked));
        assert_ne!(comes(&mut repeats, &other).0, own.0);
    }

    #[test]
    fn bytes_are_equal_where_all_of_them_are() {
        for length in [0, 1, 63, 64, 65, 128, 200] {
            let one: Vec<u8> = (0..length).collect();
            assert!(are_equal(&one, &one.clone()));
            assert!(!are_equal(&one, &[&one[..], &[0]].concat()));
            for at in 0..one.len() {
                let mut other = one.clone();
                other[at] ^= 128;
                assert!(!are_equal(&one, &other), "{at} of {length}");
            }
        }
    }

    #[test]
    fn large_bodies_are_hashed_when_they_come_again() {
        let mut repeats = Repeats::new(1 << 20);
        for first in 0..50 {
            let mut body = vec![0; SMALL_BYTES + 1];
            body[0] = first;
            assert_eq!(comes(&mut repeats, &parts(None, &body)).0, None);
            assert!(comes(&mut repeats, &parts(None, &body)).1);
            assert_eq!(comes(&mut repeats, &parts(None, &body)).0, Some(raw_key(&parts(None, &body))));
        }
    }

    #[test]
    fn never_holds_more_than_its_bytes_and_nothing_without_any() {
        let bytes = 512 << 10;
        let mut repeats = Repeats::new(bytes);
        for number in 0..2000_u32 {
            comes(&mut repeats, &parts(None, &[&number.to_le_bytes()[..], &[0; 1000]].concat()));
        }
        assert!(repeats.bytes() <= bytes && repeats.bytes() > bytes / 2);
        let mut off = Repeats::new(0);
        for _ in 0..3 {
            assert!(comes(&mut off, &parts(None, &[0; 9000])).1);
        }
        assert_eq!((off.bytes(), off.max_bytes()), (0, 0));
    }
}
