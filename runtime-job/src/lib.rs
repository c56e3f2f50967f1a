#![doc = include_str!("../README.md")]

mod config;
mod host;
mod render;
mod runtime;
mod status;

pub use config::{JobConfig, Wrapper};
pub use runtime::JobRuntime;
pub use runtime_core::{cluster::Agent, inventory};

use runtime_core::{Registry, Result};

/// The kind's name.
pub const KIND: &str = "job";

runtime_core::inventory::submit! {
    runtime_core::registry::Registration(|| std::sync::Arc::new(JobRuntime))
}

/// Adds the kind to a registry, where link-time registration is not wanted.
///
/// # Errors
/// When it is there already.
pub fn register(registry: &mut Registry) -> Result<()> {
    registry.register(std::sync::Arc::new(JobRuntime))
}
