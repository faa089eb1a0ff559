//! A header list: the proxy's buffer enters, names and values leave as slices of it. A request has a dozen headers, of which most
//! are only looked at.

use smallvec::SmallVec;

/// Headers that are found without another allocation.
const USUAL: usize = 24;

/// A header list as the proxy gives it: lower-case names, values of any bytes, in order, repeated names repeated.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    bytes: Vec<u8>,
    places: SmallVec<[Place; USUAL]>,
}

/// Where a header is: a name, a zero, a value.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    name: usize,
    value: usize,
}

impl Headers {
    /// Reads what the ABI calls pairs: how many, the lengths of each name and value, and then those, each with a zero behind it.
    /// What is no such list ends it.
    pub fn of_pairs(bytes: Vec<u8>) -> Self {
        let mut places = SmallVec::new();
        if let Some((count, rest)) = bytes.split_first_chunk::<4>() {
            let count = u32::from_le_bytes(*count) as usize;
            let mut start = count.saturating_mul(8).saturating_add(4);
            for [name, value] in rest.as_chunks::<4>().0.as_chunks::<2>().0.iter().take(count) {
                let [name, value] = [name, value].map(|length| u32::from_le_bytes(*length) as usize);
                let place = Place { start, name, value };
                start = start.saturating_add(name).saturating_add(value).saturating_add(2);
                if start > bytes.len() {
                    break;
                }
                places.push(place);
            }
        }
        Self { bytes, places }
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.places.iter().map(|Place { start, name, value }| {
            let header = self.bytes.get(*start..).unwrap_or_default();
            let (name, rest) = header.split_at_checked(*name).unwrap_or_default();
            (name, rest.get(1..value.saturating_add(1)).unwrap_or_default())
        })
    }

    /// All values of header `name`.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
    }

    /// The first of them.
    pub fn first<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    /// The number that header `name` is, if it is one.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        std::str::from_utf8(self.first(name)?).ok()?.parse().ok()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(headers: T) -> Self {
        let mut list = Self::default();
        for (name, value) in headers {
            let (name, value) = (name.as_ref(), value.as_ref());
            list.places.push(Place { start: list.bytes.len(), name: name.len(), value: value.len() });
            list.bytes.extend_from_slice(name);
            list.bytes.push(0);
            list.bytes.extend_from_slice(value);
            list.bytes.push(0);
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let lengths = headers.iter().flat_map(|(name, value)| [length(name), length(value)]);
        let texts = headers.iter().flat_map(|(name, value)| [&name[..], b"\0", value, b"\0"]);
        let count = u32::try_from(headers.len()).unwrap().to_le_bytes();
        [count.to_vec(), lengths.flatten().collect(), texts.collect::<Vec<_>>().concat()].concat()
    }

    #[test]
    fn values_are_found_by_name_in_order() {
        let headers: Headers = [("a", "1"), ("b", ""), ("a", "2"), ("ab", "3")].into_iter().collect();
        assert_eq!(headers.values("a").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!((headers.first("b"), headers.first("c")), (Some(&b""[..]), None));
        assert_eq!((headers.number("ab"), headers.number::<u8>("b")), (Some(3), None));
    }

    proptest! {
        /// What the proxy writes is read back, and what is no list, or a list that is cut, is read as far as it goes.
        #[test]
        fn the_proxys_list_reads_back(
            headers in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..9), prop::collection::vec(any::<u8>(), 0..40)), 0..30),
            cut in any::<prop::sample::Index>(),
            junk in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let bytes = pairs(&headers);
            let read = |bytes: Vec<u8>| -> Vec<(Vec<u8>, Vec<u8>)> {
                Headers::of_pairs(bytes).iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
            };
            prop_assert_eq!(read(bytes.clone()), &headers[..]);
            let part = read(bytes[..cut.index(bytes.len())].to_vec());
            prop_assert!(headers.starts_with(&part));
            read(junk);
        }
    }
}
