//! The pool's time (`clock`), what took how long (`steps`), and pauses: what is due again (`every`), what is tried again (`backoff`).

pub(crate) mod backoff;
pub(crate) mod clock;
pub(crate) mod every;
pub(crate) mod steps;
