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

// What takes memory is behind the feature.
#[cfg_attr(not(feature = "tensorrt"), allow(dead_code))]
mod account;
mod error;

#[cfg(feature = "tensorrt")]
mod call;
#[cfg(feature = "tensorrt")]
mod device;
#[cfg(feature = "tensorrt")]
mod driver;
#[cfg(feature = "tensorrt")]
mod event;
#[cfg(feature = "tensorrt")]
mod graph;
#[cfg(feature = "tensorrt")]
mod memory;
#[cfg(feature = "tensorrt")]
mod order;
#[cfg(feature = "tensorrt")]
mod others;
#[cfg(feature = "tensorrt")]
mod stream;
#[cfg(feature = "tensorrt")]
mod sys;

pub use account::Account;
pub use error::CudaError;

#[cfg(feature = "tensorrt")]
pub use device::{Device, MemoryInfo};
#[cfg(feature = "tensorrt")]
pub use driver::Driver;
#[cfg(feature = "tensorrt")]
pub use event::Event;
#[cfg(feature = "tensorrt")]
pub use graph::Graph;
#[cfg(feature = "tensorrt")]
pub use memory::{DeviceBuffer, PinnedBuffer, PinnedRead, PinnedWrite};
#[cfg(feature = "tensorrt")]
pub use stream::Stream;

#[cfg(feature = "tensorrt")]
pub(crate) use account::Held;
#[cfg(feature = "tensorrt")]
pub(crate) use memory::{ALIGNMENT, Access};
#[cfg(feature = "tensorrt")]
pub(crate) use order::{Epoch, Order, Ordered};
#[cfg(feature = "tensorrt")]
pub(crate) use stream::Ticket;
