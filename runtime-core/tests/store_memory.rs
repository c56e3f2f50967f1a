//! The store in memory does what every store does.
#![cfg(feature = "testkit")]

use std::sync::Arc;

use runtime_core::{Store, store::MemoryStore, testkit::store_conformance};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    store_conformance(async || Arc::new(MemoryStore::new()) as Arc<dyn Store>).await;
}
