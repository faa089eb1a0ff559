//! The pool's time (`clock`), and pauses: what is due again (`every`), what is tried again (`backoff`).

pub(crate) mod backoff;
pub(crate) mod clock;
pub(crate) mod every;
