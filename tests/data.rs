//! Storages of all kinds that need no other machine: the same is asked of each. And web servers, as they are.
#![cfg(all(feature = "data", feature = "http", feature = "sqlite", feature = "local"))]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "data/orchestrated.rs"]
mod orchestrated;
#[path = "data/storages.rs"]
mod storages;
#[path = "data/web.rs"]
mod web;
