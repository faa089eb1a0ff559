//! The pool's time (`clock`), and pauses: what is due again (`every`), what is tried again (`jitter`).

pub(crate) mod clock;
pub(crate) mod every;
pub(crate) mod jitter;
