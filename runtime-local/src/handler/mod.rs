//! The kind `handler`: a Rust function in this process, or a Python function on a warm interpreter.

mod config;
mod host;
mod runtime;
mod rust;

pub use config::HandlerConfig;
pub use runtime::HandlerRuntime;
pub use rust::{Call, CallFuture, Context, Handlers, RustHandler};
#[doc(hidden)]
pub use rust::{call_async, call_blocking, check_async, check_blocking};

/// The kind's name.
pub const KIND: &str = "handler";

runtime_core::inventory::submit! {
    runtime_core::registry::Registration(|| std::sync::Arc::new(HandlerRuntime))
}
