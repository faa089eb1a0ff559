//! The canonical digest: a decoded request enters; 32 bytes leave that are the same for JSON, binary tensors and gRPC, and
//! differ as soon as anything differs that can change the answer. `FORMAT.md` fixes the bytes that are hashed.
//!
//! A digest and a generation make a [`Key`], under which the pool keeps the answer.

mod canonical;
mod fields;
mod hash;
mod raw;

pub use canonical::{Uncacheable, digest};
pub use hash::{Digest, Generation, HexError, Key};
pub use raw::{RawKeyParts, raw_key};

pub(crate) use fields::Fields;

/// Whose cache it is. Neither part is ever taken from what a client may choose freely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scope<'a> {
    /// Which upstream answers, as the operator named it for the route.
    pub service: &'a str,
    /// Who may share results, from an authenticated source; "" for everyone.
    pub tenant: &'a str,
}

impl Key {
    /// The key of an answer: what answered, who may see it, what was asked.
    pub fn derive(generation: &Generation, scope: &Scope<'_>, digest: &Digest) -> Self {
        let mut fields = Fields::tagged("forebay/key/1");
        fields.bytes(&generation.0);
        fields.bytes(scope.service.as_bytes());
        fields.bytes(scope.tenant.as_bytes());
        fields.bytes(&digest.0);
        Self(fields.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_key_changes_it() {
        let scope = Scope { service: "a", tenant: "t" };
        let key = Key::derive(&Generation([1; 32]), &scope, &Digest([2; 32]));
        let others = [
            Key::derive(&Generation([3; 32]), &scope, &Digest([2; 32])),
            Key::derive(&Generation([1; 32]), &scope, &Digest([3; 32])),
            Key::derive(&Generation([1; 32]), &Scope { service: "b", ..scope }, &Digest([2; 32])),
            Key::derive(&Generation([1; 32]), &Scope { tenant: "u", ..scope }, &Digest([2; 32])),
            Key::derive(&Generation([1; 32]), &Scope { service: "at", tenant: "" }, &Digest([2; 32])),
        ];
        assert!(!others.contains(&key));
    }
}
