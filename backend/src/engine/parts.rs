//! An input's bytes, borrowed, in the parts in which requests brought them: one where a request runs alone, one of each request
//! of a batch. Next: the session gathers them where it computes.

/// Bytes in parts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Parts<'a> {
    /// Of one request.
    One(&'a [u8]),
    /// Of several requests, in their order.
    Several(&'a [&'a [u8]]),
}

impl<'a> Parts<'a> {
    /// Bytes of all parts.
    pub(crate) fn len(self) -> usize {
        self.iter().map(<[u8]>::len).sum()
    }

    /// The bytes, if they lie in one place.
    pub(crate) fn one(self) -> Option<&'a [u8]> {
        match self {
            Self::One(part) | Self::Several(&[part]) => Some(part),
            Self::Several(_) => None,
        }
    }

    /// The parts.
    pub(crate) fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let (one, several) = match self {
            Self::One(part) => (Some(part), &[][..]),
            Self::Several(parts) => (None, parts),
        };
        one.into_iter().chain(several.iter().copied())
    }

    /// Copies them one after another.
    ///
    /// # Panics
    /// The place has not as many bytes.
    pub(crate) fn copy_into(self, place: &mut [u8]) {
        let mut rest = place;
        for part in self.iter() {
            let (here, after) = rest.split_at_mut(part.len());
            here.copy_from_slice(part);
            rest = after;
        }
        assert!(rest.is_empty(), "{} bytes of the place are left", rest.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_gathered_in_their_order() {
        let several: [&[u8]; 3] = [b"ab", b"", b"c"];
        for (parts, one) in [
            (Parts::One(b"abc"), Some(&b"abc"[..])),
            (Parts::Several(&several), None),
            (Parts::Several(&[b"abc"]), Some(b"abc")),
        ] {
            let mut place = [0; 3];
            parts.copy_into(&mut place);
            assert_eq!((&place, parts.len(), parts.one()), (b"abc", 3, one));
        }
    }
}
