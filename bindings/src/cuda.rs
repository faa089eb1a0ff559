//! CUDA's driver, found at run time: GPUs, streams, events, memory and graphs, each safe to use from any thread.
//!
//! [`Driver::load`] gives [`Device`]s, and those everything else. Work is put on a [`Stream`] and done later. What keeps that safe:
//!
//! - Each piece of work on a stream has a number. A buffer remembers the stream and number of its last use, and the stream how
//!   far it is known to be done: by a wait for an [`Event`] or for the stream itself.
//! - A [`PinnedBuffer`] is lent to the host (`read`, `write`) only when its last use is known to be done, and to the GPU only when
//!   the host doesn't use it. A buffer that one stream may still use is not lent to another. Both are errors, not waits.
//! - A buffer is freed when its last handle goes, after its last use is done. A [`Graph`] keeps handles of what it uses.
//!
//! No call of the host's hot path allocates. Nothing uses the default stream.

mod account;
mod device;
mod driver;
mod error;
mod event;
mod graph;
mod memory;
mod order;
mod stream;

pub use account::Account;
pub use device::{Device, MemoryInfo};
pub use driver::Driver;
pub use error::CudaError;
pub use event::Event;
pub use graph::Graph;
pub use memory::{DeviceBuffer, PinnedBuffer, PinnedRead, PinnedWrite};
pub use stream::Stream;

pub(crate) use account::Held;
pub(crate) use memory::{ALIGNMENT, Access};
pub(crate) use order::{Epoch, Order, Ordered};
pub(crate) use stream::Ticket;
