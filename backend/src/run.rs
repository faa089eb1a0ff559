//! What the commands do: settings -> the parts, wired together (`serve`, `gate`) -> ports that are served until a signal, and an end
//! in order (`drain`). Next: a request comes in by `http`, `grpc` or the gate's routes.

pub(crate) mod check_filter;
mod drain;
pub(crate) mod gate;
pub(crate) mod serve;
