//! What is kept of answers: keys -> fresh entries (`store`), in memory or in a pool that many share (`pool`), and which generations
//! of models are live (`live`), for all that answer from it. What is shared is believed by the pool's `secret`, and `packing` makes it
//! smaller.

pub(crate) mod live;
mod packing;
pub(crate) mod pool;
mod secret;
pub(crate) mod store;

pub(crate) use secret::PoolSecret;
