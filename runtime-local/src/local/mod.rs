//! The kind `local`: a Python file, a handler in it, or any program, as a process of its own.

mod config;
mod runtime;

pub use config::{LocalConfig, Mode};
pub use runtime::LocalRuntime;

/// The kind's name.
pub const KIND: &str = "local";

runtime_core::inventory::submit! {
    runtime_core::registry::Registration(|| std::sync::Arc::new(LocalRuntime))
}
