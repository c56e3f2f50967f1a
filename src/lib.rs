#![doc = include_str!("../README.md")]

pub mod data;
mod orchestrator;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub mod store;

pub use orchestrator::{Builder, Handle, Orchestrator, Reproduction, Request, Update};
pub use runtime_core as core;
pub use runtime_core::{Error, ErrorKind, Function, Registry, Result, Run, RunState};
#[cfg(any(feature = "handler", feature = "local"))]
pub use runtime_local as local;
#[cfg(feature = "handler")]
pub use runtime_local::handler;
