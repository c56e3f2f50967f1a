#![doc = include_str!("../README.md")]

mod args;
mod config;
mod crd;
mod horovod;
mod host;
mod render;
mod runtime;
mod status;

pub use config::{CleanPodPolicy, Implementation, LauncherCreation, MpiConfig, Scheduling, Version};
pub use horovod::{Autotune, Tracing};
pub use runtime::MpiRuntime;
pub use runtime_core::inventory;

use runtime_core::{Registry, Result};

/// The kind's name.
pub const KIND: &str = "mpijob";

runtime_core::inventory::submit! {
    runtime_core::registry::Registration(|| std::sync::Arc::new(MpiRuntime))
}

/// Adds the kind to a registry, where link-time registration is not wanted.
///
/// # Errors
/// When it is there already.
pub fn register(registry: &mut Registry) -> Result<()> {
    registry.register(std::sync::Arc::new(MpiRuntime))
}
