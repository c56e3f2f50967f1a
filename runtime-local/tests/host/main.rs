//! What is special to this machine: several processes, warm interpreters, code, secrets, limits.
#![cfg(all(feature = "handler", feature = "local"))]

mod code;
mod harness;
mod process;
mod rust;
mod services;
mod warm;
