//! The conformance suites: the same for any store, any target, any kind.

mod store;

pub use store::store_conformance;
