//! What is special to this machine: several processes, warm interpreters, code, secrets, limits.
#![cfg(all(feature = "handler", feature = "local"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod code;
mod harness;
mod process;
mod rust;
mod services;
mod warm;
