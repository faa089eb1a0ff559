//! The models: a repository's folders -> versions that are loaded, warm and served (`served`), and what becomes of them while the
//! server runs. `control` says which are to be there, `follow` looks whether the folders changed, `recovery` brings back what a GPU
//! lost; `fleet` agrees with other servers on which variants are out (`outs`); `load` makes a version of a folder, from `repository`, `chosen` by what `variant` says, `checksum`, `complete`, `policy`, `generation`, `warmup` and `lighter`.
//! In front of an upstream `front` makes versions of what that says, with a `remote` that computes. Next: `infer`
//! finds the version that answers.

mod checksum;
mod chosen;
mod complete;
pub(crate) mod control;
pub(crate) mod fleet;
pub(crate) mod follow;
pub(crate) mod front;
mod generation;
mod lighter;
mod load;
pub(crate) mod metadata;
mod outs;
mod policy;
pub(crate) mod recovery;
pub(crate) mod remote;
pub(crate) mod repository;
mod resident;
pub(crate) mod served;
pub(crate) mod variant;
mod warmup;

pub(crate) use load::Loader;
pub(crate) use outs::Outs;
pub(crate) use policy::Policy;
pub(crate) use resident::resident_bytes;
pub(crate) use served::{ModelSet, Models, UnknownModel, Version};
