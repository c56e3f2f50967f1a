#![doc = include_str!("../README.md")]

#[cfg(feature = "_tokens")]
pub mod api;
#[cfg(feature = "kubernetes")]
pub mod cluster;
pub mod data;
#[cfg(any(feature = "api", feature = "data", feature = "source"))]
mod durable;
#[cfg(feature = "hub")]
pub mod hub;
mod notify;
mod orchestrator;
pub mod schedule;
#[cfg(feature = "source")]
pub mod source;
mod stop;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub mod store;
#[cfg(all(feature = "http", feature = "source"))]
mod web;

pub use orchestrator::{
    Build, Builder, DeletedVersion, Deployment, Garbage, Handle, Orchestrator, ParamFile, Reproduction,
    Request, Served, Update,
};
pub use runtime_core as core;
pub use runtime_core::{Error, ErrorKind, Function, Registry, Result, Run, RunState};
#[cfg(feature = "dask")]
pub use runtime_dask as dask;
#[cfg(feature = "job")]
pub use runtime_job as job;
#[cfg(feature = "_host")]
pub use runtime_local as local;
#[cfg(feature = "handler")]
pub use runtime_local::handler;
#[cfg(feature = "mpijob")]
pub use runtime_mpi as mpi;
#[cfg(feature = "spark")]
pub use runtime_spark as spark;
