//! How far a transfer is.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the bytes of a transfer, for somebody who watches it.
#[derive(Debug, Default)]
pub struct Meter {
    done: AtomicU64,
    total: AtomicU64,
}

impl Meter {
    /// So many bytes more are to be transferred.
    pub fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes were.
    pub fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes count no more: they are transferred again.
    pub fn take_back(&self, bytes: u64) {
        self.done.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that were transferred.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Bytes that there are; less than [`Self::done`], where nobody knew.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}
