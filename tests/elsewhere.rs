//! Functions and code from elsewhere: hubs, URLs, repositories, archives.
#![cfg(all(feature = "hub", feature = "http", feature = "handler", feature = "local", feature = "sqlite"))]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "elsewhere/hub.rs"]
mod hub;
#[path = "elsewhere/kill.rs"]
mod kill;
#[path = "elsewhere/pins.rs"]
mod pins;
#[path = "elsewhere/scene.rs"]
mod scene;
#[path = "elsewhere/source.rs"]
mod source;
