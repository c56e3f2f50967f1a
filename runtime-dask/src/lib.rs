#![doc = include_str!("../README.md")]

mod classic;
mod config;
pub mod crd;
mod host;
mod plain;
mod render;
mod runtime;
mod status;

pub use config::{DaskConfig, Engine, Resources, ServiceType, Workers};
pub use runtime::DaskRuntime;
pub use runtime_core::inventory;

use runtime_core::{Registry, Result};

/// The kind's name.
pub const KIND: &str = "dask";

runtime_core::inventory::submit! {
    runtime_core::registry::Registration(|| std::sync::Arc::new(DaskRuntime))
}

/// Adds the kind to a registry, where link-time registration is not wanted.
///
/// # Errors
/// When it is there already.
pub fn register(registry: &mut Registry) -> Result<()> {
    registry.register(std::sync::Arc::new(DaskRuntime))
}
