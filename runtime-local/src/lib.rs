#![doc = include_str!("../README.md")]

pub mod handler;
pub mod host;
#[cfg(feature = "local")]
pub mod local;

pub use host::HostTarget;
pub use runtime_core::inventory;

use runtime_core::{Registry, Result};

/// Adds the kinds of this crate to a registry, where link-time registration is not wanted.
///
/// # Errors
/// When one of them is there already.
#[cfg_attr(
    not(any(feature = "handler", feature = "local")),
    allow(unused_variables, reason = "there is nothing to add")
)]
pub fn register(registry: &mut Registry) -> Result<()> {
    #[cfg(feature = "handler")]
    registry.register(std::sync::Arc::new(handler::HandlerRuntime))?;
    #[cfg(feature = "local")]
    registry.register(std::sync::Arc::new(local::LocalRuntime))?;
    Ok(())
}
