//! The conformance suites: the same for any store, any target, any kind.

pub mod cluster;
mod kind;
mod mlrun;
mod shown;
mod store;
mod target;

pub use kind::{Sample, kind_conformance};
pub use mlrun::mlrun_conformance;
pub use shown::shown;
pub use store::store_conformance;
pub use target::{Fixture, Nature, Program, target_conformance};
