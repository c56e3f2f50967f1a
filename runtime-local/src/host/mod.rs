//! The target "this machine".

pub mod environment;
