#![doc = include_str!("../README.md")]

mod config;
mod crd;
mod host;
mod memory;
mod mlrun;
mod render;
mod runtime;
mod status;

pub use config::{Deps, DynamicAllocation, JobType, Monitoring, Restart, RestartPolicy, SparkConfig};
pub use runtime::SparkRuntime;
pub use runtime_core::inventory;

use runtime_core::{Registry, Result};

/// The kind's name.
pub const KIND: &str = "spark";

runtime_core::inventory::submit! {
    runtime_core::registry::Registration(|| std::sync::Arc::new(SparkRuntime))
}

/// Adds the kind to a registry, where link-time registration is not wanted.
///
/// # Errors
/// When it is there already.
pub fn register(registry: &mut Registry) -> Result<()> {
    registry.register(std::sync::Arc::new(SparkRuntime))
}
