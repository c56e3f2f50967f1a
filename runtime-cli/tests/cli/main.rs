//! The real binary, as a user runs it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod bad_input;
mod data;
mod fixture;
mod function;
mod hub;
mod hyper;
mod record;
mod run;
mod s3;
#[path = "../../../tests/receiver/mod.rs"]
mod receiver;
mod stop;
mod watch;
