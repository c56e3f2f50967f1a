//! The kind `handler`: a Rust function in this process, or a Python function on a warm interpreter.

#[cfg(feature = "handler")]
mod config;
#[cfg(feature = "handler")]
mod host;
#[cfg(feature = "handler")]
mod runtime;
mod rust;

#[cfg(feature = "handler")]
pub use config::HandlerConfig;
#[cfg(feature = "handler")]
pub use runtime::HandlerRuntime;
pub(crate) use rust::Lookup;
pub use rust::{Call, CallFuture, Context, Handlers, RustHandler};
#[doc(hidden)]
pub use rust::{call_async, call_blocking, check_async, check_blocking};

/// The kind's name.
pub const KIND: &str = "handler";

#[cfg(feature = "handler")]
runtime_core::inventory::submit! {
    runtime_core::registry::Registration(|| std::sync::Arc::new(HandlerRuntime))
}
