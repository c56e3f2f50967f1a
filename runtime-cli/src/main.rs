//! The command `runtimes`.
fn main() {}
