//! The real binary, as a user runs it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod bad_input;
mod fixture;
mod function;
mod hub;
mod hyper;
mod record;
mod run;
mod stop;
