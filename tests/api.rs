//! The endpoint at which runs report from elsewhere, with real clients and runs that a test makes go on and end.
#![cfg(all(feature = "api", feature = "sqlite", feature = "local"))]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "api/clients.rs"]
mod clients;
#[path = "api/limits.rs"]
mod limits;
#[path = "api/refusals.rs"]
mod refusals;
#[path = "api/reports.rs"]
mod reports;
#[path = "api/scene.rs"]
mod scene;
