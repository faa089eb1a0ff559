//! `Cache-Status` (RFC 9211) of answers -> how many were hits, and what the nearest cache said, without what differs from answer to
//! answer.

use std::collections::BTreeMap;

use forebay_protocol::field_value::{directive, members};

/// Different values that are remembered as they came.
const REMEMBERED: usize = 256;

/// Counts by what was said.
#[derive(Default)]
pub(in crate::client::bench) struct Caches {
    /// Answers without the header.
    pub(in crate::client::bench) silent: u64,
    pub(in crate::client::bench) hits: u64,
    pub(in crate::client::bench) misses: u64,
    /// What was said, and how often.
    said: Vec<Said>,
    /// Values as they came, and which of `said` each is.
    known: Vec<(Vec<u8>, usize)>,
    last: usize,
}

struct Said {
    text: String,
    is_hit: bool,
    count: u64,
}

impl Caches {
    /// Takes a value; "" where there was none.
    pub(super) fn add(&mut self, value: &[u8]) {
        if value.is_empty() {
            self.silent += 1;
            return;
        }
        let index = self.index(value);
        let said = &mut self.said[index];
        said.count += 1;
        if said.is_hit {
            self.hits += 1;
        } else {
            self.misses += 1;
        }
    }

    /// What each nearest cache said, and how often.
    pub(in crate::client::bench) fn said(&self) -> BTreeMap<String, u64> {
        self.said.iter().map(|said| (said.text.clone(), said.count)).collect()
    }

    pub(super) fn join(&mut self, other: Self) {
        self.silent += other.silent;
        self.hits += other.hits;
        self.misses += other.misses;
        for said in other.said {
            match self.said.iter_mut().find(|own| own.text == said.text && own.is_hit == said.is_hit) {
                Some(own) => own.count += said.count,
                None => self.said.push(said),
            }
        }
    }

    fn index(&mut self, value: &[u8]) -> usize {
        // Most answers say what the last one said.
        if let Some((known, index)) = self.known.get(self.last)
            && known == value
        {
            return *index;
        }
        if let Some(at) = self.known.iter().position(|(known, _)| known == value) {
            self.last = at;
            return self.known[at].1;
        }
        let (text, is_hit) = read(value);
        let found = self.said.iter().position(|said| said.text == text && said.is_hit == is_hit);
        let index = found.unwrap_or_else(|| {
            self.said.push(Said { text, is_hit, count: 0 });
            self.said.len() - 1
        });
        if self.known.len() < REMEMBERED {
            self.known.push((value.to_owned(), index));
        }
        index
    }
}

/// The nearest cache's name and what it says of hit, miss and why; and whether any cache had it.
fn read(value: &[u8]) -> (String, bool) {
    let Ok(members) = members(value) else { return ("(no list)".to_owned(), false) };
    let is_hit = members.iter().any(|member| parameters(member).any(|parameter| parameter == b"hit"));
    let Some(nearest) = members.last() else { return ("(empty)".to_owned(), false) };
    let name = nearest.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let kept = parameters(nearest).filter(|parameter| {
        matches!(directive(parameter).0, b"hit" | b"fwd" | b"detail" | b"stored" | b"collapsed")
    });
    let kept = std::iter::once(name).chain(kept).map(String::from_utf8_lossy);
    (kept.collect::<Vec<_>>().join("; "), is_hit)
}

/// The parameters of a member, each as in `detail=raw`.
fn parameters(member: &[u8]) -> impl Iterator<Item = &[u8]> {
    member.split(|byte| *byte == b';').skip(1).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_of_any_cache_is_a_hit_and_the_nearest_is_named() {
        let mut caches = Caches::default();
        for ttl in 0..1000 {
            caches.add(format!("forebay-serve; hit; ttl={ttl}, forebay; fwd=miss; stored").as_bytes());
            caches.add(format!("forebay; hit; ttl={ttl}; detail=raw").as_bytes());
        }
        caches.add(b"forebay-serve; fwd=uri-miss; collapsed");
        caches.add(b"");
        assert_eq!((caches.hits, caches.misses, caches.silent), (2000, 1, 1));
        let said: Vec<(String, u64)> = caches.said().into_iter().collect();
        let expected = [
            ("forebay-serve; fwd=uri-miss; collapsed", 1),
            ("forebay; fwd=miss; stored", 1000),
            ("forebay; hit; detail=raw", 1000),
        ];
        assert_eq!(said, expected.map(|(text, count)| (text.to_owned(), count)));
    }
}
