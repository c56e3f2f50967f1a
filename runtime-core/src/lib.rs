#![doc = include_str!("../README.md")]

pub mod agent;
pub mod cluster;
pub mod error;
pub mod function;
pub mod labels;
pub mod logs;
pub mod naming;
pub mod plan;
pub mod pod;
#[cfg(feature = "python")]
pub mod python;
pub mod registry;
pub mod run;
pub mod runtime;
pub mod secret;
pub mod store;
pub mod target;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod yaml;

pub use error::{Error, ErrorKind, ErrorStatus, Result};
pub use function::Function;
pub use plan::Plan;
pub use registry::Registry;
pub use run::{Run, RunState};
pub use runtime::{Capability, Runtime, not_deployed};
pub use secret::Secret;
pub use store::Store;
pub use target::Target;

pub use {inventory, jiff, k8s_openapi, serde_json};
