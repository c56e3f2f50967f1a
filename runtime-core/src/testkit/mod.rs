//! The conformance suites: the same for any store, any target, any kind.
