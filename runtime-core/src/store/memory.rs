//! A store in memory: for tests, and for embedders that need no record.

/// A store in memory.
#[derive(Default)]
pub struct MemoryStore {}
