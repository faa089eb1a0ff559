//! What `cargo xtask` and the tests stand on, once for all of them: what set-up [`installed`], processes that end with who started
//! them ([`process`], [`group`]), a [`forebay`]'s ports, the servers of a shared [`tier`], Redis under [`sentinel`]s and as a
//! [`redis_cluster`], [`link`]s that fail, [`envoy`]'s file with other values,
//! requests of plain bytes ([`http`], [`frames`], [`v2`]), a [`browser`], an `authority` that signs certificates and clients that show them
//! (`mtls`), [`onnx`]'s messages and a [`repository`] of models.

#[cfg(feature = "authority")]
pub mod authority;
pub mod browser;
pub mod envoy;
pub mod forebay;
pub mod frames;
pub mod group;
pub mod http;
pub mod installed;
pub mod link;
#[cfg(feature = "authority")]
pub mod mtls;
pub mod onnx;
pub mod process;
pub mod redis_cluster;
pub mod repository;
pub mod sentinel;
pub mod tier;
pub mod v2;
