//! The real binary, as a user runs it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[cfg(feature = "api")]
mod api;
mod bad_input;
mod build;
mod dask;
mod data;
#[cfg(feature = "api")]
mod elect;
mod fixture;
mod function;
mod hub;
mod hyper;
mod kills;
mod mpi;
#[path = "../../../tests/receiver/mod.rs"]
mod receiver;
mod record;
mod render;
mod run;
mod s3;
mod spark;
mod stop;
mod watch;
