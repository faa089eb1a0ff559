//! The Envoy filter: proxy-wasm's callbacks enter, are handed to `forebay-filter-core`, and the acts that it returns leave as host calls.
//!
//! Nothing is decided here. [`envoy`] wraps the host calls, [`root`] is the root context, [`stream`] a request's context.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod envoy;
mod root;
mod stream;

/// What the proxy runs first.
#[allow(missing_docs)]
mod start {
    use crate::root::Root;
    use proxy_wasm::types::LogLevel;

    proxy_wasm::main! {{
        proxy_wasm::set_log_level(LogLevel::Warn);
        proxy_wasm::set_root_context(|context| Box::new(Root::new(context)));
    }}
}
