//! The canonical digest: a decoded request enters; 32 bytes leave that are the same for JSON, binary tensors and gRPC, and
//! differ as soon as anything differs that can change the answer. `FORMAT.md` fixes the bytes that are hashed.
//!
//! A digest and a generation make a [`Key`], under which the pool keeps the answer.

mod canonical;
mod fields;
mod hash;
mod raw;

pub use canonical::{Uncacheable, digest, has_parameters};
pub use hash::{Digest, Generation, HexError, Key};
pub use raw::{RawKeyParts, raw_key};

pub(crate) use fields::Fields;

use crate::tenant::Tenant;

/// Whose cache it is. Neither part is ever taken from what a client may choose freely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scope<'a> {
    /// Which upstream answers, as the operator named it for the route.
    pub service: &'a str,
    /// The tenancy: `None` is the mode without tenants, `Some` the mode that requires one, with the one that was proven. Where
    /// a tenant is required and none is proven there is no scope, and so neither digest nor key.
    pub tenant: Option<&'a Tenant>,
}

impl Scope<'_> {
    /// The mode is hashed too, so that parts in different modes miss and never share.
    fn write(&self, fields: &mut Fields) {
        fields.bytes(self.service.as_bytes());
        match self.tenant {
            None => fields.kind(0),
            Some(tenant) => {
                fields.kind(1);
                fields.bytes(tenant.as_str().as_bytes());
            }
        }
    }
}

impl Generation {
    /// What answers since results of it were purged by that number, which is part of it; 0 stands for never.
    #[must_use]
    pub fn purged(&self, number: u64) -> Self {
        if number == 0 {
            return *self;
        }
        let mut fields = Fields::tagged("forebay/purged/1");
        fields.bytes(&self.0);
        fields.number(number);
        Self(fields.finish())
    }
}

impl Digest {
    /// What was asked since its result was purged by that number, which is part of it; 0 stands for never.
    #[must_use]
    pub fn purged(&self, number: u64) -> Self {
        if number == 0 {
            return *self;
        }
        let mut fields = Fields::tagged("forebay/purged-digest/1");
        fields.bytes(&self.0);
        fields.number(number);
        Self(fields.finish())
    }
}

impl Key {
    /// The key of an answer: what answered, who may see it, what was asked.
    pub fn derive(generation: &Generation, scope: &Scope<'_>, digest: &Digest) -> Self {
        let mut fields = Fields::tagged("forebay/key/2");
        fields.bytes(&generation.0);
        scope.write(&mut fields);
        fields.bytes(&digest.0);
        Self(fields.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_key_changes_it() {
        let [t, u] = ["t", "u"].map(|name| Tenant::parse(name).unwrap());
        let scope = Scope { service: "a", tenant: Some(&t) };
        let key = Key::derive(&Generation([1; 32]), &scope, &Digest([2; 32]));
        let others = [
            Key::derive(&Generation([3; 32]), &scope, &Digest([2; 32])),
            Key::derive(&Generation([1; 32]), &scope, &Digest([3; 32])),
            Key::derive(&Generation([1; 32]), &Scope { service: "b", ..scope }, &Digest([2; 32])),
            Key::derive(&Generation([1; 32]), &Scope { tenant: Some(&u), ..scope }, &Digest([2; 32])),
            Key::derive(&Generation([1; 32]), &Scope { tenant: None, ..scope }, &Digest([2; 32])),
            Key::derive(&Generation([1; 32]), &Scope { service: "at", tenant: None }, &Digest([2; 32])),
        ];
        assert!(!others.contains(&key));
    }
}
