//! What the commands do: settings -> the parts, wired together (`serve`, `front`, `gate`) -> `ports` that are served (`serving`) until a
//! signal (`signals`), and an `end` in order and in time. Next: a request comes in by `http`, `grpc` or the gate's routes.

pub(crate) mod check_filter;
mod end;
pub(crate) mod front;
pub(crate) mod gate;
pub(crate) mod generation;
mod ports;
pub(crate) mod serve;
mod serving;
mod signals;
