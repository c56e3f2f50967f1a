#![doc = include_str!("../README.md")]

pub mod orchestrator;
pub use orchestrator::{Handle, Orchestrator, Request, Update};
pub use runtime_core as core;
pub use runtime_core::{Error, ErrorKind, Function, Result, Run, RunState};
