//! The real binary, as a user runs it.

mod bad_input;
mod fixture;
mod record;
mod run;
mod stop;
