//! What is kept of answers: keys -> fresh entries (`store`), in memory or in a pool that many share (`pool`), and which generations
//! of models are live (`live`), for all that answer from it.

pub(crate) mod live;
pub(crate) mod pool;
pub(crate) mod store;
